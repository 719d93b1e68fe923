"""Whatever happens to a writer, what was remembered before is still there, and only like is put beside like."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pasts import FP32, MODEL, SETTING, TRIAD, at, past_run

from hpcaccept.errors import RunError, StoreError
from hpcaccept.model.history import DISTURBED, FAILED, PASSED, WARNED, PastSubject
from hpcaccept.store import history_file
from hpcaccept.store.history_accepted import Acceptance, accept, read_accepted
from hpcaccept.store.history_file import (
    VERSION,
    append,
    prune,
    read_past,
    read_runs,
    read_track,
    read_whereabouts,
    write_excerpt,
)
from hpcaccept.store.one_writer import locked

if TYPE_CHECKING:
    from pathlib import Path

NAN = math.nan


def names(folder: Path) -> list[str]:
    return [kept.run.run_id for kept in read_runs(folder)]


def test_no_history_is_an_empty_past(tmp_path: Path) -> None:
    past = read_past(tmp_path / "none", ["GPU-a"], [FP32])
    assert past.runs == ()
    assert past.values[FP32].shape == (0, 1)
    assert read_runs(tmp_path / "none") == ()
    assert read_track(tmp_path / "none", "GPU-a") is None


def test_a_past_is_oldest_first_whatever_the_order_of_remembering(tmp_path: Path) -> None:
    append(tmp_path, [past_run(2, {FP32: [3.0, 30.0]}), past_run(0, {FP32: [1.0, 10.0]})])
    append(tmp_path, [past_run(1, {FP32: [2.0, 20.0]})])
    past = read_past(tmp_path, ["GPU-b", "GPU-a", "GPU-new"], [FP32, "nothing.of_that"])
    assert [run.run_id for run in past.runs] == ["run000", "run001", "run002"]
    np.testing.assert_array_equal(past.values[FP32], [[10, 1, NAN], [20, 2, NAN], [30, 3, NAN]])
    assert np.isnan(past.values["nothing.of_that"]).all()
    assert past.facts == ({"driver": "e1"},) * 3


def test_remembering_again_replaces(tmp_path: Path) -> None:
    for night in range(3):
        append(tmp_path, [past_run(night, {FP32: [1.0 + night, 1.0]})])
    append(tmp_path, [past_run(1, {FP32: [7.0, 1.0]})])
    assert names(tmp_path) == ["run000", "run001", "run002"]
    assert read_past(tmp_path, ["GPU-a"], [FP32]).values[FP32].ravel().tolist() == [1.0, 7.0, 3.0]


def test_what_failed_or_was_disturbed_is_kept_and_not_taken_for_normal(tmp_path: Path) -> None:
    codes = {(FP32, "GPU-a"): FAILED, (FP32, "GPU-b"): DISTURBED, (TRIAD, "GPU-a"): WARNED}
    append(tmp_path, [past_run(0, {FP32: [1.0, 2.0], TRIAD: [3.0, 4.0]}, outcome=codes)])
    past = read_past(tmp_path, ["GPU-a", "GPU-b"], [FP32, TRIAD])
    assert np.isnan(past.values[FP32]).all()
    assert past.values[TRIAD].tolist() == [[3.0, 4.0]]
    assert past.outcomes[FP32].tolist() == [[FAILED, DISTURBED]]
    assert past.outcomes[TRIAD].tolist() == [[WARNED, PASSED]]
    everything = read_past(tmp_path, ["GPU-a", "GPU-b"], [FP32], leave_out=(DISTURBED,))
    np.testing.assert_array_equal(everything.values[FP32], [[1.0, NAN]])


def failing(folder: Path, good: int, bad: int) -> None:
    """GPU-a is well; GPU-b was, and then failed in every run."""
    for night in range(good + bad):
        fails = night >= good
        append(
            folder,
            [
                past_run(
                    night,
                    {FP32: [100.0, 98.0 if fails else 100.0]},
                    outcome={(FP32, "GPU-b"): FAILED if fails else PASSED},
                    standing=[PASSED, FAILED if fails else PASSED],
                )
            ],
        )


def test_what_was_good_before_a_loss_for_good_is_looked_for_however_far_back(tmp_path: Path) -> None:
    failing(tmp_path, 8, 30)
    past = read_past(tmp_path, ["GPU-a", "GPU-b"], [FP32], last=6)
    values = past.values[FP32]
    assert np.isfinite(values).sum(axis=0).tolist() == [6, 6]
    assert np.nanmax(values[:, 1]) == np.nanmin(values[:, 1]) == 100.0
    assert [run.run_id for run in past.runs[:2]] == ["run002", "run003"], "its last six good ones"
    assert (past.outcomes[FP32][-6:, 1] == FAILED).all()


def test_what_a_person_accepts_is_normal_and_what_was_before_is_over(tmp_path: Path) -> None:
    failing(tmp_path, 8, 30)
    accept(tmp_path, [Acceptance("GPU-b", at(8), at(38))])
    append(
        tmp_path, [past_run(40, {FP32: [100.0, 96.0]}, outcome={(FP32, "GPU-b"): FAILED}, standing=[PASSED, FAILED])]
    )
    past = read_past(tmp_path, ["GPU-a", "GPU-b"], [FP32], last=50)
    assert past.values[FP32][:, 0].tolist() == [100.0] * 39, "nobody else is touched"
    mine, said = past.values[FP32][:, 1], past.outcomes[FP32][:, 1]
    assert np.isnan(mine[:8]).all()
    assert mine[8:38].tolist() == [98.0] * 30
    assert np.isnan(mine[38]), "what failed later is a new failure"
    assert said.tolist() == [0] * 8 + [PASSED] * 30 + [FAILED]


def test_the_last_acceptance_of_a_subject_counts_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    assert read_accepted(tmp_path) == {}
    accept(tmp_path, [Acceptance("GPU-a", at(1), at(2)), Acceptance("GPU-b", at(1), at(2))])
    accept(tmp_path, [Acceptance("GPU-a", at(3), at(4))])
    assert read_accepted(tmp_path) == {
        "GPU-a": Acceptance("GPU-a", at(3), at(4)),
        "GPU-b": Acceptance("GPU-b", at(1), at(2)),
    }
    (tmp_path / "accepted.json").write_text('[{"subject": 3}]')
    with pytest.raises(StoreError, match=r"accepted\.json"):
        read_accepted(tmp_path)


def test_only_like_is_put_beside_like(tmp_path: Path) -> None:
    other = [
        PastSubject("node0", "cuda:0", MODEL, "1 threads, in turn"),
        PastSubject("node1", "cuda:0", MODEL, SETTING),
    ]
    append(tmp_path, [past_run(0, {FP32: [1.0, 1.0]}, places=other), past_run(1, {FP32: [2.0, 2.0]}, revision=2)])
    append(tmp_path, [past_run(2, {FP32: [3.0, 3.0]})])
    kinds = {"GPU-a": (MODEL, SETTING), "GPU-b": (MODEL, SETTING)}
    past = read_past(tmp_path, ["GPU-a", "GPU-b"], [FP32], kinds=kinds, revisions={"matmul": 1})
    np.testing.assert_array_equal(past.values[FP32], [[NAN, 1.0], [NAN, NAN], [3.0, 3.0]])
    assert not past.outcomes[FP32][1].any()


def test_a_run_does_not_see_itself_nor_its_future(tmp_path: Path) -> None:
    append(tmp_path, [past_run(night, {FP32: [1.0 + night, 1.0]}) for night in range(4)])
    past = read_past(tmp_path, ["GPU-a"], [FP32], before=at(2), without="run000")
    assert [run.run_id for run in past.runs] == ["run001"]


def test_subjects_that_are_seldom_tested_get_their_last_runs_too(tmp_path: Path) -> None:
    for night in range(12):
        append(
            tmp_path, [past_run(night, {FP32: [1.0, NAN] if night % 4 else [1.0, 2.0]}, subjects=("GPU-a", "GPU-b"))]
        )
    rare = [past_run(20 + i, {FP32: [5.0]}, subjects=("GPU-rare",)) for i in range(3)]
    append(tmp_path, rare)
    past = read_past(tmp_path, ["GPU-a", "GPU-rare"], [FP32], last=2)
    assert [run.run_id for run in past.runs] == ["run010", "run011", "run021", "run022"]
    assert np.isfinite(past.values[FP32]).sum(axis=0).tolist() == [2, 2]


def test_a_full_segment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "MAX_CELLS", 8)
    for night in range(7):
        append(tmp_path, [past_run(night, {FP32: [float(night), 1.0]})])
    assert len(list(tmp_path.glob("*.h5"))) == 2
    first = (tmp_path / "000001.h5").stat().st_ino
    append(tmp_path, [past_run(8, {FP32: [8.0, 1.0]})])
    assert (tmp_path / "000001.h5").stat().st_ino == first
    track = read_track(tmp_path, "GPU-a")
    assert track is not None
    assert track.values.ravel().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]


def test_the_track_of_a_gpu_follows_it_through_a_swap(tmp_path: Path) -> None:
    swapped = [
        PastSubject("node1", "cuda:0", MODEL, SETTING, "s-a"),
        PastSubject("node0", "cuda:3", MODEL, SETTING, "s-b"),
    ]
    append(tmp_path, [past_run(0, {FP32: [1.0, 2.0]}), past_run(1, {TRIAD: [3.0, 4.0]}, places=swapped)])
    track = read_track(tmp_path, "GPU-a")
    assert track is not None
    assert [str(place) for place in track.places] == ["node0 cuda:0", "node1 cuda:0"]
    assert track.keys == (FP32, TRIAD)
    np.testing.assert_array_equal(track.values, [[1.0, NAN], [NAN, 3.0]])
    where = read_whereabouts(tmp_path)
    assert [str(where.places[i]) for i in where.place[:, where.subjects.index("GPU-b")]] == [
        "node1 cuda:0",
        "node0 cuda:3",
    ]


def test_pruning_forgets_old_runs_and_who_was_only_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "MAX_RUNS", 2)
    append(tmp_path, [past_run(0, {TRIAD: [1.0]}, subjects=("GPU-gone",))])
    append(tmp_path, [past_run(night, {FP32: [float(night), 1.0]}) for night in (1, 2, 3)])
    append(
        tmp_path,
        [past_run(-9, {FP32: [0.5]}, subjects=("GPU-gone",)), past_run(-8, {FP32: [0.5]}, subjects=("GPU-x",))],
    )
    prune(tmp_path, at(1))
    assert names(tmp_path) == ["run001", "run002", "run003"]
    assert read_whereabouts(tmp_path).subjects == ("GPU-a", "GPU-b")
    assert read_past(tmp_path, ["GPU-a"], [FP32]).values[FP32].ravel().tolist() == [1.0, 2.0, 3.0]


def test_nobody_else_writes_meanwhile_and_the_owner_is_named(tmp_path: Path) -> None:
    # Another open file of the same process is another owner for the kernel.
    with locked(tmp_path / ".lock", "a test"), pytest.raises(RunError, match=r"process \d+.* for .*: a test"):
        locked(tmp_path / ".lock", "the other", wait_s=0.0).__enter__()
    with locked(tmp_path / ".lock", "free again", wait_s=0.0):
        pass


@pytest.mark.parametrize("harm", ["truncated", "flipped", "foreign", "newer"])
def test_a_damaged_segment_is_named_and_never_read_as_numbers(tmp_path: Path, harm: str) -> None:
    append(tmp_path, [past_run(night, {FP32: [1.5 + night, 2.5]}) for night in range(3)])
    file = tmp_path / "000001.h5"
    raw = file.read_bytes()
    if harm == "truncated":
        file.write_bytes(raw[: len(raw) // 2])
    elif harm == "flipped":
        with h5py.File(file) as h5:
            begin = h5["values"].id.get_chunk_info(0).byte_offset
        file.write_bytes(raw[: begin + 3] + bytes([raw[begin + 3] ^ 0x10]) + raw[begin + 4 :])
    else:
        with h5py.File(file, "a") as h5:
            h5.attrs.update({"format": "other"} if harm == "foreign" else {"version": VERSION + 1})
    with pytest.raises(StoreError, match=r"000001\.h5"):
        read_past(tmp_path, ["GPU-a"], [FP32])


def test_numbers_too_large_for_a_column_stay_finite(tmp_path: Path) -> None:
    append(tmp_path, [past_run(0, {FP32: [1.7e308, 1e-300]})])
    assert np.isfinite(read_past(tmp_path, ["GPU-a", "GPU-b"], [FP32]).values[FP32]).all()


cells = st.one_of(st.just(NAN), st.floats(0.5, 2.0**50, width=32))


@settings(max_examples=12)
@given(
    nights=st.lists(
        st.tuples(st.integers(0, 9), st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), st.data()),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_what_went_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, nights: list[tuple[int, list[str], st.DataObject]]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    expected: dict[tuple[str, str, str], float] = {}
    for night, subjects, data in nights:
        keys = data.draw(st.lists(st.sampled_from([FP32, TRIAD, "stream.copy_bytes"]), unique=True))
        values = {key: data.draw(st.lists(cells, min_size=len(subjects), max_size=len(subjects))) for key in keys}
        run = past_run(night, values, subjects=subjects)
        append(folder, [run])
        expected = {cell: value for cell, value in expected.items() if cell[0] != run.run.run_id}
        for key in keys:
            expected |= {(run.run.run_id, key, u): v for u, v in zip(subjects, values[key], strict=True) if v == v}
    past = read_past(folder, "abcdef", [FP32, TRIAD, "stream.copy_bytes"])
    found = {
        (run.run_id, key, subject): values[row, column]
        for key, values in past.values.items()
        for row, run in enumerate(past.runs)
        for column, subject in enumerate(past.subjects)
        if np.isfinite(values[row, column])
    }
    assert found == expected
    for subject in "abcdef":
        track = read_track(folder, subject)
        mine = {} if track is None else {
            (kept.run.run_id, key, subject): track.values[row, i]
            for row, kept in enumerate(track.runs)
            for i, key in enumerate(track.keys)
            if np.isfinite(track.values[row, i])
        }  # fmt: skip
        assert mine == {cell: value for cell, value in expected.items() if cell[2] == subject}


_WRITER = """
import sys
from pathlib import Path
from support.pasts import FP32, past_run
from hpcaccept.store import history_file

folder, first = Path(sys.argv[1]), int(sys.argv[2])
history_file.MAX_RUNS = 5
subjects = tuple(f"GPU-{i}" for i in range(200))
for night in range(first, 10_000):
    history_file.append(folder, [past_run(night, {FP32: [float(night)] * 200}, subjects=subjects)])
    print(night, flush=True)
"""


def test_a_writer_that_is_killed_loses_at_most_the_run_it_was_remembering(tmp_path: Path) -> None:
    dice = random.Random(4)
    done = -1
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(("tests", *sys.path))}
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(done + 1)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert writer.stdout is not None
        for _ in range(dice.randint(2, 6)):
            done = int(writer.stdout.readline())
        time.sleep(dice.uniform(0, 0.02))  # somewhere inside the next append
        writer.send_signal(signal.SIGKILL)
        done = max([done, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stdout.close()
        found = names(tmp_path)
        assert found in ([f"run{i:03d}" for i in range(done + n)] for n in (1, 2)), "all but the one in work"
        past = read_past(tmp_path, ["GPU-0", "GPU-199"], [FP32], last=1000)
        assert past.values[FP32].tolist() == [[float(i)] * 2 for i in range(len(found))]
    append(tmp_path, [past_run(5000, {FP32: [1.0, 1.0]})])
    assert not list(tmp_path.glob(".*.h5.*")), "what killed writers left is swept"


def test_subjects_twice_in_a_run_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        replace(past_run(0, {FP32: [1.0, 2.0]}), subjects=("GPU-a", "GPU-a"))


# --- excerpts ---------------------------------------------------------------------------------------------------------


def test_an_excerpt_gives_the_past_that_the_history_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds of measuring in turn, a subject that has failed for long, one that was accepted, and several segments."""
    monkeypatch.setattr(history_file, "MAX_RUNS", 10)
    whole, excerpt = tmp_path / "whole", tmp_path / "excerpt"
    subjects = ("GPU-a", "GPU-b", "GPU-c")
    kinds = [
        [PastSubject(f"node{i}", "cuda:0", MODEL, setting) for i in range(3)] for setting in (SETTING, "one thread")
    ]
    runs = []
    for night in range(30):
        fails = night > 8
        outcome = {(FP32, "GPU-b"): FAILED} if fails else PASSED
        standing = [PASSED, FAILED if fails else PASSED, PASSED]
        values = {FP32: [1.0 + night, 2.0 + night, 3.0 + night], TRIAD: [5.0] * 3}
        places = kinds[night % 2]
        runs.append(past_run(night, values, subjects=subjects, places=places, outcome=outcome, standing=standing))
    append(whole, runs)
    accept(whole, [Acceptance("GPU-c", at(25), at(29))])
    write_excerpt(whole, excerpt, {"matmul.rate_flops"}, 4, before=at(28))
    for places in kinds:
        of = {name: place.kind for name, place in zip(subjects, places, strict=True)}
        pasts = [read_past(folder, subjects, [FP32], 4, kinds=of, before=at(28)) for folder in (whole, excerpt)]
        assert pasts[0].runs == pasts[1].runs
        np.testing.assert_array_equal(pasts[0].values[FP32], pasts[1].values[FP32])
        np.testing.assert_array_equal(pasts[0].outcomes[FP32], pasts[1].outcomes[FP32])
    assert len(read_runs(excerpt)) < len(read_runs(whole))
    assert read_accepted(excerpt) == read_accepted(whole)


def test_in_how_many_launches_a_value_was_measured_is_remembered(tmp_path: Path) -> None:
    append(tmp_path, [replace(past_run(0, {FP32: [1.0, 2.0]}), launches=np.array([[3, 1]], np.uint8))])
    append(tmp_path, [past_run(1, {FP32: [1.0, 2.0]})])
    assert read_past(tmp_path, ["GPU-b", "GPU-a"], [FP32]).launches[FP32].tolist() == [[1, 3], [0, 0]]
