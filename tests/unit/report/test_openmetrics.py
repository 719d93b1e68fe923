"""One text for two readers: Prometheus' own parsers of both formats take it, and say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from support.metric_files import samples_of

from hpcaccept import checks
from hpcaccept.report.openmetrics import Family, exposition, unit_word


def test_a_family_has_its_unit_and_the_text_its_end() -> None:
    text = exposition(
        [Family("age_seconds", "How old.", [({"node": "n1"}, 3)], "seconds"), Family("empty", "None.", [])]
    )
    assert text == (
        "# HELP hpcaccept_age_seconds How old.\n# TYPE hpcaccept_age_seconds gauge\n# UNIT hpcaccept_age_seconds seconds\n"
        'hpcaccept_age_seconds{node="n1"} 3.0\n# EOF\n'
    )
    (family,) = open_metrics(text)  # type: ignore[no-untyped-call]
    assert (family.name, family.unit) == ("hpcaccept_age_seconds", "seconds")


def test_a_name_without_its_unit_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="hpcaccept_age does not end in its unit seconds"):
        exposition([Family("age", "How old.", [({}, 3)], "seconds")])


@given(st.text(), st.floats(allow_nan=False))
def test_whatever_a_label_or_a_number_is_both_readers_find_it(text: str, number: float) -> None:
    said = exposition([Family("x", "X.", [({"a": text, "b": "2"}, number)])])
    both = [
        [(dict(s.labels), s.value) for family in read(said) for s in family.samples]
        for read in (open_metrics, plain_text)
    ]
    assert both[0] == both[1]
    assert both[0][0][1] == number


def test_every_unit_that_a_check_has_makes_a_name() -> None:
    units = {metric.unit for name in checks.names() for metric in (checks.find(name) or pytest.fail(name)).metrics}
    words = {unit: unit_word(unit) for unit in units}
    assert (words["B/s"], words["share"], words["°C"]) == ("bytes_per_second", "ratio", "celsius")
    assert len(set(words.values())) == len(units)
    text = exposition([Family(f"figure_{word}", "X.", [({}, 1)], word) for word in words.values()])
    assert len(samples_of(text)) == len(units)
