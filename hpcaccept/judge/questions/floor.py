"""Finds wrecks: a coarse floor, a share of the physical peak, stands under every rate whose peak is known.

It needs no peers, no baseline and no past, and finds what runs at a hundredth of what the part can do. What is merely slow it
does not find: that is what the other questions are for.

The shares are less than half of the lowest figure that is published for a healthy part:

* products: 73 to 87 % of the peak on data-centre parts, 73 to 110 % on consumer cards (stas00, ml-engineering, accelerator benchmarks),
  26 % of an A10 in FP32 at its 150 W (NVIDIA DCGM, ``diag-skus.yaml.in``). A part that is capped to a third of its power gives more than a
  third of its rate.
* device memory: 74 to 92 % of the peak (DCGM; SuperBench's fleet of A100).
* links: 80 to 92 % of nominal PCIe and NVLink (SuperBench; AzNHC's limits); a card in a slot of four lanes of sixteen reaches 22 %.

* rates that no data sheet states (a burn's products, images and tokens per second) stand on the peak of the products that they are made
  of, with a share that their metric declares (``model.metric.OtherPeak``).

In MIG mode a device may be the smallest slice: one of seven parts of the SMs, one of eight of the memory (NVIDIA MIG User Guide).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpcaccept.judge.baseline.match import KEY_FACTS
from hpcaccept.judge.questions.baseline import kinds_of, rows_by_kind
from hpcaccept.judge.questions.limits import held_against
from hpcaccept.model.baseline import peak_of, stands_for
from hpcaccept.model.metric import Limit
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.baseline import Baseline, Peak
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn

#: Share of the peak: of products, of the device's own memory, of everything that goes over a link.
PRODUCTS, MEMORY, LINKS = 0.10, 0.25, 0.10
_SMALLEST_SLICE = 1 / 8


def judge_against_floor(
    evidence: Evidence, values: Sequence[Values], baselines: Mapping[str, Baseline]
) -> list[JudgedColumn]:
    """An answer per rate and kind of subject of which a peak is known: PASS or FAIL."""
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    params = {spec.name: spec.params for spec in evidence.plan.suite.checks}
    kinds, kind = kinds_of(evidence, bool(baselines))
    answers = []
    for column in values:
        if not column.metric.is_rate or column.metric.direction != "higher":
            continue
        for number, rows in rows_by_kind(kind[column.subject]):
            model, _, facts = kinds[number]
            found = _peak_under(column, baselines.get(model), params.get(column.check, {}))
            if found is None:
                continue
            peak, healthy = found
            sliced = dict(zip(KEY_FACTS, facts, strict=False)).get("mig_mode", "").startswith("enabled")
            share = healthy * (_SMALLEST_SLICE if sliced else 1.0)
            source = (
                f"coarse floor, {share:.3g} of the peak {show(peak.value, peak.unit)} of {model}"
                f"{', in MIG mode' if sliced else ''} ({peak.source})"
            )
            limit = Limit(share * peak.value, None, peak.unit, "floor", source)
            needed = required.get(column.check, True)
            answer = held_against("limits", column, rows, limit, required=needed)
            answers.append(replace(answer, compared="coarse floor"))
    return answers


def _peak_under(column: Values, baseline: Baseline | None, params: Mapping[str, Any]) -> tuple[Peak, float] | None:
    """The peak of a rate and the smallest healthy share of it: its own, or one of another rate that it follows from."""
    own = peak_of(baseline, column.key)
    if own is not None:
        return (own, share_of_peak(column.parts.check, own.unit)) if own.unit == column.metric.unit else None
    for other in column.metric.other_peaks:
        if not stands_for(other.variants, column.variant) or any(params.get(name) for name in other.unless):
            continue
        key = MetricKey.parse(other.key)
        # What the suite leaves to the check (an empty text, 0) is what the declaration names.
        key = replace(key, variant=str(params.get(other.param) or key.variant))
        peak = peak_of(baseline, str(key))
        if peak is None:
            return None
        source = peak.source
        if other.operations != 1.0:
            source = f"{show(peak.value, peak.unit)} by {other.operations:.3g} operations each; {source}"
        value = peak.value / other.operations
        return replace(peak, key=column.key, unit=column.metric.unit, value=value, source=source), other.share
    return None


def share_of_peak(check: str, unit: str) -> float:
    """Smallest share of its peak that a healthy part may reach.

    Args:
        check: that measured it.
        unit: SI unit of the rate.
    """
    if unit == "FLOP/s":
        return PRODUCTS
    return MEMORY if check == "memory_bandwidth" else LINKS
