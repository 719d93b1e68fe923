from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.matrix_place import ToldPlace, write_matrix

from hpcaccept.app.matrix import client, session
from hpcaccept.cli import main


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ToldPlace:
    told = ToldPlace()
    monkeypatch.setattr(session, "Here", lambda: told)
    monkeypatch.chdir(tmp_path)
    for name in ("LOOK_S", "ASK_S", "SETTLE_S"):
        monkeypatch.setattr(client, name, 0.0)
    return told


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main(["matrix", "plan", "m.toml", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_plan_says_count_hours_cost_and_what_stays_uncovered_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: ToldPlace
) -> None:
    write_matrix(tmp_path, 3, 2, usd=2.0)  # an hour each, at most
    plan = planned(capsys)
    assert (plan["cells"], len(plan["chosen"]), plan["most_hours"], plan["most_usd"]) == (6, 6, 6.0, 12.0)
    assert plan["uncovered"] == []
    plan = planned(capsys, "--cover")
    assert (len(plan["chosen"]), len(plan["uncovered"]), plan["nights"]) == (3, 3, 2)
    assert main(["matrix", "plan", "m.toml", "--machine", "m1"]) == 0
    assert "3 images × 2 machines = 6 cells, 0 impossible, 3 chosen (full)" in capsys.readouterr().out
    assert place.started == []
    assert not (tmp_path / "matrix-runs").exists()


def test_after_a_run_hours_are_expected_as_last_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_matrix(tmp_path, 2, 2, usd=2.0)
    assert main(["matrix", "run", "m.toml", "--machine", "m0"]) == 0
    plan = planned(capsys)
    assert plan["expected_hours"] == pytest.approx(2 * 0.01 + 2 * 1.0)
    assert plan["uncovered"] == []
    assert planned(capsys, "--image", "i0", "--machine", "m0")["uncovered"] == ["i0@m1", "i1@m1"]


def test_pairs_of_further_factors_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("covertable")
    file = write_matrix(tmp_path, 2, 2)
    file.write_text(file.read_text() + '[factors]\npython = ["3.11", "3.12"]\n')
    assert len(planned(capsys, "--pairs")["chosen"]) < 8
    assert main(["matrix", "plan", "m.toml", "--pairs"]) == 0
    assert "pairs of values that can be: 12; this run covers 12" in capsys.readouterr().out


def test_exit_codes_are_those_of_the_cells(
    tmp_path: Path, place: ToldPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    write_matrix(tmp_path)
    place.ends = {"i0@m0": ["FAIL", "FAIL"]}
    assert main(["matrix", "run", "m.toml"]) == 1
    assert main(["matrix", "status", "m.toml"]) == 1
    assert main(["matrix", "run", "m.toml", "--again", "failed"]) == 0
    assert main(["matrix", "report", "m.toml", "--format", "junit", "--output", "j.xml"]) == 0
    assert "<testsuites" in (tmp_path / "j.xml").read_text()
    assert main(["matrix", "diff", "m.toml"]) == 2
    assert main(["matrix", "run", "m.toml", "--new"]) == 0
    assert main(["matrix", "diff", "m.toml"]) == 0
    assert main(["matrix", "cancel", "m.toml"]) == 0
    assert main(["matrix", "plan", "none.toml"]) == 2
    assert "docs/how-to/matrix.md has an example" in capsys.readouterr().err


def test_the_reports_lie_beside_the_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_matrix(tmp_path)
    main(["matrix", "run", "m.toml"])
    said = capsys.readouterr().err
    assert (Path(said.rpartition("report: ")[2].strip())).name == "report.html"
