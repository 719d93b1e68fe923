"""What may be bought of a suite: each check with its forms, what each costs, and what it would see on so many nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpcaccept import checks
from hpcaccept.judge.questions.peers import floors_by_rule
from hpcaccept.judge.statistics.peer_rule import cut
from hpcaccept.judge.statistics.rate_shares import PEERS
from hpcaccept.judge.statistics.sensitivity import by_kind, expected_sight
from hpcaccept.model.metric_key import MetricKey, check_of
from hpcaccept.plan.budget.choose import Candidate, Cost, Form, with_forms_in_order
from hpcaccept.plan.budget.costs import cost_of
from hpcaccept.plan.resolve import variants_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.judge.statistics.sensitivity import Sight
    from hpcaccept.model.check import Check, Shorter
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.plan import Plan
    from hpcaccept.model.suite import CheckSpec, Suite
    from hpcaccept.plan.budget.choose import Choice
    from hpcaccept.plan.budget.costs import Known

#: On these every verdict rests: that everything is there, that the GPUs say of themselves that they are well, and that the kernel does.
FIRST = ("identity", "health", "kernel_log")
#: Whose a parameter is that a budget has changed.
ORIGIN = "budget"


#: Metric key without its variant → by how much like units differ in each of its variants, relative standard deviations.
Widths = Mapping[str, Sequence[float]]


def candidates_of(plan: Plan, known: Known, widths: Widths | None = None) -> tuple[Candidate, ...]:
    """Every check of a plan, in the order of its suite.

    Args:
        plan: of the run, with its whole suite.
        known: what earlier runs took.
        widths: by how much such units are known to differ; where nothing is known they differ as those of their class do.
    """
    z_of = _cuts(plan)
    return tuple(_candidate(plan, spec, known, z_of, widths or {}) for spec in plan.suite.checks)


def _candidate(plan: Plan, spec: CheckSpec, known: Known, z_of: dict[str, float], widths: Widths) -> Candidate:
    kind = checks.load(spec.name)
    forms = [Form(s.params, cost_of(spec, s.params, s.share, known), s.unseen) for s in _shorter(plan, spec, kind)]
    whole = Form({}, cost_of(spec, {}, 1.0, known) if _can(plan, kind) else Cost(0.0, "no GPU was asked for"))
    compared = [metric for metric in kind.metrics if _is_compared(plan, metric)]
    sights = [
        sight
        for metric in compared
        for width in widths.get(f"{spec.name}.{metric.name}", (None,))
        for sight in _sight(plan, metric, known, z_of, width)
    ]
    return with_forms_in_order(
        Candidate(
            check=spec.name,
            forms=(*forms, whole),
            first=check_of(spec.name) in FIRST,
            fields=tuple(dict.fromkeys(_fields(kind))),
            timed=any(metric.noise == "timed" for metric in compared),
            apart=bool(kind.brings_mpi and plan.request.gpus_per_node),
            required=spec.required,
            sights=by_kind(sights),
            together=any(metric.is_rate and metric.scope == "world" for metric in kind.metrics),
            verified=any(metric.limit is not None for metric in kind.metrics),
            about=kind.about,
        )
    )


def _can(plan: Plan, kind: type[Check]) -> bool:
    return bool(plan.request.gpus_per_node) or not kind.needs_gpu


def _shorter(plan: Plan, spec: CheckSpec, kind: type[Check]) -> Iterator[Shorter]:
    """The forms that the suite leaves open: what it sets itself stays, and so does what is set under another label."""
    alone = sum(check_of(other.name) == check_of(spec.name) for other in plan.suite.checks) == 1
    for form in kind.shorter:
        fits = bool(plan.request.gpus_per_node) or not form.gpus_only
        if alone and fits and not form.params.keys() & spec.params.keys():
            yield form


def _fields(kind: type[Check]) -> Iterator[str]:
    """What a check looks at: kinds of rates, of devices or nodes, of one or of all together; and what it alone verifies."""
    where = "devices" if kind.on_device else "nodes"
    for metric in kind.metrics:
        if metric.is_rate:
            yield f"{metric.sort} of {'all together' if metric.scope == 'world' else where}"
        elif metric.limit is not None:
            yield f"faults that {kind.name} finds"


def _is_compared(plan: Plan, metric: Metric) -> bool:
    return plan.suite.peers.enabled and metric.is_rate and metric.peer_floor is not None and metric.scope != "world"


def _cuts(plan: Plan) -> dict[str, float]:
    """Scope → widths beyond which a unit is blamed, reckoned as if the whole suite ran: with fewer checks they are fewer, not more."""
    asked = 0
    for spec in plan.suite.checks:
        compared = sum(_is_compared(plan, metric) for metric in checks.load(spec.name).metrics)
        asked += compared * max(1, len(spec.variants))
    rate = plan.suite.peers.false_alarm_rate * PEERS
    return {scope: cut(asked * _subjects(plan, scope), rate) for scope in ("device", "node")}


def _subjects(plan: Plan, scope: str) -> int:
    return plan.request.nodes * (plan.request.ranks_per_node if scope == "device" else 1)


def _sight(plan: Plan, metric: Metric, known: Known, z_of: dict[str, float], width: float | None) -> list[Sight]:
    """Empty where too few are alike to say who is slow."""
    rule, subjects = plan.suite.peers, _subjects(plan, metric.scope)
    if subjects < max(2, rule.min_subjects):
        return []
    on_cpu = plan.request.device == "cpu"
    floors = floors_by_rule(metric, rule, metric.peer_floor or 0.0, on_cpu=on_cpu, shared_host=known.virtual)
    return [expected_sight(metric, subjects, floors, z_of[metric.scope], width)]


def within(suite: Suite, choice: Choice) -> Suite:
    """The suite that a budget pays for: what was bought, in its form, with as many confirmations as there is time for."""
    bought = {one.candidate.check: one.form.params for one in choice.bought}
    compares = any(one.candidate.timed for one in choice.bought)
    retests = choice.confirmations if compares else suite.peers.retests
    fewer = retests != suite.peers.retests
    return replace(
        suite,
        checks=tuple(_changed(spec, bought[spec.name]) for spec in suite.checks if spec.name in bought),
        limits={key: limit for key, limit in suite.limits.items() if MetricKey.parse(key).check_name in bought},
        peers=replace(suite.peers, retests=retests),
        peer_origins={**suite.peer_origins, **({"retests": ORIGIN} if fewer else {})},
    )


def _changed(spec: CheckSpec, params: Mapping[str, Any]) -> CheckSpec:
    """The check with other parameters, and whose they are."""
    if not params:
        return spec
    mine = {**spec.params, **params}
    origins = {**spec.origins, **dict.fromkeys(params, ORIGIN)}
    return replace(spec, params=mine, origins=origins, variants=variants_of(spec.name, mine))
