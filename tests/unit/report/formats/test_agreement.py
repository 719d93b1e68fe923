"""The terminal, a ticket and the page say the same of a run: one ranking, one grouping, one conclusion."""

from __future__ import annotations

import html as markup
import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from support.big_runs import big_run, judged_run
from support.builders import (
    AT,
    H100,
    baseline,
    evidence,
    fleet,
    judged_run_of,
    nodes,
    plan,
    rank_started,
    record,
    suite,
)

from hpcaccept.model.event import Event
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.formats import html, markdown, render
from hpcaccept.report.phrases import conclusion, fold, troubles
from hpcaccept.report.views.first_page import first_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.report.judged import Judged
    from hpcaccept.report.phrases import Trouble


def slow() -> Judged:
    """The worst has the last name."""
    return judged_run_of(fleet([100.0] * 20 + [80.0, 90.0, 50.0]), {H100: baseline()})


def mixed() -> Judged:
    """A lost node, wrong results, two slow nodes, drift, and a check that no node reached."""
    records = [record("identity", node, {"cores": 8, "gpu_count": 1}, facts={"driver": node[-1]}) for node in nodes(5)]
    rates = {"node1": 80.0, "node3": 40.0}
    records += [
        record(
            "speed", node, {"rate_flops[fp32]": rates.get(node, 100.0), "wrong_elements": float(node == "node2") * 7}
        )
        for node in nodes(5)
    ]
    lost = Event("death", AT, step="00", nodes=("node5",), ranks=(5,), check="speed", detail="lost", remedy="dmesg")
    the_plan = plan(suite("identity", "speed", "fabric", baseline="required"), nodes=6)
    return judged_run_of(evidence(records, the_plan, events=(Event("started", AT, nodes=nodes(6)), lost)))


def nothing() -> Judged:
    return judged_run_of(evidence([], names=(), rank_starts=()))


def accepted() -> Judged:
    return judged_run_of(fleet([100.0] * 4), where="")


def odd_names() -> Judged:
    names = ("<b>n`0`</b>", "*n1*", "node2", "node3")
    records = [record("speed", name, {"rate_flops": 100.0, "wrong_elements": float(i)}) for i, name in enumerate(names)]
    starts = tuple(rank_started(rank, name) for rank, name in enumerate(names))
    return judged_run_of(evidence(records, plan(suite("speed")), names=names, rank_starts=starts))


def large() -> Judged:
    return judged_run(big_run(12, pairs=True))


RUNS = [slow, mixed, nothing, accepted, odd_names, large]


def at_the_terminal(judged: Judged) -> str:
    """So wide that nothing is broken into lines."""
    out = io.StringIO()
    Console(file=out, width=3000, highlight=False).print(first_page(judged))
    return " ".join(out.getvalue().split())


def in_a_ticket(judged: Judged) -> str:
    """Without what escapes."""
    return re.sub(r"\\(?=[\\`*_\[\]#|<>~@&$:])", "", markdown.render(judged))


def on_the_page(judged: Judged) -> str:
    """What can be read of its verdict and of its findings."""
    body = re.split(r'<section id="checks"', html.render(judged).partition("<main>")[2])[0]
    return markup.unescape(re.sub(r"<[^>]*>", "", body))


READERS: list[Callable[[Judged], str]] = [at_the_terminal, in_a_ticket, on_the_page]


def by_subject(found: list[Trouble]) -> list[Trouble]:
    """What is bad before what was not judged, and of each what is said of the same nodes together: as the terminal shows it."""
    first = {
        (trouble.outcome in (Outcome.FAIL, Outcome.WARN), trouble.where): at
        for at, trouble in reversed([*enumerate(found)])
    }
    blamed = [trouble.outcome in (Outcome.FAIL, Outcome.WARN) for trouble in found]
    order = sorted(range(len(found)), key=lambda at: (not blamed[at], first[blamed[at], found[at].where], at))
    return [found[at] for at in order]


@pytest.mark.parametrize("make", RUNS)
@pytest.mark.parametrize("read", READERS)
def test_every_format_for_people_says_the_same_conclusion(read: Callable[[Judged], str], make: Any) -> None:
    judged = make()
    ended = conclusion(judged)
    text = read(judged)
    assert ended.word in text
    assert ended.sentence in text


@pytest.mark.parametrize("make", RUNS)
@pytest.mark.parametrize("read", [at_the_terminal, in_a_ticket])
def test_every_format_for_people_tells_the_same_troubles_in_the_same_order(
    read: Callable[[Judged], str], make: Any
) -> None:
    judged = make()
    found = troubles(judged.summary.bad)
    text = read(judged)
    after = 0
    for trouble in by_subject(found) if read is at_the_terminal else found:
        # The terminal quotes each subject where the others quote the worst.
        after = text.index(trouble.sentence.replace("the worst, ", ""), after)
    assert bool(found) == (make is not accepted)


@pytest.mark.parametrize("read", READERS)
def test_the_worst_node_is_named_first_whatever_it_is_called(read: Callable[[Judged], str]) -> None:
    assert re.findall(r"node\d+ GPU 0", read(slow()))[0] == "node22 GPU 0"


@pytest.mark.parametrize("make", RUNS)
def test_the_page_has_every_finding_of_the_others_and_what_to_do(make: Any) -> None:
    judged = make()
    text, found = on_the_page(judged), troubles(judged.summary.bad)
    worst = {verdict.subject: verdict for verdict in reversed(judged.summary.bad)}
    for verdict in worst.values():
        shared = [trouble.remedy for trouble in found if verdict in trouble.verdicts]
        assert verdict.remedy in text or shared[0] in text
    for trouble in found:
        assert trouble.verdicts[0].reason in text
        assert all(place in text or place in fold(trouble.where) for place in trouble.where)


def test_the_cards_of_the_page_stand_in_the_order_of_the_terminal() -> None:
    cards = re.findall(r"<h3>(.*?)</h3>", html.render(slow()))
    assert cards == ["node22 GPU 0", "node20 GPU 0", "node21 GPU 0"]
    lines = re.findall(
        r"(node\d+ GPU 0): rate flops: [\d.]+ FLOP/s, [\d.]+ % below the median", at_the_terminal(slow())
    )
    assert list(dict.fromkeys(lines)) == cards


def test_a_ci_server_is_told_the_same_conclusion() -> None:
    assert conclusion(slow()).sentence in markup.unescape(render("junit", slow()))
