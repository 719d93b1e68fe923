"""What is published: every table of docs/explanation/detection.md, from fixed seeds, and the same as JSON."""

from __future__ import annotations

import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept.simulate.faults import KINDS, QUIET_KINDS
from hpcaccept.simulate.fleet import Site
from hpcaccept.simulate.links import SCHEMES, Network
from hpcaccept.simulate.score import (
    OURS,
    OURS_PAST,
    Cell,
    Score,
    Share,
    calibration,
    detection_limit,
    score,
    trending,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RATE_KINDS = tuple(name for name, kind in KINDS.items() if kind.of_rate)
MAGNITUDES = (0.02, 0.03, 0.05, 0.07, 0.10, 0.20)
PAST_MAGNITUDES = (0.005, 0.01, 0.02, 0.03)
DISTURBANCES = (0.0, 0.001, 0.003, 0.01)
_SEED = 20261122
#: Share of nodes with a fault, where there are any.
_SHARE = 0.06
_STANDARD = Site(disturbed=0.003)
#: Other fleets: name, site, how many of them.
_OTHERS: tuple[tuple[str, Site, int], ...] = (
    ("8 nodes", replace(_STANDARD, nodes=8), 160),
    ("32 nodes", replace(_STANDARD, nodes=32), 80),
    ("512 nodes", replace(_STANDARD, nodes=512), 10),
    ("4,096 nodes", replace(_STANDARD, nodes=4096), 2),
    ("twice the spread (PCIe, air-cooled)", replace(_STANDARD, preset="PCIe, air-cooled"), 30),
    ("half the spread (liquid-cooled)", replace(_STANDARD, preset="liquid-cooled"), 30),
    ("two firmwares, 30 % of the nodes 1.5 % slower", replace(_STANDARD, firmware=0.3), 30),
    ("heavy tails: units differ by a t(5)", replace(_STANDARD, heavy=True), 30),
)


def measure(fleets: float = 1.0, processes: int = 0) -> dict[str, Any]:
    """All of it, as plain data.

    Args:
        fleets: of each cell, relative to what is published (a tenth tries the tables out).
        processes: 0: one per core, 4 at most.
    """
    jobs: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
    for disturbed in DISTURBANCES:
        site = replace(_STANDARD, disturbed=disturbed)
        jobs[f"healthy {disturbed:g}"] = (_scores, (_cell(site, 0.0, 84, fleets), True))
    for magnitude in MAGNITUDES:
        jobs[f"slower {magnitude:g}"] = (_scores, (_cell(_STANDARD, magnitude, 60, fleets), True))
    for magnitude in (0.0, *PAST_MAGNITUDES):
        cell = replace(_cell(_STANDARD, magnitude, 24 if magnitude else 80, fleets), past=5)
        jobs[f"past {magnitude:g}"] = (_scores, (cell, False))
    for name, site, count in _OTHERS:
        jobs[f"other {name} 0"] = (_scores, (_cell(site, 0.0, count, fleets), False))
        jobs[f"other {name} 0.05"] = (_scores, (_cell(site, 0.05, count, fleets), False))
        jobs[f"other {name} 0.1"] = (_scores, (_cell(site, 0.1, count, fleets), False))
    jobs["calibration"] = (_calibrations, (fleets,))
    jobs["trends"] = (_trends, (fleets,))
    jobs["links"] = (_links, (fleets,))
    # Started anew, not forked: a fork of a process with threads may hang.
    with ProcessPoolExecutor(
        processes or min(4, os.cpu_count() or 1), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        waiting = {name: pool.submit(call, *given) for name, (call, given) in jobs.items()}
        return {name: future.result() for name, future in waiting.items()}


def _cell(site: Site, magnitude: float, count: int, fleets: float) -> Cell:
    seed = _SEED + round(1e4 * magnitude) + site.nodes
    return Cell(site, RATE_KINDS, magnitude, _SHARE, max(1, round(count * fleets)), seed)


def _scores(cell: Cell, rivals: bool) -> dict[str, Any]:
    """Plain data of one cell."""
    return {name: plain(found) for name, found in score(cell, rivals=rivals).items()}


def plain(found: Score) -> dict[str, Any]:
    """A score as JSON has it."""
    low, high = found.false_alarms.interval()
    return {
        "recall": _known(found.recall(found.faulty)),
        "kinds": {
            kind: {"faulty": count, "found": found.found[kind], "named": found.named[kind]}
            for kind, count in sorted(found.faulty.items())
        },
        "healthy": found.healthy,
        "blamed": found.blamed,
        "false_alarms": _known(found.false_alarms.value),
        "false_alarms_95": [low, high],
        "runs": found.runs,
        "clean_runs": found.clean,
        "launches": found.launches,
        "judge_s": round(found.judge_s, 3),
    }


def _known(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _calibrations(fleets: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_SEED)
    runs = max(50, round(2000 * fleets))
    found = [
        calibration(units, 0.05, runs if units < 4096 else runs // 4, rng, heavy=heavy)
        for heavy in (False, True)
        for units in (4, 8, 16, 64, 512, 4096)
    ]
    return [{"units": c.units, "tail": c.tail, "stated": c.stated, **_share(c.real)} for c in found]


def _trends(fleets: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(_SEED)
    units = max(64, round(1024 * fleets))
    asked = [
        ("nothing", 0.0, 0.0),
        *((f"{step:.1%} at once", step, 0.0) for step in (0.005, 0.01, 0.02, 0.05)),
        ("0.05 % more with each run", 0.0, 0.0005),
    ]
    rows = [trending(*given, units, rng) for given in asked]
    return [
        {"what": row.what, "twice": {**_share(row.twice[0]), "delay": _known(row.twice[1])},
         "decline": {**_share(row.slow[0]), "delay": _known(row.slow[1])}}
        for row in rows
    ]  # fmt: skip


def _links(fleets: float) -> list[dict[str, Any]]:
    rows = []
    for nodes in (128, 512):
        for loss, noise in ((0.10, 0.005), (0.05, 0.005), (0.03, 0.01)):
            for name, scheme in SCHEMES.items():
                found = blamed = tests = 0
                networks = max(2, round((40 if nodes == 128 else 10) * fleets))
                for number in range(networks):
                    network = Network.of(nodes, nodes // 32, loss, noise, np.random.default_rng([_SEED, number]))
                    slow = scheme(network)
                    found, blamed = found + int(slow[network.bad].sum()), blamed + int(slow[~network.bad].sum())
                    tests += network.tests
                bad = networks * (nodes // 32)
                rows.append(
                    {"nodes": nodes, "loss": loss, "noise": noise, "scheme": name, "found": found, "of": bad,
                     "blamed": blamed, "healthy": networks * nodes - bad, "pair_tests": tests // networks}
                )  # fmt: skip
    return rows


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval()
    return {"hits": share.hits, "of": share.of, "share": _known(share.value), "interval_95": [low, high]}


def tables(found: Mapping[str, Any]) -> str:
    """Markdown of everything."""
    return "\n\n".join(
        (
            _recall_table(found), _kind_table(found), _healthy_table(found), _past_table(found), _others_table(found),
            _calibration_table(found), _trend_table(found), _link_table(found),
        )
    )  # fmt: skip


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return f"**{title}**\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _recall_table(found: Mapping[str, Any]) -> str:
    healthy = found["healthy 0.003"]
    rows = []
    for name in healthy:
        recalls = {magnitude: found[f"slower {magnitude:g}"][name]["recall"] for magnitude in MAGNITUDES}
        limit = detection_limit(recalls, healthy[name]["false_alarms"])
        low, high = healthy[name]["false_alarms_95"]
        rows.append(
            [name, *(_percent(recall) for recall in recalls.values()),
             f"{_percent(healthy[name]['false_alarms'], 2)} ({_percent(low, 2)} – {_percent(high, 2)})",
             f"{100 * limit:g} %" if math.isfinite(limit) else "none"]
        )  # fmt: skip
    head = ["rule", *(f"{100 * m:g} % slower" for m in MAGNITUDES), "healthy nodes blamed, %", "detection limit"]
    title = "Faults found, in percent, without any history: 128 nodes × 8 GPUs, nine kinds of fault, 0.3 % of launches disturbed"
    return _table(title, head, rows)


def _kind_table(found: Mapping[str, Any]) -> str:
    rows = []
    for name in RATE_KINDS:
        kinds = [found[f"slower {m:g}"][OURS]["kinds"][name] for m in MAGNITUDES]
        named, of = sum(k["named"] for k in kinds), sum(k["found"] for k in kinds)
        shares = [_percent(k["found"] / k["faulty"]) for k in kinds]
        rows.append([KINDS[name].about, *shares, _percent(named / of if of else None)])
    quiet = []
    for magnitude in MAGNITUDES:
        kinds = found[f"slower {magnitude:g}"][OURS]["kinds"]
        quiet.append(_percent(float(np.mean([kinds[k]["found"] / kinds[k]["faulty"] for k in QUIET_KINDS]))))
    rows.append(["*mean of memory, PCIe, NVLink, network*", *quiet, ""])
    head = ["hpcaccept, by kind", *(f"{100 * m:g} %" for m in MAGNITUDES), "nothing else named"]
    return _table("The same for each kind", head, rows)


def _healthy_table(found: Mapping[str, Any]) -> str:
    rows = []
    for disturbed in DISTURBANCES:
        cell = found[f"healthy {disturbed:g}"][OURS]
        low, high = cell["false_alarms_95"]
        rows.append(
            [f"{100 * disturbed:g}", f"{cell['blamed']} of {cell['healthy']:,}", f"{_percent(low, 3)} – {_percent(high, 3)}",
             f"{cell['runs'] - cell['clean_runs']} of {cell['runs']}", f"{cell['launches'] / cell['runs']:.1f}"]
        )  # fmt: skip
    head = [
        "launches disturbed, %",
        "healthy nodes blamed",
        "95 % interval, %",
        "runs that blame anybody",
        "launches per run",
    ]
    return _table("Healthy fleets, retests included (stated: 1 % of runs)", head, rows)


def _past_table(found: Mapping[str, Any]) -> str:
    cells = {magnitude: found[f"past {magnitude:g}"][OURS_PAST] for magnitude in PAST_MAGNITUDES}
    rows = [
        [KINDS[name].about, *(_percent(c["kinds"][name]["found"] / c["kinds"][name]["faulty"]) for c in cells.values())]
        for name in RATE_KINDS
    ]
    rows.append(["**mean of the kinds**", *(_percent(cell["recall"]) for cell in cells.values())])
    healthy = found["past 0"][OURS_PAST]
    title = (
        f"With five earlier runs: faults found in the second run that has them (healthy nodes blamed: "
        f"{healthy['blamed']} of {healthy['healthy']:,})"
    )
    return _table(title, ["kind", *(f"{100 * m:g} %" for m in PAST_MAGNITUDES)], rows)


def _others_table(found: Mapping[str, Any]) -> str:
    rows = []
    for name, _, _ in _OTHERS:
        none, five, ten = (found[f"other {name} {m}"][OURS] for m in ("0", "0.05", "0.1"))
        rows.append(
            [name, f"{none['blamed']} of {none['healthy']:,} ({_percent(none['false_alarms'], 2)} %)", _percent(five["recall"]),
             _percent(ten["recall"]), f"{none['judge_s'] / none['launches']:.2f}"]
        )  # fmt: skip
    head = ["fleet", "healthy nodes blamed", "found at 5 %", "at 10 %", "CPU seconds to judge a launch"]
    return _table("Other fleets (128 nodes where nothing else is said)", head, rows)


def _calibration_table(found: Mapping[str, Any]) -> str:
    rows: dict[int, list[str]] = {}
    for cell in found["calibration"]:
        low, high = cell["interval_95"]
        text = f"{_percent(cell['share'], 1)} ({_percent(low, 1)} – {_percent(high, 1)})"
        rows.setdefault(cell["units"], [f"{cell['units']:,}"]).append(text)
    head = ["like units", "normal noise", "noise with heavy tails, t(5)"]
    title = (
        "Is the stated rate the real one? The cut alone, without floor and retests; stated: 5 % of runs blame anybody"
    )
    return _table(title, head, list(rows.values()))


def _trend_table(found: Mapping[str, Any]) -> str:
    def cell(seen: Mapping[str, Any]) -> str:
        delay = "" if seen["delay"] is None else f", {seen['delay']:g} runs later"
        return f"{_percent(seen['share'], 1)} %{delay}"

    rows = [[row["what"], cell(row["twice"]), cell(row["decline"])] for row in found["trends"]]
    rows[0] = [rows[0][0], *(f"{_percent(found['trends'][0][k]['share'], 1)} % (false)" for k in ("twice", "decline"))]
    head = ["slower by", "step, seen twice", "step or slow decline (CUSUM)"]
    return _table("Series of 60 runs: 0.2 % noise, 1 % of runs disturbed", head, rows)


def _link_table(found: Mapping[str, Any]) -> str:
    cells: dict[str, list[str]] = {}
    columns: list[str] = []
    for row in found["links"]:
        column = f"{row['nodes']} nodes, {100 * row['loss']:g} % slower, {100 * row['noise']:g} % noise"
        columns += [column] if column not in columns else []
        cells.setdefault(row["scheme"], []).append(
            f"{_percent(row['found'] / row['of'])} ({_percent(row['blamed'] / row['healthy'], 2)})"
        )
    title = "Bad adapters by exchanges of two nodes at a time: found in percent (healthy nodes blamed, percent)"
    return _table(title, ["scheme", *columns], [[name, *row] for name, row in cells.items()])
