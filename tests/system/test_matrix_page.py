"""The grid of a matrix in a real Chromium: wide and narrow, light and dark, it can be read, followed to a cell, and asks nobody for anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.browser_fixtures import FAINT
from support.matrix_place import ToldPlace, write_matrix

from hpcaccept.app.matrix import client, page, session
from hpcaccept.app.matrix.session import Wish, run_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.browser_fixtures import Browser

#: A document that is wider than its window.
TOO_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
HOSTILE = "<img src=x onerror=alert(1)> " + "no-blank-anywhere" * 20


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of a run with every verdict and a log that would like to act."""
    place = ToldPlace({"i0@m1": ["FAIL", "FAIL"], "i1@m0": ["FAIL", "PASS"], "i1@m1": ["silent"], "i2@m0": ["refused"]})
    monkeypatch.setattr(session, "Here", lambda: place)
    for name in ("LOOK_S", "ASK_S", "SETTLE_S"):
        monkeypatch.setattr(client, name, 0.0)
    matrix = write_matrix(tmp_path, 3, 9)
    matrix.write_text(matrix.read_text() + '[[impossible]]\nwhy = "no licence"\nimage = "i2"\nmachine = "m1"\n')
    state = run_matrix(Wish(matrix, tmp_path / "runs"), lambda _: None)
    bad = next(each for each in state.cells if each.outcome == "FAIL")
    folder = tmp_path / "runs" / "m" / state.run
    (folder / "cells" / bad.cell.id / "2" / "test-t.log").write_text(HOSTILE)
    cells = tuple(replace(each, reason=HOSTILE) if each is bad else each for each in state.cells)
    made = tmp_path / "report.html"
    made.write_text(page.render(replace(state, cells=cells), folder), "utf-8")
    return made


@pytest.fixture
def browser(chromium: Browser, file: Path) -> Iterator[Browser]:
    chromium.open(file)
    yield chromium
    assert chromium.complaints() == []
    look(chromium)


def look(browser: Browser, width: int = 1280, scheme: str = "light") -> None:
    browser.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.command("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window_and_every_word_can_be_read(browser: Browser, width: int, scheme: str) -> None:
    look(browser, width, scheme)
    assert browser.run(TOO_WIDE) <= 0
    assert browser.run(FAINT) == []
    if scheme == ("light" if width == 1280 else "dark"):
        assert browser.barriers() == []
    wide: Any = browser.run("const r = document.querySelector('#grid .wide'); return [r.scrollWidth, r.clientWidth]")
    assert (wide[0] > wide[1]) == (width == 390), "nine machines scroll on a telephone, within the grid"


def test_a_square_of_the_grid_leads_to_its_cell_and_nothing_of_a_log_acts(browser: Browser, file: Path) -> None:
    look(browser)
    assert browser.asked_for() == {file.as_uri()}
    browser.run("document.querySelector('#grid a .badge.FAIL').closest('a').click()")
    assert browser.run("return location.hash") == "#c-i0@m1"
    assert browser.run("return document.getElementById(location.hash.slice(1)).querySelector('h3').textContent") == "FAIL i0@m1"  # fmt: skip
    assert browser.run("return document.images.length") == 0
    text = browser.run("return document.querySelector('#c-i0\\\\@m1 pre').textContent")
    assert text.startswith("<img src=x")
