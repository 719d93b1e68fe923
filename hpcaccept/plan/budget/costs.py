"""What a check will cost: as much as it did in earlier runs like this one, else as much as it declares, else as much as it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept import checks
from hpcaccept.model.run_time import StepTime
from hpcaccept.plan.budget.choose import Cost, Overhead
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.plan import Plan
    from hpcaccept.model.suite import CheckSpec

#: The longest of so many of the latest times, and so much more: the next run is not the last one.
_LATEST, _MORE = 5, 1.2
#: MPI on some hundreds of nodes takes seconds, and a first import of torch on a cold node 25 (docs/reference/performance.md).
START_S = 60.0
#: Less than this is as much as the start of a measurement scatters.
_LEAST_S = 1.0

#: In which a rank that only reads files and counters, or looks for a second, has had its turn.
_TURN_S = 2.0
#: Where nobody knows more.
TIME_LIMIT = "its time limit"


@dataclass(frozen=True)
class Known:
    """What earlier runs of the same shape took.

    Attributes:
        steps: those whose nodes are like the ones that are asked for, the latest last.
        nodes: how many are asked for.
        ranks: on all of them.
        virtual: True where they are groups of ranks on one machine.
        turns: how many ranks measure one after another.
    """

    steps: tuple[StepTime, ...]
    nodes: int
    ranks: int
    virtual: bool
    turns: int = 1


def known_for(plan: Plan, steps: Iterable[StepTime], *, virtual: bool, cores: int) -> Known:
    """What is known for a plan.

    Args:
        plan: of the run.
        steps: of earlier runs, the latest last.
        virtual: True where its nodes are groups of ranks on one machine.
        cores: of that machine.
    """
    request = plan.request
    shape = (request.ranks_per_node, request.gpus, virtual, bool(plan.image.reference))
    like = tuple(s for s in steps if (s.ranks_per_node, s.gpus, s.virtual, bool(s.image)) == shape)
    ranks = request.nodes * request.ranks_per_node
    return Known(like, request.nodes, ranks, virtual, ranks if virtual and ranks > cores else 1)


def cost_of(spec: CheckSpec, changed: Mapping[str, Any], share: float, known: Known) -> Cost:
    """What a check will cost in a form of it.

    Args:
        spec: of the suite.
        changed: parameters that the form changes.
        share: of the time of the suite's own form, where no run in this form is known.
        known: what earlier runs took.
    """
    params = {**spec.params, **changed}
    if found := _learned(spec, params, known):
        return found
    if changed and (found := _learned(spec, spec.params, known)):
        return Cost(max(_LEAST_S, found.seconds * share), f"{share:.2g} of the long form: {found.source}")
    kind = checks.load(spec.name)
    turns = 1 if kind.scope == "world" else known.turns
    if kind.usual_s is not None and not params:
        return Cost(min(max(kind.usual_s, _TURN_S * turns), spec.deadline_s * turns), "declared by the check")
    said = TIME_LIMIT if share == 1 else f"{share:.2g} of {TIME_LIMIT}"
    return Cost(spec.deadline_s * turns * share, said)


def why_not_measured(spec: CheckSpec, known: Known) -> str:
    """Why the check could not be measured in the latest run like this one; empty where it could, or nobody knows."""
    mine = [check for step in known.steps for check in step.checks if check.check == spec.name]
    return mine[-1].cause if mine else ""


def _learned(spec: CheckSpec, params: Mapping[str, Any], known: Known) -> Cost | None:
    """From the runs on the number of nodes that is nearest to this one; larger ones before smaller ones."""
    times: dict[int, list[float]] = {}
    for step in known.steps:
        for check in step.checks:
            if check.check == spec.name and not check.cause and _same(check.params, params):
                times.setdefault(step.nodes, []).append(check.seconds)
    if not times:
        return None
    nodes = _nearest(times, known.nodes)
    seconds = max(times[nodes][-_LATEST:]) * _MORE
    # What all ranks do together lasts at most in proportion to them (a node meets every other one); so do turns on one machine.
    grows = known.nodes > nodes and (known.virtual or checks.load(spec.name).scope == "world")
    seconds *= known.nodes / nodes if grows else 1.0
    most_s = spec.deadline_s * known.ranks if known.virtual else spec.deadline_s
    many = len(times[nodes][-_LATEST:])
    runs = f"{many} run{'s' if many > 1 else ''} on {nodes:,} node{'s' if nodes > 1 else ''}"
    return Cost(max(_LEAST_S, min(seconds, most_s)), f"{runs}, in proportion" if grows else runs)


def _nearest(times: Mapping[int, object], nodes: int) -> int:
    return min(times, key=lambda known: (known < nodes, abs(known - nodes)))


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tables of parameters say the same: a list of a file and a tuple of a form do."""
    return sorted((key, dumps(value)) for key, value in one.items()) == sorted(
        (key, dumps(value)) for key, value in other.items()
    )


def overhead_of(plan: Plan, known: Known, end_s: float) -> Overhead:
    """What the job takes beside its checks.

    Args:
        plan: of the run.
        known: what earlier runs took.
        end_s: seconds before the limit of the job at which it is ended.
    """
    first = _start(known.steps, first=True)
    again = _start(known.steps, first=False) or first
    unknown_s = plan.start_deadline_s if plan.image.reference else min(START_S, plan.start_deadline_s)
    said = "its start timeout" if plan.image.reference else "no run is known"
    return Overhead(
        first or Cost(unknown_s, said),
        again or Cost(min(START_S, plan.start_deadline_s), "no run is known"),
        end_s,
    )


def _start(steps: Sequence[StepTime], *, first: bool) -> Cost | None:
    mine = [step.start_s for step in steps if step.first is first][-_LATEST:]
    if not mine:
        return None
    return Cost(max(_LEAST_S, max(mine) * _MORE), f"{len(mine)} run{'s' if len(mine) > 1 else ''}")
