"""A run of a matrix in a browser: a grid of images and machines whose cells lead to what was tried, in a page that loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import report
from hpcaccept.app.matrix.views import conclusion, rows_of, seconds_text, telling
from hpcaccept.bounded import end_of
from hpcaccept.model.matrix.attempt import OUTCOMES, CellOutcome
from hpcaccept.report.page.document import document
from hpcaccept.report.page.markup import Markup, joined, tag

if TYPE_CHECKING:
    from hpcaccept.app.matrix.state import CellState, State
    from hpcaccept.model.matrix.attempt import Attempt

_STYLE = Path(report.__file__).parent / "page" / "page.css"
#: Beside the acceptance report's own style.
_GRID = """
.tiles.small { grid-template-columns: repeat(auto-fit, minmax(5.5rem, 1fr)); gap: .6rem 1rem; max-width: 44rem; }
.grid { width: auto; min-width: 100%; }
.grid th, .grid td { padding: .45rem .9rem .45rem 0; white-space: nowrap; }
.grid tbody th { font-weight: 650; position: sticky; left: 0; background: var(--ground); min-width: 7rem; max-width: 14rem; white-space: normal; }
.grid td a { text-decoration: none; }
.grid td a:hover { text-decoration: underline; }
.grid td .quiet { display: block; font-size: .74rem; }
.badge.IMPOSSIBLE { --hue: var(--quiet); font-weight: 400; } .badge.IMPOSSIBLE::before { content: "⊘"; }
.cell { padding: .7rem 0 .9rem; } .cell + .cell { border-top: 1px solid var(--line); }
.cell h3 { font-size: 1rem; }
.cell pre { overflow-x: auto; max-height: 22rem; background: var(--panel); padding: .6rem .8rem; font: .8rem/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
.tests { width: auto; } .tests td { padding-right: 1.2rem; } .tests td:last-child { min-width: 12rem; }
@media (max-width: 40rem) { .grid th, .grid td { padding-right: .6rem; } .about, .todo > li { grid-template-columns: 1fr; } }
"""
_STATES = {0: "PASS", 1: "FAIL", 3: "ERROR"}
_LABEL: dict[CellOutcome, str] = {"WARN": "FLAKY", "NOT_RUN": "NOT RUN", "IMPOSSIBLE": "impossible"}
_ORDER: tuple[CellOutcome, ...] = ("FAIL", "ERROR", "WARN", "NOT_RUN", "PASS", "IMPOSSIBLE")
#: Bytes of each log's end on the page.
_LOG_BYTES = 4096
_MEANINGS = (
    ("PASS", "Every test of the cell passed in the last attempt."),
    ("FLAKY", "A test failed, and passed when the cell was tried again."),
    ("FAIL", "A test failed in every attempt: import, version, exit status, output, notebook or suite."),
    ("ERROR", "The cell could not be tried: container, module, time limit of the job, a job that ended from outside."),
    ("NOT RUN", "No machine, a cap, or not chosen for this run."),
    ("impossible", "Excluded by a rule: CUDA against driver, architecture, memory, or somebody's knowledge."),
)


def render(state: State, folder: Path) -> str:
    """The page, whole.

    Args:
        state: of the run.
        folder: of it, where the logs are.
    """
    style = _STYLE.read_text("utf-8") + _GRID
    word, sentence = conclusion(state)
    # The worst first: a page of hundreds of cells is read from the top.
    tried = sorted((each for each in state.cells if each.attempts), key=lambda each: _ORDER.index(each.outcome))
    body = [
        _head(state),
        tag(
            "main", _verdict(state, word, sentence), _grid(state), _reasons(state), _cells(tried, folder), _about(state)
        ),
    ]
    return document(f"{word}: {state.matrix.name}", style, body)


def _head(state: State) -> Markup:
    usd = f" · {state.past.usd:.2f} USD" if state.past.usd else ""
    facts = f"run {state.run} · {state.past.began_at[:16].replace('T', ' ')} UTC · {state.past.begun.choice}{usd}"
    return tag(
        "header",
        tag("p", "hpcaccept · images × machines", class_="eyebrow"),
        tag("h1", state.matrix.name),
        tag("p", facts, class_="facts"),
        class_="page",
    )


def _verdict(state: State, word: str, sentence: str) -> Markup:
    tiles = [
        tag("div", tag("dt", _LABEL.get(outcome, outcome)), tag("dd", tag("span", str(count), class_="figure")))
        for outcome in OUTCOMES
        if (count := state.count(outcome))
    ]
    flaky = [each.cell.id for each in state.chosen if each.flaky]
    notes = [tag("p", f"Flaky: {', '.join(flaky)}", class_="note")] if flaky else []
    return tag(
        "section",
        tag("h2", word, id="verdict-title"),
        tag("p", sentence, class_="sentence"),
        tag("dl", joined(tiles), class_="tiles small"),
        *notes,
        id="verdict",
        class_=f"verdict {_STATES[state.exit_code]}",
        aria_labelledby="verdict-title",
    )


def _badge(outcome: CellOutcome, text: str = "") -> Markup:
    return tag("span", text or _LABEL.get(outcome, outcome), class_=f"badge {outcome}")


def _grid(state: State) -> Markup:
    rows, columns, cells = rows_of(state)
    header = tag("tr", tag("th", "Image", scope="col"), *(tag("th", column, scope="col") for column in columns))
    body = [
        tag("tr", tag("th", row, scope="row"), *(tag("td", _square(cells[row, column])) for column in columns))
        for row in rows
    ]
    table = tag("table", tag("thead", header), tag("tbody", joined(body)), class_="grid")
    return tag(
        "section",
        tag("h2", "Grid", id="grid-title"),
        # What scrolls can be reached by keyboard.
        tag("div", table, class_="wide", tabindex="0", role="region", aria_labelledby="grid-title"),
        id="grid",
        aria_labelledby="grid-title",
    )


def _square(each: CellState) -> Markup:
    if not each.chosen and each.outcome != "IMPOSSIBLE":
        return tag("span", "not chosen", class_="quiet")
    badge = _badge(each.outcome, "running" if each.running else "")
    took = sum(a.seconds for a in each.attempts)
    words = seconds_text(took) if took else ""
    link = tag("a", badge, href=f"#c-{each.cell.id}") if each.attempts else badge
    return joined([link, tag("span", words, class_="quiet")] if words else [link])


def _reasons(state: State) -> Markup:
    """Cells that were not tried, and why; those of one reason together."""
    by_reason: dict[tuple[CellOutcome, str], list[str]] = {}
    for each in state.cells:
        if not each.attempts and (each.chosen or each.outcome == "IMPOSSIBLE"):
            by_reason.setdefault((each.outcome, each.reason), []).append(each.cell.id)
    if not by_reason:
        return Markup("")
    items = [
        tag("li", _badge(outcome), tag("div", tag("p", reason), tag("p", ", ".join(ids), class_="quiet")))
        for (outcome, reason), ids in by_reason.items()
    ]
    return tag(
        "section",
        tag("h2", "Not tried", id="not-title"),
        tag("ul", joined(items), class_="todo"),
        aria_labelledby="not-title",
    )


def _cells(tried: list[CellState], folder: Path) -> Markup:
    if not tried:
        return Markup("")
    return tag(
        "section",
        tag("h2", "Cells", id="cells-title"),
        *(_one(each, folder) for each in tried),
        aria_labelledby="cells-title",
    )


def _one(each: CellState, folder: Path) -> Markup:
    last = telling(each)
    place = folder / "cells" / each.cell.id / str(last.number)
    parts = [
        tag("h3", _badge(each.outcome), " ", each.cell.id),
        *([tag("p", each.reason)] if each.reason else []),
        _tests(last),
        *_logs(last, place),
        _facts(each, last),
    ]
    return tag("section", joined(parts), class_="cell", id=f"c-{each.cell.id}")


def _tests(last: Attempt) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", _badge(t.outcome)),
            tag("td", t.test),
            tag("td", seconds_text(t.seconds)),
            tag("td", t.reason),
        )
        for t in last.tests
    ]
    return tag("div", tag("table", tag("tbody", joined(rows)), class_="tests"), class_="wide")


def _logs(last: Attempt, place: Path) -> list[Markup]:
    found = []
    for test in last.tests:
        text = end_of(place / test.log, _LOG_BYTES) if test.log else ""
        if text.strip():
            lines = joined(joined([line, Markup("\n")]) for line in text.splitlines())
            summary = f"{test.test}: end of {place.name}/{test.log}"
            found.append(
                tag("details", tag("summary", summary), tag("pre", lines), open=test.outcome in ("FAIL", "ERROR"))
            )
    return found


def _facts(each: CellState, last: Attempt) -> Markup:
    tries = [f"attempt {a.number}: {a.outcome} in {seconds_text(a.seconds)}" for a in each.attempts]
    pairs = {"attempts": "; ".join(tries), "folder": f"cells/{each.cell.id}/{last.number}", **last.facts}
    items = [joined((tag("dt", name), tag("dd", value))) for name, value in pairs.items()]
    return tag("details", tag("summary", "Image, driver, machine"), tag("dl", joined(items), class_="about"))


def _about(state: State) -> Markup:
    items = [joined((tag("dt", word), tag("dd", text))) for word, text in _MEANINGS]
    begun = state.past.begun
    facts = f"hpcaccept {begun.version}{f' ({begun.commit})' if begun.commit else ''}; matrix {begun.digest[:19]}…"
    content = f"; content at commit {begun.content[:12]}" if begun.content else ""
    return tag(
        "section",
        tag("h2", "What this says", id="about-title"),
        tag("dl", joined(items), class_="about"),
        tag("p", f"{facts}{content}", class_="quiet"),
        id="about",
        aria_labelledby="about-title",
    )
