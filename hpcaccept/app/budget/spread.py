"""By how much the units of this cluster differ: as in the latest run like the one that is planned."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept import checks, launch
from hpcaccept.errors import HpcacceptError
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.grouping import alike_of
from hpcaccept.judge.statistics.sensitivity import widths_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder


@dataclass(frozen=True)
class Spread:
    """By how much like units differ.

    Attributes:
        run: that shows it; empty: none does.
        widths: metric key without its variant → relative standard deviations.
    """

    run: str = ""
    widths: dict[str, tuple[float, ...]] = field(default_factory=dict)


def latest_spread(plan: Plan, folders: Sequence[RunFolder]) -> Spread:
    """Of the latest run of the same shape that was collected and has enough like units; else nothing.

    Args:
        plan: of the run to come.
        folders: of earlier runs, the latest last.
    """
    for folder in reversed(folders):
        with contextlib.suppress(HpcacceptError, OSError):
            if folder.run_file.exists() and _shape(folder.read_plan()) == _shape(plan) and (found := _widths(folder)):
                return Spread(folder.run_id, found)
    return Spread()


def _shape(plan: Plan) -> tuple[object, ...]:
    request = plan.request
    return request.gpus, request.ranks_per_node, launch.load(plan.launcher).TRAITS.virtual


def _widths(folder: RunFolder) -> dict[str, tuple[float, ...]]:
    from hpcaccept.store.run_file import read_run

    evidence = read_run(folder.run_file)
    catalogue = checks.catalogue(spec.name for spec in evidence.plan.suite.checks)
    return widths_of(values_of(evidence.samples, catalogue), alike_of(evidence.samples.subjects))
