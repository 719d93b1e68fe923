"""A run of a matrix in a terminal, as JSON, as Markdown and as JUnit XML."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from hpcaccept.model.matrix.attempt import OUTCOMES, Attempt, CellOutcome
from hpcaccept.report.junit_parts import sum_up, xml_text
from hpcaccept.report.printable import safe
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from hpcaccept.app.matrix.state import CellState, State

FORM = "hpcaccept-matrix-1"
#: Verdicts that are explained, the worst first.
_EXPLAINED: tuple[CellOutcome, ...] = ("FAIL", "ERROR", "WARN", "NOT_RUN")
#: Short signs of a terminal's grid.
_SIGN: dict[CellOutcome, str] = {
    "PASS": "PASS", "WARN": "FLAKY", "FAIL": "FAIL", "ERROR": "ERROR", "NOT_RUN": "not run", "IMPOSSIBLE": "-",
}  # fmt: skip
_IN_WORDS: dict[CellOutcome, str] = {
    "PASS": "pass", "WARN": "flaky", "FAIL": "fail", "ERROR": "could not be judged (ERROR)", "NOT_RUN": "not run", "IMPOSSIBLE": "impossible",
}  # fmt: skip
_WORDS = {0: "ALL CELLS PASS", 1: "NOT ALL CELLS PASS", 3: "NOT ALL CELLS ARE JUDGED"}


def conclusion(state: State) -> tuple[str, str]:
    """A word and a sentence."""
    counts = state.counts
    parts = [f"{counts[o]} {_IN_WORDS[o]}" for o in OUTCOMES if counts[o] and o != "IMPOSSIBLE"]
    impossible = f"; {counts['IMPOSSIBLE']} are impossible" if counts["IMPOSSIBLE"] else ""
    others = len(state.cells) - len(state.chosen) - counts["IMPOSSIBLE"]
    not_chosen = f"; {others} were not chosen" if others > 0 else ""
    return _WORDS[state.exit_code], f"{len(state.chosen)} cells: {', '.join(parts)}{impossible}{not_chosen}."


def log_of(each: CellState) -> str:
    """Path of the log that tells of the verdict, relative to the run's folder; empty: there is none."""
    if not each.attempts:
        return ""
    last = telling(each)
    return f"cells/{each.cell.id}/{last.number}/{last.log}" if last.log else ""


def telling(each: CellState) -> Attempt:
    """The attempt that tells of the verdict: of a flaky cell the one that failed."""
    failed = [a for a in each.attempts if a.outcome == "FAIL"]
    return failed[-1] if failed else each.attempts[-1]


def rows_of(state: State) -> tuple[list[str], list[str], dict[tuple[str, str], CellState]]:
    """Names of rows and columns, and the cells by both."""
    cells = {(each.cell.row, each.cell.machine.name): each for each in state.cells}
    return list(dict.fromkeys(row for row, _ in cells)), [m.name for m in state.matrix.machines], cells


def lines(state: State) -> list[str]:
    """For a terminal."""
    rows, columns, cells = rows_of(state)
    wide = max(len(row) for row in rows) + 2
    widths = [max(len(column), 7) + 2 for column in columns]
    word, sentence = conclusion(state)
    out = [
        f"{state.matrix.name} · run {state.run} · {state.past.begun.choice}",
        "",
        " " * wide + "".join(f"{column:{width}}" for column, width in zip(columns, widths, strict=True)),
    ]
    for row in rows:
        signs = (f"{_sign(cells[row, column]):{width}}" for column, width in zip(columns, widths, strict=True))
        out.append(f"{row:{wide}}{''.join(signs)}".rstrip())
    for outcome in _EXPLAINED:
        for each in state.chosen:
            if each.outcome == outcome:
                out += ["", f"{outcome} {each.cell.id}: {safe(each.reason)}"]
                out += [f"  log: {log_of(each)}"] if log_of(each) else []
    impossible = [each for each in state.cells if each.outcome == "IMPOSSIBLE"]
    if impossible:
        out += ["", *(f"impossible {each.cell.id}: {each.reason}" for each in impossible)]
    usd = f", {state.past.usd:.2f} USD" if state.past.usd else ""
    return [*out, "", f"{word}: {sentence[:-1]}{usd}."]


def _sign(each: CellState) -> str:
    if each.running:
        return "running"
    return _SIGN[each.outcome] if each.chosen or each.outcome == "IMPOSSIBLE" else "·"


def as_plain(state: State) -> dict[str, Any]:
    """For programs: docs/reference/matrix.schema.json."""
    begun = state.past.begun
    word, sentence = conclusion(state)
    return {
        "form": FORM,
        "matrix": state.matrix.name,
        "run": state.run,
        "began_at": state.past.began_at,
        "version": begun.version,
        "commit": begun.commit,
        "content_commit": begun.content,
        "choice": begun.choice,
        "exit_code": state.exit_code,
        "conclusion": word,
        "sentence": sentence,
        "finished": state.past.ended is not None and not state.past.ended.interrupted and not state.past.open,
        "usd": state.past.usd,
        "counts": state.counts,
        "images": [image.name for image in state.matrix.images],
        "machines": [machine.name for machine in state.matrix.machines],
        "cells": [_plain_cell(each) for each in state.cells],
    }


def _plain_cell(each: CellState) -> dict[str, Any]:
    last = telling(each) if each.attempts else None
    return {
        "id": each.cell.id,
        "image": each.cell.image.name,
        "machine": each.cell.machine.name,
        "factors": each.cell.factors,
        "outcome": each.outcome,
        "reason": each.reason,
        "chosen": each.chosen,
        "flaky": each.flaky,
        "log": log_of(each),
        "seconds": sum(a.seconds for a in each.attempts),
        "usd": sum(a.usd for a in each.attempts),
        "facts": last.facts if last else {},
        "attempts": [{"number": a.number, "outcome": a.outcome, "reason": a.reason, "began_at": a.began_at, "seconds": a.seconds} for a in each.attempts],
        "tests": [{"name": t.test, "outcome": t.outcome, "reason": t.reason, "seconds": t.seconds, "log": t.log} for t in (last.tests if last else ())],
    }  # fmt: skip


def as_json(state: State) -> str:
    """One document."""
    return json.dumps(as_plain(state), indent=1, ensure_ascii=False)


def as_markdown(state: State) -> str:
    """For a merge request or a wiki."""
    rows, columns, cells = rows_of(state)
    word, sentence = conclusion(state)
    out = [
        f"## {_cell_text(state.matrix.name)}: {word}",
        "",
        sentence,
        "",
        "| image | " + " | ".join(map(_cell_text, columns)) + " |",
        "|---|" + "---|" * len(columns),
    ]
    out += [
        f"| {_cell_text(row)} | " + " | ".join(_sign(cells[row, column]) for column in columns) + " |" for row in rows
    ]
    for outcome in (*_EXPLAINED, "IMPOSSIBLE"):
        found = [e for e in state.cells if e.outcome == outcome and (e.chosen or outcome == "IMPOSSIBLE")]
        if found:
            out += ["", f"### {outcome}", ""]
            out += [f"- `{e.cell.id}`: {_cell_text(e.reason)}{f' (`{log_of(e)}`)' if log_of(e) else ''}" for e in found]
    return "\n".join([*out, ""])


def _cell_text(text: str) -> str:
    """Text of elsewhere that can neither end a cell nor begin a tag."""
    plain = safe(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", plain)


def as_junit(state: State) -> str:
    """A test suite per image, a test case per cell; a case for the whole fails or errs where the exit code is not 0, because skipped passes for good."""
    word, sentence = conclusion(state)
    root = ET.Element("testsuites", name=xml_text(f"hpcaccept matrix {state.matrix.name} {state.run}"))
    stamp = state.past.began_at[:19]
    whole = ET.SubElement(root, "testsuite", name="matrix", timestamp=stamp)
    case = ET.SubElement(
        whole, "testcase", classname="hpcaccept.matrix", name=xml_text(state.matrix.name), time="0.000"
    )
    if state.exit_code:
        ET.SubElement(case, "failure" if state.exit_code == 1 else "error", type=word, message=xml_text(sentence))
    rows, columns, cells = rows_of(state)
    for row in rows:
        suite = ET.SubElement(root, "testsuite", name=xml_text(row), timestamp=stamp)
        for column in columns:
            suite.append(_case(row, cells[row, column]))
    for suite in root:
        sum_up(suite)
    sum_up(root)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


_ELEMENT: dict[CellOutcome, str] = {"FAIL": "failure", "ERROR": "error", "NOT_RUN": "skipped", "IMPOSSIBLE": "skipped"}


def _case(row: str, each: CellState) -> ET.Element:
    seconds = sum(a.seconds for a in each.attempts)
    case = ET.Element("testcase", classname=xml_text(f"hpcaccept.matrix.{row}"), name=xml_text(each.cell.machine.name), time=f"{seconds:.3f}")  # fmt: skip
    kind = _ELEMENT.get(each.outcome)
    if kind:
        found = ET.SubElement(case, kind, message=xml_text(each.reason))
        if kind != "skipped":
            found.set("type", each.outcome)
            found.text = xml_text(f"log: {log_of(each)}")
    elif each.reason:
        ET.SubElement(case, "system-out").text = xml_text(f"{each.outcome}: {each.reason}")
    return case


def seconds_text(seconds: float) -> str:
    """A duration, or a dash for none."""
    return show_duration(seconds) if seconds else "–"
