from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import vast_recordings

from hpcaccept.errors import UsageError
from hpcaccept.provider.vast.fields import ALIASES, FIELDS, order_of
from hpcaccept.provider.vast.query import DEFAULTS, OPERATORS, parse_query

VAST_VERIFICATION = (
    "cuda_vers>=12.4 verified=any reliability>0.90 direct_port_count>3 pcie_bw>3 inet_down>10 inet_up>10 gpu_ram>7"
)


def as_we_say_it(body: dict[str, Any]) -> dict[str, Any]:
    """What the official client sent, with our differences: numbers are numbers, and rented=false holds too."""
    filters = {name: value for name, value in body.items() if isinstance(value, dict)}
    found = {name: {op: number_of(name, value) for op, value in each.items()} for name, each in filters.items()}
    # It cannot tell whether a filter was removed or never there; it has none of its own for this field.
    return {"rented": {"eq": False}, **found}


def number_of(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [number_of(name, each) for each in value]
    if isinstance(value, str) and FIELDS[name].kind in ("number", "integer") and re.fullmatch(r"[\d.]+", value):
        return float(value)
    return value


@pytest.mark.parametrize("text", vast_recordings.QUERIES)
def test_a_query_is_sent_as_the_official_client_sends_it(text: str) -> None:
    expected = as_we_say_it(vast_recordings.recorded()["queries"][text])
    found = parse_query(text)
    if "rented=" in text or "rented=?" in text:
        expected.pop("rented")
    assert found == expected


def test_the_query_of_vast_verification_keeps_its_meaning() -> None:
    assert parse_query(VAST_VERIFICATION) == {
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "cuda_max_good": {"gte": 12.4},
        "reliability": {"gt": 0.9},
        "direct_port_count": {"gt": 3},
        "pcie_bw": {"gt": 3},
        "inet_down": {"gt": 10},
        "inet_up": {"gt": 10},
        "gpu_ram": {"gt": 7000},
    }


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("gpu_ram>7", {"gpu_ram": {"gt": 7000}}),
        ("gpu_total_ram>=48.5", {"gpu_total_ram": {"gte": 48_500}}),
        ("cpu_ram in [64,128]", {"cpu_ram": {"in": [64_000, 128_000]}}),
        ("duration>2", {"duration": {"gt": 172_800}}),
        ("driver_version>=535.86.05", {"driver_version": {"gte": 535_086_005}}),
        ("driver_version<570", {"driver_version": {"lt": 570_000_000}}),
        ("gpu_name=RTX_4090", {"gpu_name": {"eq": "RTX 4090"}}),
        ('gpu_name = "RTX 4090"', {"gpu_name": {"eq": "RTX 4090"}}),
        ('gpu_name in ["RTX 4090", RTX_5090]', {"gpu_name": {"in": ["RTX 4090", "RTX 5090"]}}),
        ("geolocation not in ['XV','XZ']", {"geolocation": {"notin": ["XV", "XZ"]}}),
        ("geolocation in SE,NO", {"geolocation": {"in": ["SE", "NO"]}}),
        ("gpu_name noteq RTX_3090", {"gpu_name": {"neq": "RTX 3090"}}),
        ("gpu_name not eq RTX_3090", {"gpu_name": {"neq": "RTX 3090"}}),
        ("static_ip=True", {"static_ip": {"eq": True}}),
        ("cluster_id=null", {"cluster_id": {"eq": None}}),
        ("dph<1 dph>0.1", {"dph_total": {"lt": 1, "gt": 0.1}}),
        ("dph lt 1\n\tdph gt .1", {"dph_total": {"lt": 1, "gt": 0.1}}),
    ],
)
def test_units_literals_and_lists(typed: str, sent: dict[str, Any]) -> None:
    assert parse_query(typed, {}) == sent


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_its_field(alias: str) -> None:
    value = "true" if FIELDS[ALIASES[alias]].kind == "boolean" else "5"
    assert parse_query(f"{alias}={value}", {}) == parse_query(f"{ALIASES[alias]}={value}", {})


@pytest.mark.parametrize(("typed", "sent"), OPERATORS.items())
def test_every_operator_and_word(typed: str, sent: str) -> None:
    (found,) = parse_query(f"machine_id {typed} 5", {})["machine_id"]
    assert found == sent


@pytest.mark.parametrize("wild", ["any", "?", "*"])
def test_any_removes_a_default(wild: str) -> None:
    assert set(parse_query(f"verified={wild}")) == set(DEFAULTS) - {"verified"}


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ("gpu_rm>7", "Did you mean 'gpu_ram'?"),
        ("reliabilty>0.9", "Did you mean 'reliability'?"),
        ("cuda_version>12", "Unknown field"),
        ("limit=5", "Unknown field 'limit'"),
        ("order=dph", "Unknown field 'order'"),
        ("allocated_storage=5", "Unknown field"),
        ("gpu_ram", "expected one of"),
        ("gpu_ram>", "has no value"),
        ("gpu_ram >", "Quote the whole query"),
        ("gpu_ram=>7", "expected one of"),
        ("gpu_ram>7 and dph<1", "Unknown field 'and'"),
        ("gpu_ram>7;dph<1", "expected a number"),
        ("gpu_ram>7 ]", "cannot be read from here"),
        ("gpu_name=RTX[4090", "goes on without a blank"),
        ("gpu_name=[A,B]", "A list takes in or notin"),
        ("gpu_name in []", "has no value"),
        ("gpu_name>A", "cannot be compared"),
        ("verified>true", "cannot be compared"),
        ("verified=yes", "expected true, false or any"),
        ("verified!=any", "any means no filter"),
        ("verified=any verified=true", "Keep one of them"),
        ("dph<1 dph<2", "twice"),
        ("reliability>90", "never is"),
        ("compute_cap>=8.9", "never is"),
        ("num_gpus>=1.5", "whole number"),
        ("gpu_ram>1e400", "expected a number"),
        ("gpu_ram>0x10", "expected a number"),
        ("gpu_ram>nan", "expected a number"),
        ("driver_version>=new", "expected a version"),
        ("gpu_name=\x1b[31m", "goes on without a blank"),
        ("gpu_name=a\x00b", "control characters"),
        ("gpu_name='\x1b]0;x'", "control characters"),
        ("x" * 30_000, "characters"),
    ],
)
def test_what_is_no_query_is_refused_with_a_reason(typed: str, part: str) -> None:
    with pytest.raises(UsageError, match=re.escape(part)):
        parse_query(typed)


@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_query_or_a_sentence(text: str) -> None:
    try:
        found = parse_query(text, {})
    except UsageError:
        return
    assert set(found) <= set(FIELDS)


def test_a_value_is_never_a_key() -> None:
    body = parse_query("gpu_name=},limit:", {})
    assert body == {"gpu_name": {"eq": "},limit:"}}


def test_orders_have_aliases_and_directions() -> None:
    assert order_of("dlperf-, dph,+machine_id") == [["dlperf", "desc"], ["dph_total", "asc"], ["machine_id", "asc"]]
    assert order_of("-score") == [["score", "desc"]]
    for wrong, part in (("dlprf", "Did you mean 'dlperf'"), ("dph,dph_total-", "twice")):
        with pytest.raises(UsageError, match=part):
            order_of(wrong)
