"""Checks a machine's listing against the requirements, and its claims against what its renters measured."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.app.vast.selection import offers_of_machines
from hpcaccept.errors import LaunchError, RunError
from hpcaccept.provider.vast.offers import Offer, best_of_each_machine
from hpcaccept.provider.vast.requirements import Finding, judge
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from hpcaccept.app.vast.session import Session
    from hpcaccept.provider.vast.requirements import RequirementSet

#: A machine below this share of the median of its model is worth a look; what renters' workers measure varies by more than a few percent.
LOW = 0.8
#: Others' values that a median needs.
_FEWEST = 3


@dataclass(frozen=True)
class Compared:
    """One benchmark that was run on the machine.

    Attributes:
        name: of the benchmark.
        gpus: that it ran on.
        value: median on this machine; in the benchmark's own unit.
        others: median of the same benchmark on as many GPUs of the model elsewhere; None: too few.
        remark: what contradicts the offer; empty: nothing.
    """

    name: str
    gpus: int
    value: float
    others: float | None
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        """To the others."""
        return self.value / self.others if self.others else None


@dataclass(frozen=True)
class Checked:
    """One machine.

    Attributes:
        offer: whose numbers were compared.
        offers: how many the machine has.
        findings: of each requirement.
        benchmarks: compared.
        reports: that renters made.
        notes: what could not be looked at.
    """

    offer: Offer
    offers: int
    findings: tuple[Finding, ...]
    benchmarks: tuple[Compared, ...]
    reports: int
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: all met; 1: one is missed; 3: one could not be judged."""
        outcomes = {each.outcome for each in self.findings}
        return 1 if "missed" in outcomes else (3 if "unknown" in outcomes else 0)


def check(session: Session, machine: int, requirements: RequirementSet) -> Checked:
    """See above.

    Raises:
        RunError: the machine has no offer.
        LaunchError: no answer.
    """
    offers, _ = offers_of_machines(session, [machine])
    if not offers:
        raise RunError(
            f"Machine {machine} is not listed.",
            f"hpcaccept vast search 'machine_id={machine} verified=any rentable=any rented=any'",
        )
    offer = best_of_each_machine(offers)[0]
    notes = []
    benchmarks: tuple[Compared, ...] = ()
    reports = 0
    try:
        here = session.benchmarks("machine_id", machine)
        benchmarks = compare(here, session.benchmarks("gpu_name", offer.gpu_name) if here else [], offer)
    except LaunchError as fault:
        notes.append(f"benchmarks: {fault.message}")
    try:
        reports = len(session.reports(machine))
    except LaunchError as fault:
        notes.append(f"reports: {fault.message}")
    return Checked(offer, len(offers), judge(requirements, offer), benchmarks, reports, tuple(notes))


def compare(here: Iterable[Any], elsewhere: Iterable[Any], offer: Offer) -> tuple[Compared, ...]:
    """Benchmarks of the machine beside those of its model, and beside its offer.

    Args:
        here: rows of this machine; rows of another form are left out.
        elsewhere: rows of the model.
        offer: of the machine.
    """
    own, others = _by_kind(here), _by_kind(row for row in elsewhere if _of(row, "machine_id") != offer.machine_id)
    models = {str(row["gpu_name"]) for row in here if isinstance(row, Mapping) and isinstance(row.get("gpu_name"), str)}
    foreign = sorted(each for each in models if each.replace("_", " ") != offer.gpu_name.replace("_", " "))
    found = []
    for (name, gpus), values in sorted(own.items()):
        near = others.get((name, gpus), [])
        median = statistics.median(near) if len(near) >= _FEWEST else None
        value = statistics.median(values)
        remarks = [f"measured on {safe(', '.join(foreign))[:60]}, offered as {safe(offer.gpu_name)}"] if foreign else []
        if median and value < LOW * median:
            remarks.append(f"{value / median:.0%} of the median of its model")
        found.append(Compared(name, gpus, value, median, "; ".join(remarks)))
    return tuple(found)


def _by_kind(rows: Iterable[Any]) -> dict[tuple[str, int], list[float]]:
    """Values by benchmark and GPUs. Newer rows say ``type`` and ``value``, older ones ``name`` and ``score``."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        value, gpus = _of(row, "value", "score"), _of(row, "num_gpus")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and isinstance(gpus, int) and value > 0:
            name = " ".join(
                str(part) for part in (_of(row, "type", "name"), _of(row, "model")) if isinstance(part, str)
            )
            found[safe(name)[:60] or "benchmark", gpus].append(float(value))
    return dict(found)


def _of(row: Any, *names: str) -> Any:
    return next((row[name] for name in names if isinstance(row, Mapping) and row.get(name) is not None), None)


def lines(checked: Checked, requirements: RequirementSet) -> list[str]:
    """For people, at most 80 columns but for remedies."""
    offer = checked.offer
    out = [
        safe(
            f"machine {offer.machine_id}: {offer.num_gpus} x {offer.gpu_name}, {offer.usd_per_hour:.4f} USD/h, {offer.verification or 'state unknown'}"
        ),
        f"requirements: {requirements.name}, {requirements.about} (read {requirements.read})",
        "",
        f"{'':7} {'rule':22} {'found':>14} {'expected':>17} unit",
    ]
    for each in checked.findings:
        actual = "-" if each.actual is None else f"{each.actual:,.6g}"
        required = "-" if each.required is None else f"{each.rule.compare} {each.required:,.6g}"
        missing = f"  short by {each.missing:.1%}" if each.missing is not None else ""
        out.append(f"{each.outcome:7} {each.rule.id:22} {actual:>14} {required:>17} {each.rule.unit}{missing}")
        if each.outcome != "met":
            out.append(f"        → {each.rule.remedy}")
    if checked.benchmarks:
        out += ["", f"{'measured by renters':34} {'GPUs':>4} {'here':>10} {'its model':>10}"]
    for found in checked.benchmarks:
        others = "-" if found.others is None else f"{found.others:,.5g}"
        out.append(f"{found.name[:34]:34} {found.gpus:>4} {found.value:>10,.5g} {others:>10}  {found.remark}".rstrip())
    out += [f"{checked.reports} reports by renters"] if checked.reports else []
    return out + [f"not looked at: {safe(note)}" for note in checked.notes]


def as_plain(checked: Checked, requirements: RequirementSet) -> dict[str, Any]:
    """For programs."""
    return {
        "machine": checked.offer.machine_id,
        "offer": checked.offer.id,
        "gpu_name": checked.offer.gpu_name,
        "num_gpus": checked.offer.num_gpus,
        "requirements": {
            "name": requirements.name,
            "about": requirements.about,
            "source": requirements.source,
            "read": requirements.read.isoformat(),
        },
        "met": checked.exit_code == 0,
        "rules": [
            {
                "id": each.rule.id,
                "outcome": each.outcome,
                "actual": each.actual,
                "compare": each.rule.compare,
                "required": each.required,
                "unit": each.rule.unit,
                "missing": each.missing,
                "remedy": each.rule.remedy,
            }
            for each in checked.findings
        ],
        "benchmarks": [
            {
                "name": each.name,
                "gpus": each.gpus,
                "value": each.value,
                "others": each.others,
                "ratio": each.ratio,
                "remark": each.remark,
            }
            for each in checked.benchmarks
        ],
        "reports": checked.reports,
        "not_looked_at": list(checked.notes),
    }
