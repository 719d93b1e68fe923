"""What earlier code has written is still read: real files, see tests/data/old_formats/README.md."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.builders import baseline, entry
from support.pasts import past_run

from hpcaccept.judge.baseline.limit import limits_of, states_a_rate
from hpcaccept.model.baseline import BaselineEntry, Change
from hpcaccept.model.history import PASSED, UNJUDGED, PastSubject
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.store.baseline_file import VERSION, change_file, read_generations, write_baseline
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.history_file import append, read_past, read_runs, read_track, read_whereabouts
from hpcaccept.store.run_file import read_run, write_run

OLD = Path(__file__).parents[2] / "data" / "old_formats"
MODEL, SETTING = "AMD EPYC", "1 threads, all at once"
TRIAD = "memory_bandwidth.rate_bytes[triad]"


@pytest.mark.parametrize(
    ("version", "run_id", "rates"),
    [
        (1, "20261129-003828-small-2n-03cb", (11411894690.920332, 11748936505.655998, 5177134171.010385)),
        (2, "20261129-003850-small-2n-88b7", (10695388500.536833, 12769462271.627104, 9979923917.704937)),
    ],
)
def test_a_run_of_an_old_version_is_read(version: int, run_id: str, rates: tuple[float, ...]) -> None:
    found = read_run(OLD / f"run-{version}.h5")
    assert (found.plan.run_id, found.plan.suite.peers.min_subjects) == (run_id, 4)
    assert [(start.rank, start.node) for start in found.rank_starts] == [(0, "node0"), (1, "node1")]
    assert [(record.check, record.node) for record in found.records[:2]] == [
        ("identity", "node0"),
        ("memory_bandwidth", "node0"),
    ]
    assert (len(found.records), len(found.steps), found.events[-1].kind, found.unreadable) == (6, 1, "ended", ())
    table = found.samples
    assert (len(table), len(table.keys), len(table.subjects)) == (134, 55, 5)
    mine = table.key == table.keys.index(TRIAD)
    assert tuple(table.value[mine][:3]) == rates
    assert table.subjects[table.subject[mine][2]] == MeasuredSubject("node1", "cpu", "", MODEL, SETTING)


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_of_an_old_version_is_written_anew(tmp_path: Path, version: int) -> None:
    found = read_run(OLD / f"run-{version}.h5")
    write_run(tmp_path / "run.h5", found, "2026-11-30")
    again = read_run(tmp_path / "run.h5")
    assert (again.plan, again.records, again.samples.subjects) == (found.plan, found.records, found.samples.subjects)
    assert np.array_equal(again.samples.value, found.samples.value)


def test_a_plan_with_old_names_is_read(tmp_path: Path) -> None:
    with h5py.File(OLD / "run-2.h5") as h5:
        (tmp_path / "plan.json").write_text(h5["plan"].asstr()[()], "utf-8")
    assert RunFolder(tmp_path).read_plan().suite.peers.min_subjects == 4


def test_a_baseline_of_format_1_is_a_draft() -> None:
    (draft,) = read_generations(OLD / "baseline-1.h5")
    assert (draft.model, draft.state, draft.generation, draft.changes) == (MODEL, "draft", 1, ())
    assert draft.provenance.runs == ("20261129-003841-small-2n-276c",)
    assert draft.entries["memory_bandwidth.rate_bytes[add]"] == BaselineEntry(
        "memory_bandwidth.rate_bytes[add]", 1, "B/s", "higher", 11386623332.653389, 1458584755.2146623, 5552284311.79474,
        None, 2, "median of 2 values of 2 unit(s), loss > max(0.5, 4 robust sigma)", floor=0.5123853534460503,
    )  # fmt: skip


def test_a_baseline_of_format_2_keeps_its_generations_and_is_written_in_format_4(tmp_path: Path) -> None:
    file = tmp_path / "amd-epyc.h5"
    shutil.copy(OLD / "baseline-2.h5", file)
    first, second = read_generations(file)
    assert first.changes == (Change("approved", "2026-11-29T00:39:10+00:00", "A. Engineer", why="looked at"),)
    assert (first.generation, len(first.entries), second.generation, len(second.entries)) == (1, 27, 2, 30)
    entry = second.entries["memory_bandwidth.rate_bytes[add]"]
    assert (entry.subjects, entry.nodes, entry.center, entry.lower) == (2, 2, 13456451278.188065, 6728225639.094032)
    change_file(file, MODEL, lambda earlier: earlier)
    with h5py.File(file) as h5:
        assert h5.attrs["version"] == VERSION == 4
        assert h5["generations/0002/columns/subjects"][0] == 1
    assert read_generations(file) == (first, second)


def test_a_learned_limit_of_format_3_is_the_least_that_its_values_are_held_against() -> None:
    (one,) = read_generations(OLD / "baseline-3.h5")
    assert (one.state, one.provenance.nodes, len(one.entries)) == ("approved", ("node0", "node1"), 26)
    entry = one.entries["allreduce.busbw_bytes[mpi/1MiB]"]
    assert entry.lower is not None
    lower, upper, loss = limits_of(entry, 26, 0.01, 0.25)
    assert lower == pytest.approx(entry.lower)
    assert upper is None
    assert loss == pytest.approx(0.5)
    assert entry.center is not None
    assert entry.lower == pytest.approx(entry.center / 2)


def test_a_limit_of_an_older_file_that_is_not_learned_stays_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published or an imported one holds whatever the number of values."""
    exact = baseline(entry())
    origin = replace(exact.provenance, nodes=())
    monkeypatch.setattr("hpcaccept.store.baseline_file.VERSION", 3)
    file = write_baseline(tmp_path, replace(exact, provenance=origin))
    (one,) = read_generations(file)
    assert not states_a_rate(one.entries["speed.rate_flops"])
    assert limits_of(one.entries["speed.rate_flops"], 10**6, 0.01)[:2] == (90.0, None)


def history(folder: Path, version: int) -> Path:
    shutil.copy(OLD / f"history-{version}.h5", folder / "000001.h5")
    return folder


@pytest.mark.parametrize(
    ("version", "planned", "rates", "first"),
    [
        (1, ["2026-11-29T00:38:50+00:00", "2026-11-29T00:38:59+00:00"], [9.30398310e9, 1.13466593e10], PASSED),
        (2, ["2026-11-29T13:50:33+00:00", "2026-11-29T13:50:48+00:00"], [6.58585805e9, 5.93061274e9], UNJUDGED),
    ],
)
def test_a_history_of_an_old_format_is_read(
    tmp_path: Path, version: int, planned: list[str], rates: list[float], first: int
) -> None:
    folder = history(tmp_path, version)
    assert [kept.run.at for kept in read_runs(folder)] == planned
    where = read_whereabouts(folder)
    assert where.subjects == ("node0", "node0/cpu", "*", "node1", "node1/cpu")
    assert where.places[4] == PastSubject("node1", "cpu", MODEL, SETTING)
    assert where.standing.tolist() == [[first, first, UNJUDGED, first, first]] * 2
    track = read_track(folder, "node1/cpu")
    assert track is not None
    copy = track.values[:, track.keys.index("memory_bandwidth.rate_bytes[copy]")]
    assert copy == pytest.approx(rates)
    past = read_past(folder, ("node1/cpu",), (TRIAD,), last=9)
    assert past.launches[TRIAD].tolist() == [[0], [0]], "in how many launches, nobody knows"


@pytest.mark.parametrize(("version", "good"), [(1, [9.30398310e9, 1.13466593e10]), (2, [])])
def test_a_history_of_an_old_format_grows_in_format_3(tmp_path: Path, version: int, good: list[float]) -> None:
    folder, key = history(tmp_path, version), "memory_bandwidth.rate_bytes[copy]"
    launches = np.array([[2]], np.uint8)
    append(folder, [replace(past_run(1, {key: [1e9]}, subjects=("node1/cpu",)), launches=launches)])
    with h5py.File(folder / "000001.h5") as h5:
        assert h5.attrs["version"] == 3
        assert "units" not in h5
    past = read_past(folder, ("node1/cpu",), (key,), last=9)
    values = past.values[key][:, 0]
    assert sorted(values[np.isfinite(values)].tolist()) == pytest.approx([1e9, *good])
    assert past.launches[key][:, 0].tolist() == [2, 0, 0]
