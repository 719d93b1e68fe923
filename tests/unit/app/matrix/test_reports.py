from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.matrix_place import ToldPlace, write_matrix

from hpcaccept.app.matrix import client, page, session, views
from hpcaccept.app.matrix.diff import changes_of
from hpcaccept.app.matrix.report import write_reports
from hpcaccept.app.matrix.session import Wish, run_matrix

if TYPE_CHECKING:
    from hpcaccept.app.matrix.state import State

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "docs/reference/matrix.schema.json").read_text("utf-8"))
HOSTILE = "<script>alert(1)</script>\x1b[2J|*]]>\ufffe"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> ToldPlace:
    told = ToldPlace()
    monkeypatch.setattr(session, "Here", lambda: told)
    for name in ("LOOK_S", "ASK_S", "SETTLE_S"):
        monkeypatch.setattr(client, name, 0.0)
    return told


def run(folder: Path, **wish: Any) -> State:
    return run_matrix(Wish(folder / "m.toml", folder / "runs", **wish), lambda _: None)


@pytest.fixture
def mixed(tmp_path: Path, place: ToldPlace) -> State:
    """One cell of each verdict."""
    more = '[[impossible]]\nwhy = "no licence"\nimage = "i2"\nmachine = "m1"\n'
    write_matrix(tmp_path, 3, 2, "")
    file = tmp_path / "m.toml"
    file.write_text(file.read_text() + more)
    place.ends = {"i0@m1": ["FAIL", "FAIL"], "i1@m0": ["FAIL", "PASS"], "i1@m1": ["silent"], "i2@m0": ["refused"]}
    return run(tmp_path)


def test_the_json_fits_its_schema_and_counts_every_cell_once(mixed: State) -> None:
    plain = json.loads(views.as_json(mixed))
    jsonschema.validate(plain, SCHEMA)
    assert plain["counts"] == {"PASS": 1, "WARN": 1, "FAIL": 1, "ERROR": 1, "NOT_RUN": 1, "IMPOSSIBLE": 1}
    assert plain["exit_code"] == 1
    assert [c["id"] for c in plain["cells"] if c["flaky"]] == ["i1@m0"]


def test_junit_has_a_case_for_each_cell_and_one_for_the_whole(mixed: State) -> None:
    root = ET.fromstring(views.as_junit(mixed))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "7", "failures": "2", "errors": "1", "skipped": "2",
    }  # fmt: skip
    whole = root.find("testsuite[@name='matrix']/testcase/failure")
    assert whole is not None
    assert whole.get("type") == "NOT ALL CELLS PASS"


def test_the_terminal_and_markdown_name_what_is_wrong_with_its_log(mixed: State) -> None:
    for text in ("\n".join(views.lines(mixed)), views.as_markdown(mixed)):
        assert "cells/i0@m1/2/test-t.log" in text
        assert "no licence" in text
        assert "flaky: failed in 1 of 2 attempts" in text
        assert "3 pass" not in text


def test_nothing_that_an_image_says_acts_anywhere(mixed: State, tmp_path: Path) -> None:
    tries = tuple(replace(a, reason=HOSTILE, facts={"image.x": HOSTILE}) for a in mixed.cells[1].attempts)
    cells = (mixed.cells[0], replace(mixed.cells[1], reason=HOSTILE, attempts=tries), *mixed.cells[2:])
    state = replace(mixed, cells=cells)
    (tmp_path / "runs" / "m" / state.run / "cells" / "i0@m1" / "2" / "test-t.log").write_text(HOSTILE)
    html = page.render(state, tmp_path / "runs" / "m" / state.run)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    ET.fromstring(views.as_junit(state))
    assert "<script" not in views.as_markdown(state)
    for text in (html, views.as_junit(state), views.as_markdown(state), "\n".join(views.lines(state))):
        assert "\x1b" not in text


def test_every_form_is_written_beside_the_journal(mixed: State, tmp_path: Path) -> None:
    file = write_reports(mixed, tmp_path / "runs")
    assert sorted(each.name for each in file.parent.iterdir() if each.name.startswith(("report", "junit"))) == [
        "junit.xml", "report.html", "report.json", "report.md",
    ]  # fmt: skip


def test_a_diff_names_what_broke_and_that_the_driver_changed(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path)
    place.ends = {"i0@m0": ["FAIL", "FAIL"]}
    run(tmp_path)
    place.facts["driver.version"] = "580.65"
    place.ends = {"i1@m1": ["FAIL", "FAIL"]}
    run(tmp_path, new=True)
    found = changes_of(tmp_path / "runs", "m")
    assert found.exit_code == 1
    ((broke,), (mended,)) = found.broke, found.mended
    assert (broke.cell, broke.before, broke.after, broke.parts) == ("i1@m1", "PASS", "FAIL", ("driver",))
    assert broke.facts == ("driver.version: 550.54 → 580.65",)
    assert mended.cell == "i0@m0"
    assert "What changed in the 1 that broke: driver in 1." in found.lines()


def test_a_cell_that_broke_while_nothing_changed_is_said_so(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path, 1, 1)
    run(tmp_path)
    place.ends = {"i0@m0": ["FAIL", "FAIL"]}
    run(tmp_path, new=True)
    found = changes_of(tmp_path / "runs", "m")
    assert found.broke[0].parts == ()
    assert any("nothing that was recorded changed" in line for line in found.lines())


def test_a_cell_is_compared_with_the_last_run_that_tried_it(tmp_path: Path, place: ToldPlace) -> None:
    write_matrix(tmp_path, 1, 2)
    run(tmp_path)
    run(tmp_path, new=True, machines=("m0",))
    place.ends = {"i0@m1": ["FAIL", "FAIL"]}
    run(tmp_path, new=True)
    found = changes_of(tmp_path / "runs", "m")
    assert [(each.cell, each.run != found.before) for each in found.broke] == [("i0@m1", True)]


def test_tests_that_were_changed_are_named(tmp_path: Path, place: ToldPlace) -> None:
    file = write_matrix(tmp_path, 1, 1)
    run(tmp_path)
    file.write_text(file.read_text().replace('["torch"]', '["torch", "numpy"]'))
    place.ends = {"i0@m0": ["FAIL", "FAIL"]}
    run(tmp_path, new=True)
    assert changes_of(tmp_path / "runs", "m").broke[0].parts == ("tests",)
