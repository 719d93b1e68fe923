"""The exit code that is printed is the one that there is, also where a run cannot be kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import conclude
from hpcaccept.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder

GOOD = (7.9e14, 7.91e14, 7.89e14, 7.92e14)
#: One node of four at half the rate of the others.
SLOW = (7.9e14, 7.91e14, 3.9e14, 7.92e14)


def concluded(folder: RunFolder, place: Path, history: Path, form: str = "table") -> tuple[int, str]:
    """Exit code, and what was said of the error."""
    try:
        return conclude(folder, place / "baselines", form, history=history), ""
    except RunError as fault:
        return fault.exit_code, str(fault)


def test_a_run_that_is_kept_ends_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, error = concluded(gpu_run(tmp_path, rates=GOOD), tmp_path, tmp_path / "history")
    assert (code, error) == (0, "")
    assert "Exit code 0." in capsys.readouterr().out


@pytest.mark.parametrize(("rates", "code"), [(GOOD, 3), (SLOW, 1)])
def test_a_history_that_takes_no_writing_is_in_the_exit_code_and_a_fail_stays_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rates: tuple[float, ...], code: int
) -> None:
    folder, history = gpu_run(tmp_path, rates=rates), tmp_path / "history"
    (history / ".lock").mkdir(parents=True)
    found, error = concluded(folder, tmp_path, history)
    out = capsys.readouterr().out
    assert found == code
    assert "Cannot remember run1" in error
    assert f"Exit code {code}." in out
    assert json.loads(folder.report_file.read_text())["exit_code"] == code
    if code == 3:
        assert "NOT JUDGED" in out
        assert "could not be kept: Cannot remember run1" in " ".join(out.split())


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "history" / ".lock").mkdir(parents=True)
    code, _ = concluded(gpu_run(tmp_path, rates=GOOD), tmp_path, tmp_path / "history", "json")
    assert json.loads(capsys.readouterr().out)["exit_code"] == code == 3
