"""What is said of a plan that fits a budget: what each check costs, what it will find, and what nobody will look at."""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING

from hpcaccept.config.suites import built_in
from hpcaccept.plan.budget.costs import TIME_LIMIT
from hpcaccept.report.phrases import sight
from hpcaccept.report.printable import safe
from hpcaccept.serial import to_plain
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcaccept.app.budget.within import Budgeted
    from hpcaccept.plan.budget.choose import Candidate, Rung

#: Characters of a cause.
_LONGEST = 200
#: Columns of the name of a check, and of its time.
_NAME, _TIME = 20, 14


def in_words(fit: Budgeted, *, explain: bool = False) -> str:
    """The plan for people.

    Args:
        fit: the plan.
        explain: tell of each time where it comes from, and what more time would buy.
    """
    lines = [*_head(fit), "", *_bought(fit, explain), *_unseen(fit), *(_ladder(fit) if explain else ())]
    return "\n".join(safe(line) for line in lines)


def _head(fit: Budgeted) -> Iterator[str]:
    request, choice = fit.whole.request, fit.choice
    nodes = f"{request.nodes:,} node{'s' if request.nodes > 1 else ''}"
    gpus = f" × {request.gpus_per_node} GPUs" if request.gpus_per_node else ""
    needs = f"suite {fit.whole.suite.name} on {nodes}{gpus}"
    total = show_duration(choice.total_s)
    gpu_hours = request.nodes * request.gpus_per_node / 3600
    if fit.text:
        most = f", at most {choice.budget_s * gpu_hours:,.3g} GPU-hours" if gpu_hours else ""
        yield f"Budget {fit.text}: {needs}. Planned: {total}; the job ends after {show_duration(choice.budget_s)}{most}."
    else:
        spent = f", {choice.total_s * gpu_hours:,.3g} GPU-hours" if gpu_hours else ""
        yield f"Without a budget: {needs}. Planned: {total}{spent}."
    parts = [f"start {show_duration(choice.overhead.start.seconds)}", f"checks {show_duration(choice.measuring_s)}"]
    if choice.confirming_s:
        times = "once" if choice.confirmations == 1 else f"{choice.confirmations} times"
        parts.append(f"kept back to launch suspects again ({times}) {show_duration(choice.confirming_s)}")
    yield f"Of these: {', '.join(parts)}."


def _bought(fit: Budgeted, explain: bool) -> Iterator[str]:
    yield "Slowdowns found half of the time (19 times of 20):"
    for one in fit.choice.bought:
        source = f" ({one.form.cost.source})" if explain else ""
        time = show_duration(one.form.cost.seconds)
        yield f"  {one.candidate.check:<{_NAME}}{time + source:<{_TIME}}  {_finds(one.candidate)}".rstrip()


def _finds(candidate: Candidate) -> str:
    """What a check will find."""
    found = [sight(kind) for kind in candidate.sights]
    if candidate.verified:
        found.append("wrong results and faults of any size")
    return ", ".join(found) or "shown only"


def _unseen(fit: Budgeted) -> Iterator[str]:
    """What nobody will look at, a line each."""
    choice = fit.choice
    lines = [f"  {one.check} ({show_duration(one.forms[0].cost.seconds)}): {one.about}" for one in choice.dropped]
    again = f"again: hpcaccept submit --suite {_suite(fit)} --only"
    lines += [
        f"  {name}: the latest run could not measure it: {why[:_LONGEST]} ({again} {name})"
        for name, why in fit.not_there.items()
    ]
    lines += [
        f"  {one.candidate.check}, in a shorter form: {one.form.unseen}" for one in choice.bought if one.shortened
    ]
    lines += _alone(fit)
    if choice.confirmations < choice.wanted and any(one.candidate.timed for one in choice.bought):
        times = "once" if choice.confirmations == 1 else "not at all"
        lines.append(f"  suspects are launched again {times}, {choice.wanted} times without the budget")
    if lines:
        yield from ["", "Not seen:", *lines]
    costs = [*(one.form.cost for one in choice.bought), *(one.forms[0].cost for one in choice.dropped)]
    if any(TIME_LIMIT in cost.source for cost in costs):
        yield from [
            "",
            "No run of yours tells yet how long some of these last: they count with their time limits, far above what they usually take.",
            f"After one run, of a single node, the plan knows most of them: hpcaccept submit --nodes 1 --suite {_suite(fit)}",
        ]


def _suite(fit: Budgeted) -> str:
    """As it is typed after --suite."""
    suite = fit.whole.suite
    return suite.name if suite.name in built_in() else shlex.quote(suite.source)


def _alone(fit: Budgeted) -> Iterator[str]:
    """What has no peers: too few like units, and all of them together."""
    bought = fit.choice.bought
    timed = [one for one in bought if one.candidate.timed]
    if timed and not any(one.candidate.sights for one in timed):
        fewest = fit.whole.suite.peers.min_subjects
        yield f"  who is slow among so few like units, of which {fewest} are needed, unless a limit, a baseline or earlier runs show it"
    together = [one.candidate.check for one in bought if one.candidate.together]
    if together:
        yield f"  a slowdown of all nodes together, unless a limit, a baseline or earlier runs show it: {', '.join(together)}"


def _ladder(fit: Budgeted) -> Iterator[str]:
    """What is bought in which order, with the time of the whole job."""
    yield from ["", "In the order of buying, with the time of the whole job:"]
    for rung in fit.choice.rungs:
        mark = "  " if rung.total_s <= fit.choice.budget_s else "+ "
        yield f"{mark}{show_duration(rung.total_s):<{_TIME}}{_purchase(fit, rung)}"
    start = fit.choice.overhead
    yield f"A job starts in {show_duration(start.start.seconds)} ({start.start.source}), a further step in {show_duration(start.again.seconds)} ({start.again.source})."
    like = f"of {fit.spread_of}" if fit.spread_of else "of their class usually"
    yield f"Slowdowns are those against peers that differ as units {like} do, with the false-alarm rate of the whole suite."


def _purchase(fit: Budgeted, rung: Rung) -> str:
    if not rung.check:
        return f"suspects launched again {rung.confirmations} times"
    candidates = {one.check: one for one in (*(b.candidate for b in fit.choice.bought), *fit.choice.dropped)}
    forms = candidates[rung.check].forms
    short = rung.form < len(forms) - 1
    return f"{rung.check}{', in a shorter form' if short else ', in its own form' if rung.form else ''}"


def as_json(fit: Budgeted, nodes_left_out: Mapping[str, str]) -> str:
    """The plan for programs; times in seconds, losses as shares."""
    choice = fit.choice
    plain = {
        "budget": fit.text,
        "budget_s": None if math.isinf(choice.budget_s) else choice.budget_s,
        "planned_s": choice.total_s,
        "nodes": fit.whole.request.nodes,
        "gpus_per_node": fit.whole.request.gpus_per_node,
        "suite": fit.whole.suite.name,
        "start": to_plain(choice.overhead.start),
        "confirmations": choice.confirmations,
        "confirming_s": choice.confirming_s,
        "checks": [
            {
                "check": one.candidate.check,
                "seconds": one.form.cost.seconds,
                "source": one.form.cost.source,
                "changed": dict(one.form.params),
                "unseen": one.form.unseen,
                "finds": [to_plain(kind) for kind in one.candidate.sights],
            }
            for one in choice.bought
        ],
        "left_out": [
            {"check": one.check, "seconds": one.forms[0].cost.seconds, "source": one.forms[0].cost.source}
            for one in choice.dropped
        ],
        "not_there": fit.not_there,
        "spread_of": fit.spread_of,
        "order": [to_plain(rung) for rung in choice.rungs],
        "nodes_left_out": dict(nodes_left_out),
    }
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"
