from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.fio import DEVICE_ERRORS, WRONG_DATA, parse_fio

RECORDED = Path(__file__).parents[2] / "data/fio"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.json").read_text()


def test_rates_are_in_bytes_and_latencies_in_seconds() -> None:
    put, random, got = parse_fio(recorded("healthy"))
    raw = {job["jobname"]: job for job in json.loads(recorded("healthy"))["jobs"]}
    assert (put.name, random.name, got.name) == ("put", "random_read.0", "get")
    assert put.write.total_bytes == got.read.total_bytes == 4 << 20
    assert put.write.rate_bytes == raw["put"]["write"]["bw_bytes"]
    # bw is the same in KiB/s, and whoever takes it for kB/s is 2.4 % off.
    assert put.write.rate_bytes == pytest.approx(raw["put"]["write"]["bw"] * 1024, rel=1e-3)
    assert random.read.iops == pytest.approx(random.read.rate_bytes / 4096, rel=0.01)
    assert random.read.latency_p99_s is not None
    assert 1e-6 < random.read.latency_p99_s < 1
    assert put.read.latency_p99_s is None


def test_version_3_1_has_its_rate_in_kib_only() -> None:
    put, random, got = parse_fio(recorded("version_3_1"))
    raw = {job["jobname"]: job for job in json.loads(recorded("version_3_1"))["jobs"]}
    assert "bw_bytes" not in raw["put"]["write"]
    assert put.write.rate_bytes == raw["put"]["write"]["bw"] * 1024
    assert put.write.total_bytes == got.read.total_bytes == 4 << 20
    assert random.read.iops == pytest.approx(random.read.rate_bytes / 4096, rel=0.01)
    assert (put.error, got.wrong_blocks) == (0, 0)


def test_a_healthy_job_has_no_error() -> None:
    assert all(job.error == 0 and job.wrong_blocks == 0 for job in parse_fio(recorded("healthy")))


def test_wrong_blocks_are_counted_although_fio_exits_0() -> None:
    (job,) = parse_fio(recorded("wrong_blocks"))
    assert (job.error, job.wrong_blocks) == (WRONG_DATA, 2)


def test_a_job_that_stops_at_the_first_wrong_block_has_met_one_and_its_text_is_no_json() -> None:
    assert recorded("wrong_blocks_fatal").startswith("fio: ")
    (job,) = parse_fio(recorded("wrong_blocks_fatal"))
    assert (job.error, job.wrong_blocks) == (WRONG_DATA, 1)


def test_a_full_disk_is_no_wrong_block_and_no_broken_device() -> None:
    (job,) = parse_fio(recorded("no_space"))
    assert (job.error, job.wrong_blocks) == (28, 0)
    assert job.error not in DEVICE_ERRORS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fio: unrecognized option",
        '{\n  "fio version" : "fio-3.33",\n  "jobs" : []\n}',
        '{"jobs": [{"jobname": "a"}]}',
        '{"jobs": {"a": 1}}',
        '{"jobs": "many"}',
        "[1, 2]",
    ],
)
def test_what_is_not_fio_s_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_fio(text)


def test_torn_output_is_not_understood() -> None:
    with pytest.raises(NotUnderstood):
        parse_fio(recorded("healthy")[:-200])


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
KEYS = st.sampled_from(
    ["jobs", "jobname", "error", "total_err", "read", "write", "io_bytes", "bw_bytes", "iops", "clat_ns"]
)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=10)))
def test_json_of_any_shape_is_jobs_or_not_understood(thing: object) -> None:
    with contextlib.suppress(NotUnderstood):
        assert parse_fio(json.dumps({"jobs": thing}))


@given(st.text())
def test_any_text_around_a_good_output_leaves_it_understood_or_refused(text: str) -> None:
    good = recorded("healthy")
    with contextlib.suppress(NotUnderstood):
        assert parse_fio(text + good) == parse_fio(good)
    with pytest.raises(NotUnderstood):
        parse_fio(good[: len(good) // 2] + text)
