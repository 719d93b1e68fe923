"""Decides whether a rule stops the run. Pure: what was seen and the time come in, the rule and its evidence go out."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.schedule.progress import Looked, Progress, Readings
    from hpcaccept.model.schedule.recipe import MetricRule, StopRules
    from hpcaccept.parse.metric_log import Reading

#: Percent of utilisation up to which a GPU counts as idle.
IDLE_PERCENT = 5.0
#: A wall clock that jumps between two looks adds no more than this where the machine was not the same boot.
_LONGEST_GAP_S = 7 * 86_400.0


@dataclass(frozen=True)
class Stop:
    """A rule that holds.

    Attributes:
        rule: as it is written in run.toml.
        evidence: what was found.
    """

    rule: str
    evidence: str


def passed_s(before: Looked | None, now: Looked) -> float:
    """Seconds between two looks: by the clock that nobody sets within one boot, else by the wall clock, never less than none."""
    if before is None:
        return 0.0
    if before.boot == now.boot:
        return max(now.boottime_s - before.boottime_s, 0.0)
    return min(max(now.at - before.at, 0.0), _LONGEST_GAP_S)


def with_readings(known: Readings, found: Sequence[Reading], rule: MetricRule) -> Readings:
    """What is known of the metric after more readings. Steps that come again (from the last checkpoint) are no new ones."""
    sign = 1.0 if rule.mode == "min" else -1.0
    for each in found:
        count = known.count + 1
        step = each.step if each.step is not None else float(count)
        value = each.value if math.isfinite(each.value) else None
        better = value is not None and (known.best is None or sign * value < sign * known.best - rule.min_delta)
        known = replace(
            known,
            count=count,
            step=max(step, known.step),
            value=value,
            best=value if better else known.best,
            # Before the first finite value the first step counts, so that a run of NaN ends too.
            best_step=step if better or known.count == 0 else known.best_step,
        )
    return known


def with_gpu_use(progress: Progress, samples: Sequence[tuple[float, float]]) -> Progress:
    """What is known of idle GPUs after more samples.

    Args:
        progress: before.
        samples: seconds since the one before, and the highest utilisation of all GPUs in percent.
    """
    idle = progress.idle_s
    for seconds, percent in samples:
        idle = idle + seconds if percent <= IDLE_PERCENT else 0.0
    return replace(progress, idle_s=idle, gpu_seen=progress.gpu_seen or bool(samples))


def stop_of(rules: StopRules, progress: Progress, now: dt.datetime, usd_before: float) -> Stop | None:
    """The first rule that holds; None: none does.

    Args:
        rules: of the recipe.
        progress: up to now.
        now: aware.
        usd_before: cost of earlier attempts.
    """
    if rules.deadline:
        deadline = dt.datetime.fromisoformat(rules.deadline.replace("Z", "+00:00"))
        if now >= deadline:
            return Stop(
                f"deadline {rules.deadline}", f"it is {now.astimezone(deadline.tzinfo).isoformat(timespec='seconds')}"
            )
    if rules.max_hours is not None and progress.ran_s >= rules.max_hours * 3600:
        return Stop(f"max_hours {rules.max_hours:g}", f"it has run for {show_duration(progress.ran_s)}")
    usd = usd_before + progress.usd
    if rules.max_usd is not None and usd >= rules.max_usd:
        return Stop(f"max_usd {rules.max_usd:g}", f"it has cost {usd:.4f} USD")
    if rules.idle_gpu_minutes is not None and progress.idle_s >= rules.idle_gpu_minutes * 60:
        text = f"no GPU was used more than {IDLE_PERCENT:g} % for {show_duration(progress.idle_s)}"
        return Stop(f"idle_gpu_minutes {rules.idle_gpu_minutes:g}", text)
    return _metric_stop(rules.metric, progress.metric) if rules.metric else None


def _metric_stop(rule: MetricRule, known: Readings) -> Stop | None:
    since = known.step - known.best_step
    if not known.count or since < rule.patience:
        return None
    best = (
        "it never was a finite number" if known.best is None else f"best {known.best:.6g} at step {known.best_step:g}"
    )
    last = "not finite" if known.value is None else f"{known.value:.6g}"
    text = f"{best}, none better by more than {rule.min_delta:g} up to step {known.step:g} (last: {last})"
    return Stop(f"metric {rule.name} ({rule.mode}) does not improve for {rule.patience} steps", text)
