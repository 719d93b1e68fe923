from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import baseline, evidence, fleet, plan, rank_started, record, step, suite

from hpcaccept.model.baseline import BaselineEntry, Provenance
from hpcaccept.model.event import Event
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.metric import Limit
from hpcaccept.model.plan import Image, Plan, Request, Step
from hpcaccept.model.record import RankStarted, Record, Sample, UnreadableLine
from hpcaccept.model.suite import CheckSpec, PeerRule, Suite
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.serial import dumps, from_plain, loads, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable

text = st.text(max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)

samples = st.builds(Sample, text, finite, text, st.integers(0, 9))
records = st.builds(
    Record,
    check=text,
    revision=st.integers(0, 9),
    step=text,
    rank=st.integers(0, 99999),
    node=text,
    device=text,
    outcome=st.sampled_from(["measured", "not_run", "error"]),
    cause=text,
    cut_short=st.booleans(),
    samples=st.lists(samples, max_size=3).map(tuple),
    unsupported=st.dictionaries(text, text, max_size=2),
    facts=st.dictionaries(text, text, max_size=2),
    duration_s=finite,
)
limits = st.tuples(finite, finite).map(lambda pair: Limit(min(pair), max(pair), "s", "suite", "why"))
specs = st.builds(
    CheckSpec, text, st.dictionaries(text, st.integers() | text | st.booleans() | finite, max_size=2), finite
)
suites = st.builds(
    Suite,
    name=text,
    about=text,
    checks=st.lists(specs, max_size=3).map(tuple),
    limits=st.dictionaries(text, limits, max_size=2),
    baseline=st.sampled_from(["required", "optional"]),
    peers=st.builds(PeerRule, floor=st.none() | finite),
)
events = st.builds(
    Event,
    kind=st.sampled_from(["started", "step_started", "step_ended", "death", "excluded", "ended"]),
    at=text,
    nodes=st.lists(text, max_size=3).map(tuple),
    ranks=st.lists(st.integers(0, 99), max_size=3).map(tuple),
    detail=text,
    returncode=st.integers(-64, 255),
)


def back(thing: Any) -> Any:
    return from_plain(json.loads(dumps(thing)), type(thing))


@given(st.one_of(records, suites, events, limits))
def test_what_is_written_as_json_comes_back_equal(thing: object) -> None:
    assert back(thing) == thing
    assert from_plain(to_plain(thing), type(thing)) == thing


@pytest.mark.parametrize(
    "thing",
    [
        plan(suite("identity", limits={"a.b": Limit(None, 1.0, "s", "suite")}), slurm={"qos": "high"}),
        step(("identity", "matmul")),
        Request(nodes=3),
        Image("pyxis", "registry#x:1", ("/a:/b:ro",)),
        rank_started(3, "node3", in_turn=True),
        JobRef("local", "77", 1.25, "vm"),
        JobStatus("stuck", "PENDING, JobHeldUser", "scontrol release 3"),
        UnreadableLine("r000001.jsonl", '{"kind":"rec'),
        MeasuredSubject("node0", "cuda:3", "GPU-1", "H100", "8 threads"),
        baseline().provenance,
        baseline().entries["speed.rate_flops"],
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_every_noun_that_is_kept_comes_back_equal(thing: object) -> None:
    assert back(thing) == thing


@pytest.mark.parametrize(
    "kind", [Plan, Step, Record, RankStarted, Event, JobRef, JobStatus, BaselineEntry, Provenance, Suite]
)
def test_an_unknown_key_is_refused_by_name(kind: type) -> None:
    with pytest.raises(ValueError, match="colour"):
        from_plain({"colour": "blue"}, kind)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p["samples"][1].update(flavour="sour"), r"unknown key 'flavour' in Sample @ \$\.samples\[1\]$"),
        (lambda p: p["samples"][1].update(value="1"), r"invalid value '1', expected float @ \$\.samples\[1\]\.value$"),
        (lambda p: p.pop("node"), r"key 'node' is missing in Record @ \$$"),
        (lambda p: p.update(rank=1.5), r"invalid value 1.5, expected int @ \$\.rank$"),
        (lambda p: p.update(rank=True), r"invalid value True, expected int @ \$\.rank$"),
        (lambda p: p.update(outcome="fine"), r"invalid value 'fine', expected one of .* @ \$\.outcome$"),
        (lambda p: p.update(facts={"a": 1}), r"invalid value 1, expected str @ \$\.facts\['a'\]$"),
        (lambda p: p.update(samples={}), r"invalid value \{\}, expected a list @ \$\.samples$"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(spoil: Callable[[Any], object], message: str) -> None:
    plain = to_plain(record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 0.0}))
    spoil(plain)
    with pytest.raises(ValueError, match=message):
        from_plain(plain, Record)


@pytest.mark.parametrize("plain", [None, 5, "text", [], [1, 2]])
def test_what_is_no_table_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_plain(plain, Record)


@pytest.mark.parametrize(
    ("key", "value"),
    [("outcome", "passed"), ("rank", "first"), ("samples", 5), ("duration_s", "long"), ("facts", ["a"])],
)
def test_a_value_of_the_wrong_kind_is_refused(key: str, value: object) -> None:
    plain = {**to_plain(record("speed", "node0", {})), key: value}
    with pytest.raises(ValueError, match=key):
        from_plain(plain, Record)


def test_a_limit_that_cannot_be_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValueError, match="invalid value"):
        from_plain({"lower": 2.0, "upper": 1.0, "unit": "s", "origin": "suite"}, Limit)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_does_not_travel_as_one(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps(Sample("rate_flops", value))


def test_a_line_of_json_is_one_line_and_leaves_defaults_out() -> None:
    line = dumps(record("speed", "node0", {"rate_flops": 1.0}, cause="two\nlines"))
    assert "\n" not in line
    assert "beat" not in line
    assert "remedy" not in to_plain(Event("ended", "now")) or '"remedy"' not in dumps(Event("ended", "now"))


def test_plain_has_every_field() -> None:
    assert set(to_plain(Event("ended", "now"))) == {f.name for f in dataclasses.fields(Event)}


def test_text_that_no_encoding_has_can_still_be_written() -> None:
    # os.environ and host names give bytes that are not UTF-8 as lone surrogates.
    line = dumps(Event("ended", "now", detail="image \udc80"))
    assert json.loads(line.encode())["detail"].startswith("image ")


@dataclass(frozen=True)
class _WithDict:
    table: dict[str, Any] = field(default_factory=dict)


def test_lists_and_tables_of_a_suite_pass_through_unchanged() -> None:
    thing = _WithDict({"sizes": [1, 2], "deep": {"a": [True, None]}, "text": "x"})
    assert back(thing) == thing


def test_evidence_of_a_fleet_is_built_of_things_that_travel() -> None:
    found = fleet([1.0, 2.0])
    for thing in (*found.records, *found.rank_starts, *found.events, found.plan, evidence([]).plan):
        assert back(thing) == thing


@dataclass(frozen=True)
class Renamed:
    FORMER: ClassVar[dict[str, str]] = {"old": "new", "gone": ""}

    new: int


def test_keys_of_older_files_are_read_and_never_written() -> None:
    assert from_plain({"old": 3, "gone": "x"}, Renamed) == Renamed(3)
    assert dumps(Renamed(3)) == '{"new":3}'
    with pytest.raises(ValueError, match="unknown key 'older'"):
        from_plain({"older": 3}, Renamed)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"a" :1}',
        '{"a" :1,"a" :2}',
        '[{"a":"x","a":"y"},{"b":1}]',
        '[{"a":1,"a":1},{"b":"\\""}]',
        '{"a":{"b":[{"c":1,"c":2}]}}',
        '{"":1,"":2}',
        "1e400",
        "-1e400",
        "[1,1e400]",
        '[{"a":1e400}]',
        '{"a":[[{"b":-1e999}]]}',
        "NaN",
        '[{"a":Infinity}]',
        "123456789012345678901",
        '[{"a":-12345678901234567890}]',
    ],
)
def test_what_the_quick_reading_does_not_see_the_count_of_quotation_marks_does(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '"\\""',
        '{"a\\"b":"c\\":"}',
        '[{"a":"\\"a\\":1"},{"a":"b"}]',
        '{"a" : {"b" : "" }}',
        '["", {"": ""}, [], {}]',
        "-0.0",
        '"é\u2028"',
    ],
)
def test_quotation_marks_in_texts_and_white_space_are_read_as_ever(text: str) -> None:
    assert loads(text) == json.loads(text)
