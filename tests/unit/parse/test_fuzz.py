"""Whatever a tool prints: it is understood, or it is NotUnderstood. No other exception, and never a number from nowhere."""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.aznhc import parse_aznhc
from hpcaccept.parse.dcgm import parse_diag
from hpcaccept.parse.flight_recorder import progress_of
from hpcaccept.parse.gpu_burn import parse_gpu_burn
from hpcaccept.parse.mlnx_qos import parse_mlnx_qos
from hpcaccept.parse.nccl_tests import parse_json, parse_table, redacted
from hpcaccept.parse.nvbandwidth import parse_nvbandwidth
from hpcaccept.parse.nvidia_topo import parse_topo

if TYPE_CHECKING:
    from collections.abc import Callable

odd = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats(allow_nan=True) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
JSON: list[tuple[Callable[[str], Any], str]] = [
    (parse_diag, "dcgm/v4_r2_faulty_memory.json"),
    (parse_diag, "dcgm/v3_r2_healthy.json"),
    (parse_diag, "dcgm/v4_iterations.json"),
    (parse_json, "nccl_tests/all_reduce.json"),
    (parse_nvbandwidth, "nvbandwidth/v08_healthy.json"),
    (progress_of, "flight_recorder/reopened_r0.json"),
]
TEXT: list[tuple[Callable[[str], Any], str]] = [
    *JSON,
    (parse_table, "nccl_tests/table_2_18.txt"),
    (parse_gpu_burn, "gpu_burn/one_never_began.txt"),
    (parse_aznhc, "aznhc/fails_after_a_pass.log"),
    (parse_topo, "nvidia_topo/hgx_h200.txt"),
    (parse_mlnx_qos, "mlnx_qos/lossless_3.txt"),
]


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a document."""
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(deeper for key, value in inside for deeper in places(value, (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    found = copy.deepcopy(document)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


def understood_or_not(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except NotUnderstood:
        return None


@pytest.mark.parametrize(("parse", "file"), JSON, ids=[file for _, file in JSON])
@settings(max_examples=80)
@given(data=st.data())
def test_one_odd_value_anywhere_in_a_document(parse: Callable[[str], Any], file: str, data: st.DataObject) -> None:
    document = json.loads((DATA / file).read_text("utf-8"))
    path = data.draw(st.sampled_from(places(document)))
    understood_or_not(parse, json.dumps(changed(document, path, data.draw(odd))))


@pytest.mark.parametrize(("parse", "file"), TEXT, ids=[file for _, file in TEXT])
@settings(max_examples=60)
@given(data=st.data())
def test_an_output_that_is_torn_or_has_noise_in_it(parse: Callable[[str], Any], file: str, data: st.DataObject) -> None:
    text = (DATA / file).read_bytes().decode()
    begin, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    understood_or_not(parse, text[:begin] + data.draw(st.text(max_size=20)) + text[end:])
    understood_or_not(parse, text[begin:end])


@pytest.mark.parametrize("parse", [parse_diag, parse_json, parse_table, parse_gpu_burn, parse_aznhc, parse_nvbandwidth])
@given(text=st.text(max_size=80))
def test_no_text_is_too_strange(parse: Callable[[str], Any], text: str) -> None:
    understood_or_not(parse, text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_document_is_too_strange_to_be_redacted(before: str, after: str) -> None:
    document = json.dumps({"env": {"TOKEN": "correct horse"}, "results": [], "x": after})
    for text in (before, before + document, document + after, document[: -len(after) - 1]):
        assert "correct horse" not in redacted(text)


@settings(max_examples=60)
@given(data=st.data())
def test_every_number_that_is_understood_is_finite(data: st.DataObject) -> None:
    document = json.loads((DATA / "nccl_tests/all_reduce.json").read_text("utf-8"))
    path = data.draw(st.sampled_from([p for p in places(document) if p[:1] == ("results",)]))
    perf = understood_or_not(parse_json, json.dumps(changed(document, path, data.draw(odd))))
    if perf:
        for row in perf.rows:
            numbers = (row.out_of_place.time_s, row.out_of_place.busbw_bytes, row.out_of_place.algbw_bytes)
            assert all(math.isfinite(n) and n >= 0 for n in numbers)
