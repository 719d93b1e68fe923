"""The answer of an isolation in a browser: one page that needs no network and has no script.

What was found comes first, then a matrix of rounds and nodes (which group each was in, and what came of it), then the posterior over time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.report.isolation.answer import (
    excluded,
    findings,
    missable_text,
    percent,
    sentence_of,
    test_text,
    time_text,
    word_of,
)
from hpcaccept.report.page.document import document
from hpcaccept.report.page.markup import Markup, joined, tag
from hpcaccept.report.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.report.isolation.answer import IsolationAnswer, IsolationFinding

#: Nodes in the matrix, the most probable first, and lines in the plot.
_MOST_ROWS, _MOST_LINES = 400, 12
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 240, 44, 24
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --soft: #667; --line: #d5dae2; --bad: #c4283a; --good: #1f7a4a; --odd: #9a6a00;
  --passed: #cfe8d8; --failed: #f3b8be; --hung: #f0c98a; --crashed: #d99; --not_run: #e4e4ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --paper: #14181f; --soft: #9aa3b2; --line: #333c4a; --bad: #ff7b88; --good: #6fd39b;
  --odd: #e6b450; --passed: #1d4630; --failed: #6d2630; --hung: #6a4a12; --crashed: #7a2222; --not_run: #30343d; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } .soft { color: var(--soft); }
.bad { color: var(--bad); } .good { color: var(--good); } .odd { color: var(--odd); }
article { border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem; margin: .8rem 0; }
article ul { margin: .3rem 0; padding-left: 1.2rem; } code { font-family: ui-monospace, monospace; }
.scroll { overflow: auto; max-height: 40rem; border: 1px solid var(--line); }
table { border-collapse: collapse; font-size: 13px; } th, td { border: 1px solid var(--line); padding: 2px 8px; text-align: center; }
th[scope=row] { text-align: left; font-weight: 500; white-space: nowrap; }
td.passed { background: var(--passed); } td.failed { background: var(--failed); } td.hung { background: var(--hung); }
td.crashed { background: var(--crashed); } td.not_run { background: var(--not_run); }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; } svg .axis { stroke: var(--line); } svg .until { stroke: var(--bad); stroke-dasharray: 4 3; }
svg polyline { fill: none; stroke-width: 2; } .c0 { stroke: #4477aa; } .c1 { stroke: #ee6677; } .c2 { stroke: #228833; } .c3 { stroke: #ccbb44; }
.c4 { stroke: #66ccee; } .c5 { stroke: #aa3377; }
"""


def render(answer: IsolationAnswer) -> str:
    """The page, whole."""
    word = word_of(answer)
    tone = "bad" if word == "FAULT FOUND" else "good" if word == "NOTHING WRONG" else "odd"
    body = [
        tag(
            "p",
            f"hpcaccept · isolation of {answer.order.what} over {counted(len(answer.nodes), 'node')} · {answer.run_id}",
            class_="soft",
        ),
        tag("h1", word, class_=tone),
        tag("p", sentence_of(answer)),
        _exclude(answer),
        *[_card(one) for one in findings(answer)],
        tag("p", f"What may have been missed: {missable_text(answer.conclusion.missable)}", class_="soft")
        if answer.measured
        else "",
        tag("p", time_text(answer), class_="soft"),
        tag("h2", "Rounds and nodes"),
        _matrix(answer),
        tag("h2", "Posterior over time"),
        _plot(answer),
        tag("h2", "Tests"),
        tag("ol", *[tag("li", test_text(test)) for test in answer.tests if test.kind != "passed"][:500]),
        tag(
            "p",
            f"{counted(sum(t.kind == 'passed' for t in answer.tests), 'test')} passed; all are in isolation-report.json.",
            class_="soft",
        ),
    ]
    return document(f"{word}: {answer.run_id}", _STYLE, [tag("main", *body)])


def _exclude(answer: IsolationAnswer) -> str:
    names = excluded(answer)
    return tag("p", "Leave them out: ", tag("code", f"--exclude {names}")) if names else ""


def _card(one: IsolationFinding) -> Markup:
    lines = [tag("li", line) for line in one.evidence]
    return tag(
        "article",
        tag("strong", str(one.code), class_="bad" if one.blamed else "odd"),
        tag("p", one.sentence),
        tag("ul", *lines) if lines else "",
        tag("p", f"Or else: {'; '.join(one.instead)}", class_="soft") if one.instead else "",
        tag("p", f"→ {one.action}"),
        tag("p", f"→ next: {one.next_test}") if one.next_test else "",
    )


def _by_posterior(answer: IsolationAnswer) -> list[str]:
    posterior = answer.conclusion.posterior
    return sorted(
        answer.nodes,
        key=lambda node: (-posterior.get(node, 0.0), answer.nodes.index(node) if len(answer.nodes) < 1000 else 0),
    )


def _matrix(answer: IsolationAnswer) -> Markup:
    """A row per node, a column per round; the number is that of its group."""
    numbers = sorted({test.test.round for test in answer.tests})
    place: dict[tuple[str, int], Markup] = {}
    for number in numbers:
        for index, test in enumerate(t for t in answer.tests if t.test.round == number):
            cell = tag("td", str(index + 1), class_=test.kind, title=test_text(test))
            place.update(dict.fromkeys(((node, number) for node in test.test.nodes), cell))
    nothing = tag("td", "")
    nodes = _by_posterior(answer)
    heads = [tag("th", "before" if number == 0 else str(number), scope="col") for number in numbers]
    rows = [tag("tr", tag("th", "node", scope="col"), tag("th", "posterior", scope="col"), *heads)]
    for node in nodes[:_MOST_ROWS]:
        cells = [place.get((node, number), nothing) for number in numbers]
        rows.append(
            tag(
                "tr",
                tag("th", node, scope="row"),
                tag("td", percent(answer.conclusion.posterior.get(node, 0.0))),
                *cells,
            )
        )
    more = (
        f"{counted(len(nodes) - _MOST_ROWS, 'more node')} in isolation-report.json." if len(nodes) > _MOST_ROWS else ""
    )
    words = "Colour: what came of its group (passed, failed, hung, crashed). Number: which group of the round."
    return joined(
        [
            tag("p", words, class_="soft"),
            tag("div", tag("table", *rows), class_="scroll"),
            tag("p", more, class_="soft"),
        ]
    )


def _plot(answer: IsolationAnswer) -> Markup:
    """Lines of the most probable nodes, and of where blame begins."""
    if not answer.over_time:
        return tag("p", "No test has ended.", class_="soft")
    shown = [node for node in _by_posterior(answer) if max(one.get(node, 0.0) for one in answer.over_time) > 0.02][
        :_MOST_LINES
    ]
    steps = len(answer.over_time)
    lines = [
        tag("line", x1=_LEFT, y1=_y(0), x2=_WIDTH, y2=_y(0), class_="axis"),
        tag("line", x1=_LEFT, y1=_y(answer.order.until), x2=_WIDTH, y2=_y(answer.order.until), class_="until"),
        tag("text", "0", x=_LEFT - 20, y=_y(0)),
        tag("text", f"{answer.order.until:g}", x=4, y=_y(answer.order.until) + 4),
        *[tag("text", str(step + 1), x=_x(step, steps), y=_HEIGHT - 4) for step in range(steps) if steps < 30],
    ]
    for number, node in enumerate(shown):
        values = [one.get(node, 0.0) for one in answer.over_time]
        lines.append(_line(values, number, node))
    return tag(
        "svg",
        *lines,
        viewBox=f"0 0 {_WIDTH + 120} {_HEIGHT}",
        width=_WIDTH + 120,
        role="img",
        aria_label="Posterior of the most probable nodes after each round",
    )


def _line(values: Sequence[float], number: int, node: str) -> Markup:
    points = " ".join(f"{_x(step, len(values)):.0f},{_y(value):.0f}" for step, value in enumerate(values))
    last_y = max(10.0, min(_y(values[-1]) + 4 + 12 * (number % 4 if values[-1] < 0.5 else number), _HEIGHT - 10.0))
    return joined(
        [
            tag("polyline", points=points, class_=f"c{number % 6}"),
            tag("text", node, x=_WIDTH + 6, y=last_y),
        ]
    )


def _x(step: int, steps: int) -> float:
    return _LEFT + (_WIDTH - _LEFT) * (step / (steps - 1) if steps > 1 else 0.0)


def _y(value: float) -> float:
    return 8 + (_HEIGHT - _BOTTOM - 8) * (1 - value)
