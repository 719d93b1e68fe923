from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.matrix_place import ToldPlace, write_matrix

from hpcaccept.app.matrix import client, session
from hpcaccept.app.matrix.folder import runs_of
from hpcaccept.app.matrix.session import Wish, run_matrix
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.matrix.state import State


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> ToldPlace:
    told = ToldPlace()
    monkeypatch.setattr(session, "Here", lambda: told)
    for name in ("LOOK_S", "ASK_S", "SETTLE_S"):
        monkeypatch.setattr(client, name, 0.0)
    return told


def run(folder: Path, **wish: Any) -> State:
    return run_matrix(Wish(folder / "m.toml", folder / "runs", **wish), lambda _: None)


def outcomes(state: State) -> dict[str, str]:
    return {each.cell.id: each.outcome for each in state.cells}


def test_every_cell_is_run_once_and_a_second_call_runs_none(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path)
    assert run(tmp_path).exit_code == 0
    assert sorted(place.started) == ["i0@m0", "i0@m1", "i1@m0", "i1@m1"]
    assert run(tmp_path).exit_code == 0
    assert len(place.started) == 4


def test_a_cell_that_failed_is_tried_again_and_one_that_then_passes_is_flaky(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path)
    place.ends = {"i0@m0": ["FAIL", "PASS"], "i1@m1": ["FAIL", "FAIL", "PASS"]}
    state = run(tmp_path)
    assert outcomes(state) == {"i0@m0": "WARN", "i0@m1": "PASS", "i1@m0": "PASS", "i1@m1": "FAIL"}
    assert state.exit_code == 1
    assert [each.cell.id for each in state.cells if each.flaky] == ["i0@m0"]
    # Asked for again, what failed is run, and only that.
    place.started.clear()
    assert outcomes(run(tmp_path, again="failed"))["i1@m1"] == "PASS"
    assert place.started == ["i1@m1"]


def test_an_error_is_not_tried_again_unasked(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path, 1, 1)
    place.ends = {"i0@m0": ["silent"]}
    state = run(tmp_path)
    assert outcomes(state) == {"i0@m0": "ERROR"}
    assert state.cells[0].reason == "t: n0 failed (NODE_FAIL)"
    assert run(tmp_path).exit_code == 3
    assert run(tmp_path, again="errors").exit_code == 0


def test_a_machine_that_is_down_leaves_its_cells_not_run_until_it_is_back(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path)
    place.down = ("m1",)
    state = run(tmp_path)
    assert outcomes(state) == {"i0@m0": "PASS", "i0@m1": "NOT_RUN", "i1@m0": "PASS", "i1@m1": "NOT_RUN"}
    assert {e.reason for e in state.cells if e.outcome == "NOT_RUN"} == {"no machine: it is down"}
    assert state.exit_code == 3
    place.down = ()
    assert run(tmp_path).exit_code == 0
    assert sorted(place.started) == ["i0@m0", "i0@m1", "i1@m0", "i1@m1"]


@pytest.mark.parametrize("how", ["pending", "stuck"])
def test_a_job_that_cannot_begin_is_taken_back(tmp_path: Path, place: ToldPlace, how: str) -> None:
    write_matrix(tmp_path, 1, 1, "queue_timeout_s = 0.05")
    place.ends = {"i0@m0": [how]}
    state = run(tmp_path)
    assert outcomes(state) == {"i0@m0": "NOT_RUN"}
    assert place.cancelled == ["1"]
    assert ("it had not begun after 0.05 s" if how == "pending" else "cannot begin") in state.cells[0].reason
    # The attempt that never began has had its number: its folder is nobody else's.
    assert outcomes(run(tmp_path)) == {"i0@m0": "PASS"}
    assert runs_of(tmp_path / "runs", "m")[0].past().attempts["i0@m0"][0].number == 2


def test_a_job_that_is_refused_says_why(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path, 1, 1)
    place.ends = {"i0@m0": ["refused"]}
    assert run(tmp_path).cells[0].reason == "Slurm refused the job: invalid account"


def test_the_caps_on_cells_and_money_hold_and_more_money_runs_the_rest(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path, 3, 1, usd=2.0)  # at most 2 USD each, by its own word 0.02
    assert list(outcomes(run(tmp_path, max_cells=1)).values()).count("PASS") == 1
    state = run(tmp_path, max_usd=1.0)
    assert list(outcomes(state).values()).count("PASS") == 1
    assert "it may cost 2.00 USD, and 0.02 of 1 USD are spent (--max-usd)" in {e.reason for e in state.cells}
    state = run(tmp_path, max_usd=2.05)
    assert state.exit_code == 0, "one after the other, since what was set aside came back"
    assert state.past.usd == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("more", "most"), [("", 4), ("gpus = 1\n", 1), ("gpus = 1\nparallel = 3\n", 3), ("parallel = 2\n", 2)]
)
def test_cells_of_one_machine_share_it_as_the_file_says(tmp_path: Path, place: ToldPlace, more: str, most: int) -> None:
    file = write_matrix(tmp_path, 6, 1, "parallel = 4\nqueue_timeout_s = 0.05")
    file.write_text(file.read_text().replace("[machines.m0]\n", f"[machines.m0]\n{more}"))
    place.ends = {f"i{n}@m0": ["pending"] for n in range(6)}
    run(tmp_path)
    assert place.at_once == most


def test_subsets_run_a_part_and_the_rest_later(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path)
    run(tmp_path, how="full")
    place.started.clear()
    run(tmp_path, new=True, images=("i0",))
    assert place.started == ["i0@m0", "i0@m1"]
    with pytest.raises(UsageError, match=r"--image 'torch' matches none"):
        run(tmp_path, images=("torch",))


def test_a_file_that_was_changed_needs_a_new_run(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path)
    run(tmp_path)
    write_matrix(tmp_path, 3)
    with pytest.raises(UsageError, match="is not what it was when run"):
        run(tmp_path)
    assert len(run(tmp_path, new=True).cells) == 6


def test_covering_runs_have_each_image_and_machine_and_within_the_nights_every_cell(
    tmp_path: Path, place: ToldPlace
) -> None:
    write_matrix(tmp_path, 3, 3, "nights = 4")
    for _ in range(4):
        place.started.clear()
        assert run(tmp_path, how="cover", new=True).exit_code == 0
        assert len(place.started) < 5
        assert {cell.partition("@")[0] for cell in place.started} == {"i0", "i1", "i2"}
        assert {cell.partition("@")[2] for cell in place.started} == {"m0", "m1", "m2"}
    ran = {cell for each in runs_of(tmp_path / "runs", "m") for cell in each.past().attempts}
    assert len(ran) == 9


def test_another_client_is_waited_for_and_named(tmp_path: Path, place: ToldPlace) -> None:
    from hpcaccept.errors import RunError
    from hpcaccept.store.one_writer import locked

    write_matrix(tmp_path)
    run(tmp_path)
    (there,) = runs_of(tmp_path / "runs", "m")
    with locked(there.path / "lock", "tests"), pytest.raises(RunError, match="is locked by"):
        run(tmp_path)
