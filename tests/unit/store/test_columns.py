"""Records become columns one after the other: the order, the last words, and what is no sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.builders import CATALOGUE, record

from hpcaccept.model.record import Sample
from hpcaccept.model.record_table import record_table
from hpcaccept.store.columns import RecordColumns, SampleColumns
from hpcaccept.store.sample_lists import lists_of

_CHECK = "speed"
_METRIC = next(iter(CATALOGUE[_CHECK]))


def test_of_several_records_of_a_check_and_device_the_last_that_measured_counts() -> None:
    measured = record(_CHECK, "node0", {})
    failed = replace(measured, outcome="error", cause="late", samples=())
    columns = RecordColumns()
    other = replace(record(_CHECK, "node1"), samples=())
    first, second = replace(measured, samples=(), duration_s=1.0), replace(measured, samples=(), duration_s=2.0)
    for one in (failed, other, first, second, failed):
        columns.add(one)
    found = columns.last_words()
    assert list(found) == [second, other]
    assert found.flags.tolist() == record_table([second, other]).flags.tolist()


def test_where_nothing_measured_the_last_word_counts() -> None:
    failed = replace(record(_CHECK, "node0"), outcome="error", cause="first", samples=())
    columns = RecordColumns()
    for one in (failed, replace(failed, cause="second")):
        columns.add(one)
    assert [one.cause for one in columns.last_words()] == ["second"]


def test_no_record_is_a_table_of_none() -> None:
    assert len(RecordColumns().last_words()) == 0
    assert len(SampleColumns(CATALOGUE).table({}, {})) == 0


def test_keys_and_subjects_stand_in_the_order_in_which_they_came() -> None:
    columns = SampleColumns(CATALOGUE)
    for node, variants in (("node1", ("b", "a")), ("node0", ("a", "c"))):
        one = record(_CHECK, node)
        columns.add(one, lists_of([Sample(_METRIC, 1.0, variant) for variant in variants]))
    table = columns.table({"node0": "8 threads", "node1": "8 threads"}, {})
    assert [key.partition("[")[2] for key in table.keys] == ["b]", "a]", "c]"]
    assert [subject.node for subject in table.subjects][:2] == ["node1", "node0"]
    assert table.key.tolist() == [0, 1, 1, 2]
    assert table.key.dtype == table.subject.dtype == table.launch.dtype == table.repeat.dtype == np.int32


def test_what_is_no_sample_is_told_and_leaves_the_others() -> None:
    columns = SampleColumns(CATALOGUE)
    samples = [
        Sample(_METRIC, 1.0),
        Sample("unheard_of", 1.0),
        Sample(_METRIC, 2.0, "line\nend"),
        Sample(_METRIC, 3.0, "", 2**31),
        Sample(_METRIC, 4.0, "", -1),
        Sample(_METRIC, 5.0, "", 1),
    ]
    odd = columns.add(record(_CHECK, "node0"), lists_of(samples))
    assert len(odd) == 4
    assert columns.table({}, {}).value.tolist() == [1.0, 5.0]
