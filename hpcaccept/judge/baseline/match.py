"""Which entry of a baseline may judge a number, with what must be stated beside it, and if none may, why not.

The rule (docs/how-to/baselines.md):

* Refused: another subject, revision, setting (threads, turns, scale) or number of GPUs per node; another launcher where CPUs are
  measured, another transport of a check that has one; another power limit, memory size, ECC or MIG mode of the device; an expired
  baseline; and, where the suite requires a baseline, a draft.
* Said, and refused by a ``strict`` baseline: another driver, CUDA, torch, NCCL, MPI or image; a fact of the device that the
  run does not tell.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.model.baseline import peak_of, stands_for
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcaccept.model.baseline import Baseline, BaselineEntry, State
    from hpcaccept.model.metric import Metric

#: Facts of the device: another value is another kind of device. Fact → how it is called.
DEVICE_FACTS = {
    "gpu_power_limit_w": "power limit",
    "gpu_memory_gib": "memory",
    "ecc_mode": "ECC",
    "mig_mode": "MIG",
}
#: Facts of the software that numbers depend on.
SOFTWARE_FACTS = {
    "driver": "driver",
    "cuda": "CUDA",
    "torch": "torch",
    "nccl": "NCCL",
    "mpi": "MPI",
    "image": "image",
    "image_digest": "image digest",
}
#: How many GPUs of a node took part: what nodes reach together depends on it.
GPUS_FACT = "gpus_per_node"
#: Where CPUs are measured: who gave the ranks their cores.
LAUNCHER_FACT = "launcher"
#: Facts of ``identity`` that decide whether a baseline fits: subjects that agree in these (and in model and setting) need one look.
KEY_FACTS = (*DEVICE_FACTS, *SOFTWARE_FACTS, GPUS_FACT)
#: Relative difference up to which two numbers are one: limits are set in whole watts; drivers reserve some memory, and data
#: sheets round (inline ECC of GDDR takes 6 %).
_SAME = {"gpu_power_limit_w": 0.01, "gpu_memory_gib": 0.10}
#: Between several values of one fact.
SEVERAL = " | "
#: A measured rate may exceed a nominal one by this, beside what is known of the model: nominal rates are those of a nominal
#: clock (989 TFLOP/s of an H100 at 1830 of 1980 MHz), bytes are those of a wire.
_MEASURED_MARGIN = {"FLOP/s": 0.10, "B/s": 0.02}
#: Which of several fitting baselines judges: what the site has vouched for, what it has learned, what is shipped.
_ORDER = {"approved": 0, "draft": 1, "shipped": 2, "expired": 3}


def fitting_entry(
    baseline: Baseline | None,
    key: str,
    revision: int,
    unit: str,
    setting: str,
    facts: Mapping[str, str],
    *,
    drafts: bool = True,
) -> tuple[BaselineEntry | None, str, State | None]:
    """The entry that may judge, with what must be said beside it and the state of its baseline; or None, with the reason why not.

    Of several that fit the approved ones come first, then drafts, then what is shipped; among those one about which
    nothing needs to be said, then the newest.

    Args:
        baseline: of the device model, with its alternatives; None when there is none.
        key: metric key.
        revision: of the check's method in this run.
        unit: SI unit of the metric.
        setting: threads and turns of the measured subject.
        facts: of the measured device (``KEY_FACTS``).
        drafts: False where a suite requires a baseline: a draft does not count then.
    """
    if baseline is None:
        return None, "there is no baseline of this device", None
    fits: list[tuple[int, bool, BaselineEntry, str, State]] = []
    reasons: list[str] = []
    for one in (baseline, *baseline.alternatives):
        entry = _entry_of(one, key)
        why_not = _refusal(one, entry, revision, unit, setting, facts, drafts)
        if entry is None or why_not:
            # That one has the metric and does not fit says more than that another has it not.
            reasons.insert(len(reasons) if entry is None else 0, why_not or f"the baseline of {one.model} has no {key}")
            continue
        remarks = [*_device_remarks(one, facts), *_software_remarks(one, facts)]
        if remarks and one.strict:
            reasons.insert(0, f"the baseline is strict, and {'; '.join(remarks)}")
            continue
        word = "; ".join([*_state_remark(one), *remarks])
        fits.append((_ORDER[one.state], bool(remarks), replace(entry, key=key), word, one.state))
    if not fits:
        return None, reasons[0], None
    _, _, entry, word, state = min(fits, key=lambda fit: fit[:2])
    return entry, word, state


def beyond_peak(baseline: Baseline | None, key: str, value: float, unit: str) -> str:
    """Why a measured value cannot be true of this part; empty when it can.

    A value above what the part can do is a fault of the measurement (a wrong clock, work that was not done): an ERROR.

    Args:
        baseline: of the device model, with its alternatives.
        key: metric key.
        value: measured, in ``unit``.
        unit: SI unit of the metric.
    """
    peak = peak_of(baseline, key)
    if peak is None or not math.isfinite(value) or value <= most_of(baseline, key, unit):
        return ""
    return f"{show(value, unit)} is more than the part can do: {show(peak.value, unit)} ({peak.source})"


def most_of(baseline: Baseline | None, key: str, unit: str) -> float:
    """The highest rate of a metric that may be true of the part; inf where its peak is not known."""
    peak = peak_of(baseline, key)
    if peak is None or peak.unit != unit:
        return math.inf
    return peak.value * (1 + max(peak.margin, _MEASURED_MARGIN.get(unit, 0.0)))


#: What carried the messages of a check.
TRANSPORT = "transport"


def transport_fact(check: str) -> str:
    """Name of the fact that says what carried the messages of a check."""
    return f"{TRANSPORT}[{check}]"


def same_device(fact: str, one: str | None, other: str | None) -> bool:
    """True unless both are known and differ: another power limit, memory size, ECC or MIG mode."""
    return not (one and other) or _alike(fact, one, other)


def _entry_of(baseline: Baseline, key: str) -> BaselineEntry | None:
    exact = baseline.entries.get(key)
    if exact is not None:
        return exact
    return next((entry for name, entry in baseline.entries.items() if "*" in name and stands_for(name, key)), None)


def _refusal(
    baseline: Baseline,
    entry: BaselineEntry | None,
    revision: int,
    unit: str,
    setting: str,
    facts: Mapping[str, str],
    drafts: bool,
) -> str:
    """Why it must not judge, or nothing."""
    if entry is None:
        return ""
    if baseline.state == "expired":
        return f"the baseline {_name(baseline)} has expired"
    if baseline.state == "draft" and not drafts:
        return f"the baseline {_name(baseline)} is a draft: hpcaccept baseline approve"
    if entry.unit != unit:
        return f"the baseline has it in unit {entry.unit}, this run in {unit}"
    if entry.revision != revision:
        return f"the baseline has revision {entry.revision} of the method, this run has {revision}"
    measured_with = entry.setting or baseline.provenance.setting
    if measured_with and measured_with != setting:
        return f"the baseline was measured with {measured_with}, this run with {setting}"
    if entry.gpus and (found := facts.get(GPUS_FACT)) != str(entry.gpus):
        return f"the baseline is of {entry.gpus} GPUs per node, this run has {found or 'not said how many'}"
    learned_under = baseline.provenance.facts
    for fact, name in {
        LAUNCHER_FACT: "launcher",
        transport_fact(MetricKey.parse(entry.key).check_name): "transport",
    }.items():
        known, here = learned_under.get(fact), facts.get(fact)
        if known and here and here not in known.split(SEVERAL):
            return f"the baseline was measured with the {name} {known}, this run with {here}"
    for fact, name in DEVICE_FACTS.items():
        known, here = learned_under.get(fact), facts.get(fact)
        if not same_device(fact, known, here):
            return f"the baseline is of {name} {known}, this device has {here}"
    return ""


def _name(baseline: Baseline) -> str:
    return f"of {baseline.model} (generation {baseline.generation})" if baseline.generation else f"of {baseline.model}"


def _alike(fact: str, known: str, here: str) -> bool:
    if fact not in _SAME:
        # "enabled, disabled after a reset": what is in force counts.
        return here.partition(",")[0] in [text.partition(",")[0] for text in known.split(SEVERAL)]
    return any(_near(text, here, _SAME[fact]) for text in known.split(SEVERAL))


def _near(one: str, other: str, share: float) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=share)
    except ValueError:
        return one == other


def _state_remark(baseline: Baseline) -> Iterator[str]:
    if baseline.state == "draft":
        yield "the baseline is a draft"
    elif baseline.state == "shipped":
        yield "published figure, not learned here"


def _device_remarks(baseline: Baseline, facts: Mapping[str, str]) -> Iterator[str]:
    for fact, name in DEVICE_FACTS.items():
        if baseline.provenance.facts.get(fact) and not facts.get(fact) and baseline.state != "shipped":
            yield f"this run does not say its {name}"


def _software_remarks(baseline: Baseline, facts: Mapping[str, str]) -> Iterator[str]:
    for fact, name in SOFTWARE_FACTS.items():
        known, here = baseline.provenance.facts.get(fact), facts.get(fact)
        if known and here and not _alike(fact, known, here):
            yield f"{name} {here}, baseline {known}"


def unusable(
    baseline: Baseline, catalogue: Mapping[str, Mapping[str, Metric]], revisions: Mapping[str, int]
) -> Iterator[str]:
    """Entries that judge nothing with this hpcaccept, one sentence each: unknown metrics, other subjects, other revisions.

    Args:
        baseline: to look at.
        catalogue: check → metric name → metric, of every check.
        revisions: check → revision of its method.
    """
    for entry in baseline.entries.values():
        key = MetricKey.parse(entry.key)
        metric = catalogue.get(key.check, {}).get(key.metric)
        if metric is None:
            yield f"{entry.key}: there is no such metric"
        elif metric.unit != entry.unit:
            yield f"{entry.key}: its unit is {entry.unit}, the metric has {metric.unit}"
        elif metric.direction != entry.direction:
            yield f"{entry.key}: {entry.direction} is better, of the metric {metric.direction}"
        elif revisions[key.check] != entry.revision:
            yield f"{entry.key}: revision {entry.revision}, the check has {revisions[key.check]}; learn it again"
