"""Limits of others become a draft; what cannot be taken is listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.baseline_files import read_baseline
from support.builders import DATA, H100, baseline, entry
from support.gpu_runs import file_of, typed

from hpcaccept.store.baseline_file import read_generations, write_baseline

if TYPE_CHECKING:
    from pathlib import Path

A100 = "NVIDIA A100-SXM4-40GB"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_configuration_of_aznhc_becomes_a_draft_and_the_rest_is_listed(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    conf = str(DATA / "aznhc_conf/eight_gpus.conf")
    code, out, _ = typed(capsys, "import", conf, "--model", H100, "--power-limit-w", "700", "--memory-gib", "80")
    assert code == 0
    found = read_baseline(file_of(place))
    assert (found.state, found.provenance.runs) == ("draft", ("eight_gpus.conf",))
    assert found.provenance.facts == {"gpu_power_limit_w": "700", "gpu_memory_gib": "80"}
    one = found.entries["transfers.rate_bytes[h2d]"]
    assert (one.lower, one.center, one.unit, one.source) == (48e9, None, "B/s", "eight_gpus.conf: check_gpu_bw 48 335")
    assert found.entries["peer_to_peer.bandwidth_bytes[*→*]"].gpus == 8
    assert "not taken from eight_gpus.conf: line" in out
    assert "check_ib_bw_gdr 380" in out
    (network,) = [line for line in out.splitlines() if "a limit of the network cards" in line]
    assert network.count("line ") >= 2, "lines with one reason are told together"


def test_a_limit_that_no_board_of_the_size_can_meet_is_not_taken(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    """nc80adis_h100_v5.conf: two healthy boards reach 257 GB/s, their bridge carries 300."""
    conf = place / "nc80adis.conf"
    conf.write_text("* || check_gpu_count 2\n* || check_gpu_bw 48 335\n* || check_nccl_allreduce 208.0 1 16G\n")
    code, out, _ = typed(capsys, "import", str(conf), "--model", "NVIDIA H100 NVL")
    assert code == 0
    assert "335 GB/s is more than the 300 GB/s that the NVLink bridge of a NVIDIA H100 NVL carries one way" in out
    found = read_baseline(file_of(place, "NVIDIA H100 NVL")).entries
    assert not [key for key in found if key.startswith("peer_to_peer")]
    assert found["nccl_tests.busbw_bytes[all_reduce/16GiB]"].lower == 208e9


def test_bus_bandwidth_of_an_unknown_number_of_gpus_waits_for_that_number(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    file = str(DATA / "superbench/baseline.json")
    key = "nccl_tests.busbw_bytes[all_reduce/8GiB]"
    assert "say it with --gpus N" in typed(capsys, "import", file, "--model", A100)[1]
    assert key not in read_baseline(file_of(place, A100)).entries
    assert typed(capsys, "import", file, "--model", A100, "--gpus", "8")[0] == 0
    assert read_baseline(file_of(place, A100)).entries[key].gpus == 8


def test_results_of_superbench_become_centre_spread_and_limit(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert typed(capsys, "import", str(DATA / "superbench/results.jsonl"), "--model", A100)[0] == 0
    found = read_baseline(file_of(place, A100)).entries
    copies, products = found["transfers.rate_bytes[h2d]"], found["matmul.rate_flops[bf16]"]
    assert (copies.center, copies.subjects) == (26.1e9, 3)
    assert copies.lower == pytest.approx(26.1e9 * 0.9)
    assert products.center is None, "CUTLASS in other shapes: a limit, no centre"
    assert products.lower == pytest.approx(2.62e14 * 0.85)


def test_a_limit_above_what_the_part_can_do_is_refused(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    table = place / "wrong.csv"
    table.write_text("key,unit,lower\nmatmul.rate_flops[bf16],TFLOP/s,1200\n")
    code, _, err = typed(capsys, "import", str(table), "--model", H100)
    assert code == 3
    assert "above the physical peak" in err
    assert not file_of(place).exists()


def test_gigabits_taken_for_gigabytes_are_refused(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    table = place / "wrong.csv"
    table.write_text("key,unit,lower\ntransfers.rate_bytes[h2d],GB/s,380\n")
    assert "above the physical peak" in typed(capsys, "import", str(table), "--model", H100)[2]


def test_a_limit_below_half_of_what_is_published_is_not_taken(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    table = place / "bits.csv"
    table.write_text("key,unit,lower\ntransfers.rate_bytes[h2d],Gb/s,48\nmatmul.rate_flops[fp32],TFLOP/s,30\n")
    _, out, _ = typed(capsys, "import", str(table), "--model", H100)
    assert "its limit 6 GB/s is less than half of the published 48 GB/s" in out
    assert set(read_baseline(file_of(place)).entries) == {"matmul.rate_flops[fp32]"}


def test_a_limit_below_half_of_what_was_measured_here_is_not_taken(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    """Nothing is published of the metric; a learned generation knows it, whatever its state."""
    measured = entry(
        "matmul.rate_flops[int8]", center=1.5e15, lower=1.4e15, spread=1e13, floor=0.04, width=0.01, freedom=20.0
    )
    write_baseline(place / "baselines", baseline(measured))
    table = place / "low.csv"
    table.write_text("key,unit,lower\nmatmul.rate_flops[int8],TFLOP/s,700\nmatmul.rate_flops[fp32],TFLOP/s,30\n")
    _, out, _ = typed(capsys, "import", str(table), "--model", H100)
    assert "its limit 700 TFLOP/s is less than half of the 1.5 PFLOP/s that was measured here" in out
    assert set(read_generations(file_of(place))[-1].entries) == {"matmul.rate_flops[fp32]"}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("nothing.rate_bytes,GB/s,1", "there is no check 'nothing'"),
        ("matmul.speed,GB/s,1", "has no metric 'speed'"),
        ("matmul.spread,share,1", "a limit of its own"),
        ("matmul.rate_flops[bf16],GB/s,1", "its unit is B/s, the metric has FLOP/s"),
    ],
)
def test_rows_of_no_metric_of_ours_are_listed(
    capsys: pytest.CaptureFixture[str], place: Path, row: str, why: str
) -> None:
    table = place / "site.csv"
    table.write_text(f"key,unit,lower\n{row}\nmatmul.rate_flops[fp32],TFLOP/s,30\n")
    code, out, _ = typed(capsys, "import", str(table), "--model", H100)
    assert code == 0
    assert why in out
    assert set(read_baseline(file_of(place)).entries) == {"matmul.rate_flops[fp32]"}


def test_of_two_files_that_disagree_the_first_is_taken_and_the_other_listed(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    for name, limit in (("one.csv", 30), ("two.csv", 31)):
        (place / name).write_text(f"key,unit,lower\nmatmul.rate_flops[fp32],TFLOP/s,{limit}\n")
    _, out, _ = typed(capsys, "import", "one.csv", "two.csv", "--model", H100)
    assert "not taken from two.csv: matmul.rate_flops[fp32]: already taken from one.csv" in out
    assert read_baseline(file_of(place)).entries["matmul.rate_flops[fp32]"].lower == 30e12


@pytest.mark.parametrize(
    ("name", "content", "code", "why"),
    [
        ("a.conf", b"nothing", 2, "not a configuration of AzNHC"),
        ("a.json", b"[]", 2, "Expected tables"),
        ("a.csv", b"a;b\n", 2, "expected at least key and unit"),
        ("a.csv", b"key,unit,lower\n", 3, "Nothing in these files"),
        ("a.txt", b"", 2, "expected .conf, .json, .jsonl or .csv"),
        ("a.conf", b"\xff\xfe", 2, "is not text"),
        ("a.json", None, 2, "Cannot read a.json"),
    ],
)
def test_a_file_that_is_none_of_these_is_told(
    capsys: pytest.CaptureFixture[str], place: Path, name: str, content: bytes | None, code: int, why: str
) -> None:
    if content is not None:
        (place / name).write_bytes(content)
    found, _, err = typed(capsys, "import", name, "--model", H100)
    assert found == code
    assert why in err
