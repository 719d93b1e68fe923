"""What is measured for docs/explanation/detection.md? Every cell of its tables, from fixed seeds, as plain data."""

from __future__ import annotations

import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.detection import past_cells
from benchmarks.detection.audit import FAULTS, HEALTHY, audit_fault, audit_healthy
from benchmarks.detection.exact import EXACT, corrupted, exact, slow_fleet
from benchmarks.detection.learned import cells as learned_cells
from benchmarks.detection.links import NODES_PER_LEAF, SCHEMES, Network, ours, slow_links
from benchmarks.detection.nights import FAULT_FLEETS, FAULT_NOISES, FLEETS, NOISES, healthy_nights, losses_told
from hpcaccept.simulate.faults import OTHER_KINDS, RATE_KINDS
from hpcaccept.simulate.fleet import Site
from hpcaccept.simulate.rivals import PAST_RIVALS, RIVALS
from hpcaccept.simulate.score import Cell, Share, calibration, calibration_past, plain, score, trending

if TYPE_CHECKING:
    from collections.abc import Callable

MAGNITUDES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.10, 0.20, 0.50)
PAST_MAGNITUDES = (0.005, 0.01, 0.02, 0.03)
#: Shares of nodes with a fault, of 1,024.
SHARES = (0.001, 0.01, 0.03, 0.1)
#: Chance that a pass is wrong, and numbers of passes.
WRONG, PASSES = (0.1, 0.01, 0.001), (30, 300, 3000)
#: What a whole fleet loses at once, and what a path between two leaf switches loses.
FLEET_LOSSES, PATH_LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.10), (0.1, 0.3, 0.5, 0.6, 0.8)
DISTURBANCES = (0.0, 0.001, 0.003, 0.01)
#: Rules of others that do best with retests, which is asked of them in other fleets too.
BEST_RIVALS = ("modified z −3.5", "boxplot 3")
_SEED = 20261122
#: Fleets of one job.
_PART = 50
#: Share of nodes with a fault, where there are any.
_SHARE = 0.06
_STANDARD = Site(disturbed=0.003)
#: Other fleets: name, site, how many of them.
OTHERS: tuple[tuple[str, Site, int], ...] = (
    ("8 nodes", replace(_STANDARD, nodes=8), 160),
    ("32 nodes", replace(_STANDARD, nodes=32), 80),
    ("512 nodes", replace(_STANDARD, nodes=512), 10),
    ("1,024 nodes", replace(_STANDARD, nodes=1024), 6),
    ("4,096 nodes", replace(_STANDARD, nodes=4096), 2),
    ("twice the spread (PCIe, air-cooled)", replace(_STANDARD, preset="PCIe, air-cooled"), 30),
    ("half the spread (liquid-cooled)", replace(_STANDARD, preset="liquid-cooled"), 30),
    ("two firmwares, 30 % of the nodes 1.5 % slower", replace(_STANDARD, firmware=0.3), 30),
    ("heavy tails: units differ by a t(5)", replace(_STANDARD, heavy=True), 30),
)


def measure(fleets: float = 1.0, processes: int = 0, only: str = "") -> dict[str, Any]:
    """All of it, as plain data.

    Args:
        fleets: of each cell, relative to what is published (a tenth tries the tables out).
        processes: 0: one per core, 4 at most.
        only: beginning of the names of what is measured; empty: everything.
    """
    everybody = tuple(RIVALS)
    jobs: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
    for magnitude in (0.0, *PAST_MAGNITUDES):
        cell = replace(_cell(_STANDARD, magnitude, 32 if magnitude else 84, fleets), past=5)
        jobs[f"past {magnitude:g}"] = (_scores, (cell, tuple(PAST_RIVALS)))
    for disturbed in DISTURBANCES:
        site = replace(_STANDARD, disturbed=disturbed)
        jobs[f"healthy {disturbed:g}"] = (
            _scores,
            (_cell(site, 0.0, 84, fleets), everybody if disturbed == _STANDARD.disturbed else ()),
        )
    for magnitude in MAGNITUDES:
        jobs[f"slower {magnitude:g}"] = (_scores, (_cell(_STANDARD, magnitude, 60, fleets), everybody))
        cell = replace(_cell(_STANDARD, magnitude, 12, fleets), kinds=OTHER_KINDS)
        jobs[f"other kinds {magnitude:g}"] = (_scores, (cell, ()))
    for share in SHARES:
        cell = replace(_cell(replace(_STANDARD, nodes=1024), 0.07, 9 if share < 0.01 else 2, fleets), share=share)
        jobs[f"share {share:g}"] = (_scores, (cell, ()))
    for name, site, count in OTHERS:
        jobs[f"other {name} 0"] = (_scores, (_cell(site, 0.0, count, fleets), BEST_RIVALS))
        jobs[f"other {name} 0.05"] = (_scores, (_cell(site, 0.05, count, fleets), BEST_RIVALS))
        jobs[f"other {name} 0.1"] = (_scores, (_cell(site, 0.1, count, fleets), BEST_RIVALS))
    for nodes, count in FLEETS.items():
        for noise in NOISES:
            for number in range(max(1, round(count * fleets))):
                jobs[f"nights {nodes} {noise} {number}"] = (healthy_nights, (noise, nodes, number))
    for noise in FAULT_NOISES:
        for number in range(max(1, round(FAULT_FLEETS * fleets))):
            jobs[f"losses {noise} {number}"] = (losses_told, (noise, number))
    for noise in past_cells.NOISES:
        for shape in past_cells.SHAPES:
            for first, count in _parts(past_cells.fleets_of(noise, shape), fleets):
                given = (noise, shape, first, count)
                jobs[f"past-cells {shape} {noise} {first}"] = (past_cells.healthy_fleets, given)
    for noise in past_cells.LOSS_NOISES:
        for past in (past_cells.FEW, past_cells.MANY):
            for first, count in _parts(past_cells.LOSS_FLEETS, fleets):
                jobs[f"past-cells losses {noise} {past} {first}"] = (
                    past_cells.lasting_losses,
                    (noise, past, first, count),
                )
    jobs |= {f"audit healthy {name}": (audit_healthy, (name, fleets)) for name in HEALTHY}
    jobs |= {f"audit fault {name}": (audit_fault, (name, fleets)) for name in FAULTS}
    jobs |= learned_cells(fleets)
    jobs["calibration"] = (_calibrations, (fleets,))
    jobs["trends"] = (_trends, (fleets,))
    jobs["links"] = (_links, (fleets,))
    jobs["paths"] = (_paths, (fleets,))
    jobs["exact"] = (_exact, (fleets,))
    jobs["wrong"] = (_wrong, (fleets,))
    jobs["slow fleets"] = (_slow_fleets, (fleets,))
    # Started anew, not forked: a fork of a process with threads may hang.
    with ProcessPoolExecutor(
        processes or min(4, os.cpu_count() or 1), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        waiting = {name: pool.submit(call, *given) for name, (call, given) in jobs.items() if name.startswith(only)}
        return {name: future.result() for name, future in waiting.items()}


def _parts(count: int, fleets: float) -> list[tuple[int, int]]:
    """First number and number of fleets of each job."""
    count = max(1, round(count * fleets))
    return [(first, min(_PART, count - first)) for first in range(0, count, _PART)]


def _cell(site: Site, magnitude: float, count: int, fleets: float) -> Cell:
    seed = _SEED + round(1e4 * magnitude) + site.nodes
    return Cell(site, RATE_KINDS, magnitude, _SHARE, max(1, round(count * fleets)), seed)


def _scores(cell: Cell, rivals: tuple[str, ...]) -> dict[str, Any]:
    """Plain data of one cell."""
    found = score(cell, rivals=rivals)
    # Kinds one by one of ours alone: of 29 rules they are what makes the file long.
    return {name: plain(one, kinds=not number) for number, (name, one) in enumerate(found.items())}


def _known(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _calibrations(fleets: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_SEED)
    runs = max(50, round(2000 * fleets))
    peers = [
        ("peers", calibration(subjects, 0.05, runs if subjects < 4096 else runs // 4, rng, heavy=heavy))
        for heavy in (False, True)
        for subjects in (3, 4, 8, 16, 64, 512, 4096)
    ]
    past = [
        ("past", calibration_past(subjects, 5, 0.05, runs // 4, rng, heavy=heavy))
        for heavy in (False, True)
        for subjects in (16, 64, 512)
    ]
    wild = [
        ("wild peers", calibration(subjects, 0.05, runs // 2, rng, heavy=heavy, floor=0.04, noise=0.02))
        for heavy in (False, True)
        for subjects in (4, 8, 16, 64, 512)
    ]
    return [
        {"against": against, "subjects": c.subjects, "tail": c.tail, "stated": c.stated, **_share(c.real)}
        for against, c in (*peers, *past, *wild)
    ]


def _trends(fleets: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_SEED)
    subjects = max(64, round(1024 * fleets))
    asked = [
        ("nothing", 0.0, 0.0),
        *((f"{step:.1%} at once", step, 0.0) for step in (0.005, 0.01, 0.02, 0.05)),
        ("0.05 % more with each run", 0.0, 0.0005),
    ]
    rows = [trending(*given, subjects, rng) for given in asked]
    return [
        {"what": row.what, "twice": {**_share(row.twice[0]), "delay": _known(row.twice[1])},
         "decline": {**_share(row.slow[0]), "delay": _known(row.slow[1])},
         **{name: {**_share(seen), "delay": _known(delay)} for name, (seen, delay) in row.others.items()}}
        for row in rows
    ]  # fmt: skip


#: Nodes, how many of them are bad, their loss, the noise of a test, and whether the bad ones are side by side.
NETWORKS = (
    (128, 4, 0.10, 0.005, False), (128, 4, 0.05, 0.005, False), (128, 4, 0.03, 0.01, False), (128, 16, 0.05, 0.005, True),
    (512, 16, 0.03, 0.01, False), (512, 52, 0.03, 0.01, False),
)  # fmt: skip


def _links(fleets: float) -> list[dict[str, Any]]:
    rows = []
    for nodes, count, loss, noise, together in NETWORKS:
        for name, scheme in SCHEMES.items():
            found = blamed = tests = rounds = 0
            networks = max(2, round((40 if nodes == 128 else 8) * fleets))
            for number in range(networks):
                rng = np.random.default_rng([_SEED, number])
                network = Network.of(nodes, count, loss, noise, rng, side_by_side=together)
                slow = scheme(network)
                found, blamed = found + int(slow[network.bad].sum()), blamed + int(slow[~network.bad].sum())
                tests, rounds = tests + network.tests, rounds + network.rounds
            healthy = networks * (nodes - count)
            rows.append(
                {"nodes": nodes, "bad": count, "loss": loss, "noise": noise, "side_by_side": together, "scheme": name,
                 "found": found, "of": networks * count, "blamed": blamed, "healthy": healthy,
                 "pair_tests": tests // networks, "rounds": rounds // networks}
            )  # fmt: skip
    return rows


def _paths(fleets: float) -> list[dict[str, Any]]:
    """One bad path between two of eight leaf switches."""
    rows = []
    networks = max(2, round(40 * fleets))
    for loss in PATH_LOSSES:
        found = wrong = nodes = 0
        for number in range(networks):
            network = Network.of(8 * NODES_PER_LEAF, 0, 0.0, 0.005, np.random.default_rng([_SEED, number]))
            one, other = network.rng.permutation(8)[:2].tolist()
            network.between = (one, other, loss)
            named = [{int(network.leaf[a]), int(network.leaf[b])} == {one, other} for a, b in slow_links(network)]
            found += any(named)
            wrong += not all(named)
            nodes += int(ours(network).sum())
        rows.append({"loss": loss, "found": found, "of": networks, "others_named": wrong, "nodes_blamed": nodes})
    return rows


def _exact(fleets: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_SEED)
    rows = []
    for fault in EXACT:
        seen = exact(fault, max(2, round(40 * fleets)), rng)
        rows.append(
            {"what": fault.about, "key": fault.key, "failed": seen.failed, "warned": seen.warned, "of": seen.faulty,
             "blamed": seen.blamed, "healthy": seen.healthy}
        )  # fmt: skip
    return rows


def _wrong(fleets: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_SEED)
    gpus = max(64, round(1024 * fleets))
    return [
        {"chance": chance, "passes": passes, **_share(Share(corrupted(chance, passes, gpus, rng), gpus))}
        for chance in (0.0, *WRONG)
        for passes in PASSES
    ]


def _slow_fleets(fleets: float) -> list[dict[str, Any]]:
    site = replace(_STANDARD, disturbed=0.0, crashed=0.0, missing=0.0)
    rows = []
    for loss in FLEET_LOSSES:
        runs = [
            slow_fleet(loss, site, np.random.default_rng([_SEED, number]))
            for number in range(max(2, round(8 * fleets)))
        ]
        nodes = len(runs) * site.nodes
        rows.append({"loss": loss, "peers": sum(p for p, _ in runs), "baseline": sum(b for _, b in runs), "of": nodes})
    return rows


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval()
    return {"hits": share.hits, "of": share.of, "share": _known(share.value), "interval_95": [low, high]}
