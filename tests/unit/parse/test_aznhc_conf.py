"""What a configuration of AzNHC limits, in SI, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.aznhc_conf import parse_aznhc_conf

if TYPE_CHECKING:
    from hpcaccept.parse.imported_limits import Imported


def conf(name: str) -> Imported:
    return parse_aznhc_conf((DATA / "aznhc_conf" / name).read_text("utf-8"))


def limits(found: Imported) -> dict[str, tuple[float, int]]:
    """Key → (limit, GPUs per node)."""
    return {key: (one.limit, one.gpus) for one in found.limits for key in one.keys}


def test_the_limits_of_an_eight_gpu_size() -> None:
    found = limits(conf("eight_gpus.conf"))
    assert found["transfers.rate_bytes[h2d]"] == (48e9, 0)
    assert found["transfers.rate_bytes[d2h]"] == (48e9, 0)
    assert found["peer_to_peer.bandwidth_bytes[*→*]"] == (335e9, 8)
    assert found["nccl_tests.busbw_bytes[all_reduce/16GiB]"] == (460e9, 8)
    assert found["aznhc.rate_bytes[nccl_all_red]"] == (460e9, 8)


def test_the_older_form_has_a_topology_before_the_size_and_one_rate() -> None:
    found = limits(conf("older_form.conf"))
    assert found["transfers.rate_bytes[h2d]"] == (22.5e9, 0)
    assert found["nccl_tests.busbw_bytes[all_reduce/8GiB]"] == (228e9, 8)
    assert not any(key.startswith("peer_to_peer") for key in found)


def test_every_other_line_is_listed_with_a_reason() -> None:
    why = {text.partition(": ")[2].split()[0]: reason for text, reason in conf("eight_gpus.conf").unmapped}
    assert "network cards" in why["check_ib_bw_gdr"]
    assert "network cards" in why["check_nccl_allreduce_ib_loopback"]
    assert "for some hosts only" in why["{node[001-004]}"]
    assert "for some hosts only" in why["/^special/"]
    assert "not of the form" in why["check_forgot_its_hosts"]
    assert "setting of NHC" in why["*"]
    assert {"check_hw_cpuinfo", "check_hw_physmem", "check_hw_ib", "check_gpu_ecc", "check_gpu_xid"} <= why.keys()
    lines = [
        line
        for line in (DATA / "aznhc_conf/eight_gpus.conf").read_text().splitlines()
        if line.partition("#")[0].strip()
    ]
    assert len(lines) == len(why) + 2, "two lines give limits, no line is dropped"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("check_gpu_bw", "expected one or two rates"),
        ("check_gpu_bw fast", "expected one or two rates"),
        ("check_gpu_bw -1", "expected one or two rates"),
        ("check_nccl_allreduce", "expected a bus bandwidth"),
        ("check_nccl_allreduce nan 1 16G", "expected a bus bandwidth"),
    ],
)
def test_a_limit_that_is_none_is_listed(line: str, why: str) -> None:
    found = parse_aznhc_conf(f"* || {line}\n")
    assert found.limits == ()
    assert why in found.unmapped[0][1]


def test_without_a_size_only_their_own_figure_is_limited() -> None:
    found = parse_aznhc_conf("* || check_gpu_count 2\n* || check_nccl_allreduce 208.0 1\n")
    assert limits(found) == {"aznhc.rate_bytes[nccl_all_red]": (208e9, 2)}
    assert "without a message size" in found.unmapped[-1][1]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "key = value\n", "\x00\x01"])
def test_another_file_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_aznhc_conf(text)


@given(st.text(max_size=200))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = parse_aznhc_conf(text)
    except NotUnderstood:
        return
    assert all(one.limit > 0 for one in found.limits)
