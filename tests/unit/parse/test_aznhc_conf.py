"""What a configuration of AzNHC limits, in SI, and what it does not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
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
        ("check_gpu_bw", "expected one to three rates"),
        ("check_gpu_bw fast", "expected one to three rates"),
        ("check_gpu_bw -1", "expected one to three rates"),
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


def test_a_third_rate_of_amd_modules_is_told_and_not_dropped() -> None:
    """conf/nd96asr_mi200_v4.conf."""
    found = parse_aznhc_conf("* || check_gpu_count 16 rocm\n * || check_gpu_bw 12 38 120\n")
    assert limits(found)["peer_to_peer.bandwidth_bytes[*→*]"] == (38e9, 16)
    assert "120 between the halves of a module" in dict(found.unmapped)["line 2: check_gpu_bw 12 38 120"]


def test_rccl_is_the_same_on_amd() -> None:
    """conf/nd96isr_mi300x_v5.conf."""
    found = limits(parse_aznhc_conf("*|| check_gpu_count 8 rocm\n  * || check_rccl_allreduce 314 1 16G\n"))
    assert found == {
        "aznhc.rate_bytes[rccl_all_red]": (314e9, 8),
        "nccl_tests.busbw_bytes[all_reduce/16GiB]": (314e9, 8),
    }


@pytest.mark.parametrize("line", ["check_gpu_bw 48 335", "check_nccl_allreduce 193.0 1 16G"])
def test_what_one_gpu_can_neither_meet_nor_miss_is_no_limit(line: str) -> None:
    """conf/nc40ads_h100_v5.conf and nc24ads_a100_v4.conf."""
    found = parse_aznhc_conf(f"* || check_gpu_count 1\n* || {line}\n")
    assert not [key for key in limits(found) if "→" in key or "all_red" in key or "P2P" in key]
    assert "its one GPU has no other" in found.unmapped[-1][1]


def test_the_older_name_of_the_network_s_limit_is_known() -> None:
    assert "network cards" in parse_aznhc_conf("* || check_ib_bw 180\n").unmapped[0][1]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "key = value\n", "\x00\x01"])
def test_another_file_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_aznhc_conf(text)


NUMBERS = st.sampled_from(["52.0", "350", "0", "-1", "nan", "inf", "1e9", "x", "16G", "8"]) | st.text(max_size=4)
LINES = st.builds(
    lambda hosts, name, args: f"{hosts} || {name} {' '.join(args)}",
    st.sampled_from(["*", "gpu1"]),
    st.sampled_from(["check_gpu_bw", "check_cuda_bw", "check_nccl_allreduce", "check_gpu_count", "check_gpu_ecc"]),
    st.lists(NUMBERS, max_size=3),
)


@given(st.lists(LINES, max_size=4), st.text(max_size=50))
@example([" * || check_gpu_bw 52.0 350"], "")
@example(["* || check_gpu_bw -52.0 -350", "* || check_nccl_allreduce -1 1 16G"], "")
def test_any_text_is_understood_or_refused(lines: list[str], text: str) -> None:
    called = any(line.strip().startswith("*") for line in lines)
    try:
        found = parse_aznhc_conf("\n".join([*lines, text]))
    except NotUnderstood:
        assert not called
        return
    assert all(0 < one.limit < math.inf for one in found.limits)


def test_both_ways_of_a_copy_and_the_way_between_gpus_are_limited() -> None:
    found = parse_aznhc_conf("* || check_gpu_bw 52.0 350\n* || check_gpu_count 8\n")
    assert [(one.limit, one.gpus) for one in found.limits] == [(52e9, 0), (350e9, 8)]
    copies, between = (set(one.keys) for one in found.limits)
    assert {"transfers.rate_bytes[h2d]", "transfers.rate_bytes[d2h]", "aznhc.rate_bytes[H2D_GPU_*]"} <= copies
    assert between == {
        "peer_to_peer.bandwidth_bytes[*→*]",
        "nvbandwidth.rate_bytes[device_to_device_memcpy_read_ce/*]",
        "nvbandwidth.rate_bytes[device_to_device_memcpy_write_ce/*]",
        "aznhc.rate_bytes[P2P_*]",
    }
