"""Whether a measurement had its processors to itself: real readings of this machine, and what follows from them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA

from hpcaccept.measure.host import contention
from hpcaccept.measure.host.contention import Use, between, contended, parse_stat, parse_throttled, reading

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = DATA / "contention"
STAT = (RECORDED / "stat-linux-6").read_text()
QUIET = Use(seconds=1.0, cores=8, busy=1.0, own=1.0, stolen=0.0, waited=0.0, throttled=0.0, stalled=0.0)
linux = pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="the kernel has no schedstat")  # noqa: PTH110


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


# --- what the kernel says ---------------------------------------------------------------------------------------------


def test_only_the_processors_that_may_be_used_are_counted() -> None:
    hz = os.sysconf("SC_CLK_TCK")
    line = next(line for line in STAT.splitlines() if line.startswith("cpu1 ")).split()
    busy, stolen = parse_stat(STAT, {1})
    assert busy == pytest.approx(sum(map(int, line[1:4])) / hz)
    assert stolen == pytest.approx(int(line[8]) / hz)
    both, _ = parse_stat(STAT, {0, 1})
    assert both > busy


def test_a_text_that_is_no_stat_counts_as_nothing() -> None:
    assert parse_stat("", {0}) == parse_stat("cpu0\nintr 5 6\n", {0}) == (0.0, 0.0)


def test_what_a_quota_took_is_read_from_both_generations_of_control_groups() -> None:
    assert parse_throttled((RECORDED / "cpu.stat-v1").read_text()) == pytest.approx(0.78260212)
    without = (RECORDED / "cpu.stat-v2-without-quota").read_text()
    assert parse_throttled(without) == 0.0
    # The name is the documentation's: no kernel at hand has the controller on v2 (tests/data/contention/README.md).
    assert parse_throttled(f"{without}nr_throttled 2\nthrottled_usec 1500000\n") == 1.5


def test_a_system_without_proc_has_readings_of_nothing(tmp_path: Path) -> None:
    use = between(reading(tmp_path), reading(tmp_path))
    assert (use.busy, use.stolen, use.waited, use.throttled, use.stalled) == (0.0, 0.0, 0.0, 0.0, None)


@linux
def test_a_process_that_shares_its_only_core_sees_who_took_it() -> None:
    core = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(0, {core})
        os.sched_setaffinity(busy.pid, {core})
        first = reading()
        spin(0.6)
        use = between(first, reading())
    finally:
        busy.kill()
        busy.wait()
        os.sched_setaffinity(0, before)
    assert use.waited > 0.3
    assert use.own < 0.7
    # What the hypervisor took meanwhile would be told first.
    assert contended(replace(use, stolen=0.0), use.busy - use.own).endswith("of 1 cores meanwhile")


@linux
def test_what_children_use_is_our_own() -> None:
    first = reading()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert between(first, reading()).own * (time.monotonic() - first.at_s) >= 0.29


# --- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "others", "said"),
    [
        (QUIET, 0.0, ""),
        (QUIET, 1.9, ""),
        (QUIET, 2.0, "other programs used 2.0 of 8 cores meanwhile"),
        (replace(QUIET, waited=0.2), 0.05, ""),
        (replace(QUIET, waited=0.2), 0.2, "other programs used 0.2 of 8 cores meanwhile"),
        (replace(QUIET, waited=0.5, throttled=0.48), 0.2, ""),
        (replace(QUIET, stolen=0.12), 0.0, "the hypervisor gave 12 % of its processors' time to other guests"),
        (replace(QUIET, waited=0.5), None, ""),
        (replace(QUIET, seconds=0.01, stolen=0.5, waited=0.5), 8.0, ""),
    ],
)  # fmt: skip
def test_company_is_told_and_a_quota_is_none(use: Use, others: float | None, said: str) -> None:
    assert contended(use, others) == said


@pytest.mark.parametrize(
    ("use", "others", "cost"),
    [
        (QUIET, 0.0, 0.0),
        (QUIET, 2.0, 0.3125),
        (replace(QUIET, waited=0.4), 0.8, 0.625),
        (replace(QUIET, waited=0.5, throttled=0.5), 0.0, 0.0),
        (replace(QUIET, stolen=0.2), None, 0.25),
        (replace(QUIET, waited=0.9), 7.0, 0.95),
    ],
)  # fmt: skip
def test_company_costs_what_was_waited_and_shared(use: Use, others: float | None, cost: float) -> None:
    assert contention.cost_of_company(use, others) == pytest.approx(cost)


def test_a_quota_is_told_by_itself() -> None:
    assert contention.throttled(QUIET) == ""
    assert "for 48 % of the time" in contention.throttled(replace(QUIET, throttled=0.48))


def test_the_fact_has_every_number() -> None:
    text = contention.words(replace(QUIET, waited=0.25), 0.5)
    assert text.startswith("others 0.50 of 8 cores, waited 25 %, throttled 0 %, stolen 0 %, some task stalled 0 %")
