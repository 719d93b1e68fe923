"""Which entry of a baseline may judge a number, and if none, why not? Unlike things are not compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.baseline import Baseline, BaselineEntry

#: Facts of ``identity`` that decide whether a baseline fits: units that agree in these (and in model and setting) need one look.
KEY_FACTS = (
    "gpu_power_limit_w", "gpu_memory_gib", "ecc_mode", "mig_mode",
    "driver", "cuda", "torch", "nccl", "mpi", "image", "image_digest",
)  # fmt: skip


def fitting_entry(
    baseline: Baseline | None,
    key: str,
    revision: int,
    unit: str,
    setting: str,
    facts: Mapping[str, str],
    *,
    drafts: bool = True,
) -> tuple[BaselineEntry | None, str]:
    """The entry that may judge, with what must be said beside it; or None, with the reason why not.

    Args:
        baseline: of the device model; None when there is none.
        key: metric key.
        revision: of the check's method in this run.
        unit: SI unit of the metric.
        setting: threads and turns of the measured unit.
        facts: of the measured device (``KEY_FACTS``; a fact that is absent is not compared).
        drafts: False where a suite requires a baseline: a draft does not count then.
    """
    if baseline is None:
        return None, "there is no baseline of this model"
    entry = baseline.entries.get(key)
    if entry is None:
        return None, f"the baseline of {baseline.model} has no {key}"
    if entry.unit != unit:
        return None, f"the baseline has it in unit {entry.unit}, this run in {unit}"
    if entry.revision != revision:
        return None, f"the baseline has revision {entry.revision} of the method, this run has {revision}"
    if baseline.provenance.setting != setting:
        return None, f"the baseline was measured with {baseline.provenance.setting}, this run with {setting}"
    return entry, ""
