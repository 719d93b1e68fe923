"""What does the own past make of nights that are not normal? Cells of an independent audit of the judge, measured as it measured them.

Each fleet has one night that is judged against 5 earlier runs, and one against 20. The first five runs are compared with the peers alone; the
others in between are taken as they are measured, but where launches are disturbed, which the judge itself has to sort out.
Everything that says how a fleet varies is in ``NOISES`` and in ``hpcaccept.simulate.fleet``: another fleet is one line more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.detection.nights import told
from hpcaccept.simulate.faults import KINDS, Fault
from hpcaccept.simulate.fleet import SPREADS, Fleet, Site
from hpcaccept.simulate.ours import Memory, run_of

#: The audit's five metrics.
METRICS = ("bf16", "hbm", "h2d", "d2h", "training")
#: Shape → nodes, GPUs of each.
SHAPES = {"4x8": (4, 8), "8x8": (8, 8), "64x8": (64, 8), "512x1": (512, 1)}
#: Earlier runs.
FEW, MANY = 5, 20
_QUIET = Site(disturbed=0.0, missing=0.0, crashed=0.0, run_noise="normal")


@dataclass(frozen=True)
class Noise:
    """How a fleet varies from night to night.

    Attributes:
        site: of the simulated fleet; its nodes and GPUs are those of the cell.
        driver: what a new driver, between the past and the judged night, costs all units, and what it is for each (a standard deviation).
        best_of_three: True where the runs of the past kept the best of three launches, and the judged one has one.
        audit: nights with any WARN or FAIL that the audit found, in percent, and in which fleet; empty: it says nothing of it.
    """

    site: Site
    driver: tuple[float, float] = (0.0, 0.0)
    best_of_three: bool = False
    audit: str = ""


NOISES: dict[str, Noise] = {
    "normal": Noise(_QUIET, audit="4x8: 0.5 (past 5), 1.5 (past 20)"),
    "t(5)": Noise(replace(_QUIET, run_noise="t(5)"), audit="4x8: 28 (past 5), 45 (past 20); 64x8: 63"),
    "t(3)": Noise(replace(_QUIET, run_noise="t(3)")),
    "0.1 % of launches disturbed": Noise(replace(_QUIET, disturbed=0.001), audit="4x8: 13; 64x8: 78"),
    "1 % of launches disturbed": Noise(replace(_QUIET, disturbed=0.01), audit="4x8: 18"),
    "AR(1) 0.5": Noise(replace(_QUIET, memory=0.5)),
    "AR(1) 0.9, twice the noise": Noise(
        replace(_QUIET, memory=0.9, scale=2.0), audit="4x8: 29 (past 5), 100 (past 20), FAIL 3 and 5"
    ),
    "10 % of units 5 x as noisy": Noise(
        replace(_QUIET, restless=0.1), audit="one metric, 32 units: 38 (past 5), 25 (past 20); 512 units: 93, 78"
    ),
    "numbers of three digits": Noise(replace(_QUIET, digits=3)),
    "30 % of the values missing": Noise(replace(_QUIET, missing=0.3), audit="2.0"),
    "all units together, 0.25 % a run": Noise(replace(_QUIET, together=0.0025), audit="1"),
    "all units together, 0.5 % a run": Noise(replace(_QUIET, together=0.005), audit="4"),
    "new driver, -1 %, alike": Noise(_QUIET, driver=(-0.01, 0.0), audit="0"),
    "new driver, -1 %, unlike by 0.3 %": Noise(_QUIET, driver=(-0.01, 0.003), audit="99"),
    "past of the best of three launches": Noise(_QUIET, best_of_three=True, audit="4x8: 87 to 92; 64x8: 100"),
}
#: Losses of one GPU each: kind of fault, the metric that it spoils, how much.
LOSSES = (("memory", "hbm", 0.01), ("power", "bf16", 0.02))
#: Noises in which losses are asked for, and nights that they last.
LOSS_NOISES, LASTING = ("normal", "t(5)", "1 % of launches disturbed", "AR(1) 0.5"), 12
_SEED = 20261130


def healthy_fleets(noise: str, shape: str, first: int, count: int) -> list[dict[str, Any]]:
    """Healthy fleets, one night each against few and against many runs: how many nights have any WARN, any FAIL, and of which question.

    Args:
        noise: of ``NOISES``.
        shape: of ``SHAPES``.
        first: number of the first fleet.
        count: how many.

    Returns:
        One dictionary for 5 and one for 20 earlier runs: ``nights``, ``told``: what → nights, ``launches`` of all nights.
    """
    found = {past: Counter[str]() for past in (FEW, MANY)}
    for number in range(first, first + count):
        for past, seen in _nights(noise, shape, number).items():
            found[past].update(seen)
    return [
        {"noise": noise, "shape": shape, "past": past, "nights": count, "launches": seen.pop("launches", 0),
         "told": dict(seen)}
        for past, seen in found.items()
    ]  # fmt: skip


def _nights(noise: str, shape: str, number: int) -> dict[int, dict[str, int]]:
    how = NOISES[noise]
    nodes, gpus = SHAPES[shape]
    site = replace(how.site, nodes=nodes, gpus=gpus)
    fleet = Fleet(site, np.random.default_rng([_SEED, nodes, gpus, number]))
    memory, seen = Memory(site), {}
    for night in range(1, MANY + 2):
        if night - 1 in (FEW, MANY):
            seen[night - 1] = _judged(fleet, memory, how)
        elif night <= MANY:
            _add(fleet, memory, how, judged=site.disturbed > 0, alone=night <= FEW)
    return seen


def _add(fleet: Fleet, memory: Memory, how: Noise, *, judged: bool, alone: bool) -> None:
    """One more run of the past."""
    environment = "before" if any(how.driver) else ""
    if judged:
        memory.remember(run_of(fleet, [], memory=None if alone else memory, measured=METRICS), environment)
        return
    present = fleet.begin_run()
    launches = [fleet.launch(METRICS, {}) for _ in range(3 if how.best_of_three else 1)]
    memory.fill(launches, present, environment)


def _judged(fleet: Fleet, memory: Memory, how: Noise) -> dict[str, int]:
    """What is told of the next night; it becomes the next run of the past, too."""
    before = dict(fleet.like)
    fleet.move(*how.driver)
    run = run_of(fleet, [], memory=memory, measured=METRICS)
    fleet.like = before
    if not any(how.driver):
        memory.remember(run)
    found = list(told(run.answers))
    past = [one for one in found if one[0] != "peers"]
    return {
        "any": bool(found), "any FAIL": any(failed for *_, failed in found), "past": bool(past),
        "past FAIL": any(failed for *_, failed in past), **{question: 1 for question, *_ in past},
        "launches": run.launches,
    }  # fmt: skip


def lasting_losses(noise: str, past: int, first: int, count: int) -> dict[str, Any]:
    """Fleets of 8x8 in which one GPU loses bandwidth for good, and another one products: in which nights is it a FAIL?

    Args:
        noise: of ``NOISES``.
        past: earlier runs, in which nothing is lost.
        first: number of the first fleet.
        count: how many.

    Returns:
        ``noise``, ``past``, ``fleets``: how many; ``told``: "metric night" → fleets in which, that night, the GPU that has lost in the metric fails in
        anything its fault spoils, and "others night" → fleets in which anything else fails.
    """
    hits: Counter[str] = Counter()
    nodes, gpus = SHAPES["8x8"]
    site, how = replace(NOISES[noise].site, nodes=nodes, gpus=gpus), NOISES[noise]
    for number in range(first, first + count):
        fleet = Fleet(site, np.random.default_rng([_SEED, past, number]))
        memory = Memory(site)
        for night in range(past):
            _add(fleet, memory, how, judged=site.disturbed > 0, alone=night < FEW)
        faults = [Fault(kind, loss, 1 + 3 * i, 2 + i) for i, (kind, _, loss) in enumerate(LOSSES)]
        mine = {
            (SPREADS[name].key, int(row)): metric
            for fault, (_, metric, _) in zip(faults, LOSSES, strict=True)
            for name in KINDS[fault.kind].spoils
            for row in fault.rows(name, site)
        }
        for night in range(1, LASTING + 1):
            run = run_of(fleet, faults, memory=memory, measured=METRICS)
            memory.remember(run)
            failed = {mine.get((key, subject), "others") for _, key, subject, is_fail in told(run.answers) if is_fail}
            hits.update(f"{metric} {night}" for metric in failed)
    return {"noise": noise, "past": past, "fleets": count, "told": dict(hits)}


#: Fleets of each noise, by shape: fewer where the judge has to look at every night.
FLEETS = {"4x8": (400, 200), "8x8": (400, 100), "64x8": (100, 40), "512x1": (100, 40)}
LOSS_FLEETS = 100


def fleets_of(noise: str, shape: str) -> int:
    """How many are simulated."""
    return FLEETS[shape][NOISES[noise].site.disturbed > 0]
