"""How do the numbers read? Those of ``benchmarks.detection.measure`` as the tables of docs/explanation/detection.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.detection import audit, past_cells
from benchmarks.detection.bounds import bounds
from benchmarks.detection.learned import DECLINED, DECLINING, FROM, LOSSES, METRICS
from benchmarks.detection.measure import BEST_RIVALS, DISTURBANCES, MAGNITUDES, OTHERS, PAST_MAGNITUDES, SHARES
from benchmarks.detection.nights import (
    ASKED_AFTER,
    EACH_NIGHT,
    FAULT_NOISES,
    FAULTS,
    FLEETS,
    NOISES,
    QUESTIONS,
    SUDDEN,
    share_of_nights,
)
from hpcaccept.simulate.again import RETESTED
from hpcaccept.simulate.faults import KINDS, OTHER_KINDS, QUIET_KINDS, RATE_KINDS
from hpcaccept.simulate.score import OURS, OURS_PAST, Share, detection_limit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.detection.fleets import Fault, Shape


#: Nights of a lasting loss that are shown.
_SEEN_IN = (1, 2, 3, 6, past_cells.LASTING)


def tables(found: Mapping[str, Any]) -> str:
    """Markdown of everything."""
    return "\n\n".join(
        (
            *_audit_tables(found), _recall_table(found), _equal_table(found), _kind_table(found), _share_table(found), _healthy_table(found),
            _past_table(found), _past_rivals_table(found),
            _nights_table(found), _losses_table(found), _past_cells_table(found), _lasting_table(found), _others_table(found), _exact_table(found), _wrong_table(found),
            _slow_fleet_table(found), *_learned_tables(found), _calibration_table(found), _trend_table(found), _link_table(found), _path_table(found),
        )
    )  # fmt: skip


def _audit_tables(found: Mapping[str, Any]) -> list[str]:
    """Healthy fleets and faults of ``fleets``, beside what the audit found; none where they were not measured."""
    healthy, faults = [], []
    for name in audit.HEALTHY:
        if one := found.get(f"audit healthy {name}"):
            counts = [_of_runs(one[what], one["runs"]) for what in ("failed", "warned", "undecided", "doubted")]
            healthy.append([name, f"{one['runs']}", one["audit"], *counts])
    for name, (shape, fault, *_) in audit.FAULTS.items():
        if one := found.get(f"audit fault {name}"):
            counts = [_of_runs(one[what], one["runs"]) for what in ("found", "told", "failed")]
            faults.append([name, f"{one['runs']}", one["audit"], *counts, _bounds(shape, fault)])
    if not healthy or not faults:
        return []
    return [
        _table(
            "Healthy fleets of every shape (benchmarks/detection/fleets.py), compared with their peers, retests included: runs in percent "
            "(the report states 1 % for normal noise)",
            [
                "fleet",
                "runs",
                "any FAIL: audit of c6778dc",
                "any FAIL",
                "WARN and no FAIL",
                "anybody undecided",
                "the report says that the rate does not hold",
            ],
            healthy,
        ),
        _table(
            "Faults in such fleets of five metrics: runs in percent",
            [
                "fault",
                "runs",
                "FAIL: audit of c6778dc",
                "FAIL of all that have it",
                "FAIL, WARN or undecided",
                "a FAIL of anybody else",
                "tests by the book: the run alone … the width known",
            ],
            faults,
        ),
    ]


def _of_runs(hits: int, runs: int) -> str:
    return f"{_percent(hits / runs, 1)} ({_between(Share(hits, runs).interval(), 1)})"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return f"**{title}**\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _between(interval: Sequence[float], digits: int = 0) -> str:
    return f"{_percent(interval[0], digits)} – {_percent(interval[1], digits)}"


def _share_of(cell: Mapping[str, Any], kind: str) -> float | None:
    """Of the faults of a kind that were found; None where the cell had none."""
    counts = cell["kinds"].get(kind)
    return counts["found"] / counts["faulty"] if counts else None


def _of(hits: int, of: int) -> str:
    """Percent, with the 95 % interval: what is simulated is a sample."""
    return f"{_percent(hits / of)} ({_between(Share(hits, of).interval())})" if of else "–"


def _slower() -> list[str]:
    return [f"{100 * m:g} % slower" for m in MAGNITUDES]


def _rule_rows(found: Mapping[str, Any], names: Sequence[str]) -> list[list[str]]:
    healthy = found["healthy 0.003"]
    rows = []
    for name in names:
        recalls = {magnitude: found[f"slower {magnitude:g}"][name]["recall"] for magnitude in MAGNITUDES}
        limit = detection_limit(recalls, healthy[name]["false_alarms"])
        blamed = f"{_percent(healthy[name]['false_alarms'], 2)} ({_between(healthy[name]['false_alarms_95'], 2)})"
        reach = f"{100 * limit:g} %" if math.isfinite(limit) else "none"
        rows.append([name, *(_percent(recall) for recall in recalls.values()), blamed, reach])
    return rows


def _bounds(shape: Shape, fault: Fault) -> str:
    if fault.whole:
        return "–"
    known, alone = bounds(shape, fault)
    return f"{100 * alone:.0f} … {100 * known:.0f}"


def _recall_table(found: Mapping[str, Any]) -> str:
    names = [name for name in found["healthy 0.003"] if not name.endswith(RETESTED)]
    bounds = [found[f"slower {m:g}"][OURS]["recall_95"] for m in MAGNITUDES]
    rows = _rule_rows(found, names)
    rows.insert(1, ["*its 95 % interval*", *(_between(pair) for pair in bounds), "", ""])
    head = ["rule", *_slower(), "healthy nodes blamed, %", "detection limit"]
    title = (
        "Faults found, in percent, without any history: 128 nodes × 8 GPUs, nine kinds of fault, 0.3 % of launches disturbed, "
        f"{found['healthy 0.003'][OURS]['healthy']:,} healthy nodes. Rules of others as they are: one launch"
    )
    return _table(title, head, rows)


def _equal_table(found: Mapping[str, Any]) -> str:
    names = [name for name in found["healthy 0.003"] if name == OURS or name.endswith(RETESTED)]
    head = ["rule", *_slower(), "healthy nodes blamed, %", "detection limit"]
    title = "On equal terms: each rule is given the retests that hpcaccept has, the best of up to three launches counts"
    return _table(title, head, _rule_rows(found, names))


def _kind_table(found: Mapping[str, Any]) -> str:
    rows = []
    for name in (*RATE_KINDS, *OTHER_KINDS):
        cell = "slower" if name in RATE_KINDS else "other kinds"
        cells = [found[f"{cell} {m:g}"][OURS] for m in MAGNITUDES]
        kinds = [one["kinds"][name] for one in cells if name in one["kinds"]]
        named, of = sum(k["named"] for k in kinds), sum(k["found"] for k in kinds)
        shares = [_percent(_share_of(one, name)) for one in cells]
        about = KINDS[name].about + ("" if name in RATE_KINDS else " (in no mean)")
        rows.append([about, *shares, _percent(named / of if of else None)])
    quiet = []
    for magnitude in MAGNITUDES:
        shares_of = [_share_of(found[f"slower {magnitude:g}"][OURS], kind) for kind in QUIET_KINDS]
        quiet.append(_percent(float(np.mean([share for share in shares_of if share is not None]))))
    rows.append(["*mean of memory, PCIe, NVLink, network*", *quiet, ""])
    fewest = min(k["faulty"] for m in MAGNITUDES for k in found[f"slower {m:g}"][OURS]["kinds"].values())
    low, _ = Share(fewest, fewest).interval()
    head = ["hpcaccept, by kind", *(f"{100 * m:g} %" for m in MAGNITUDES), "nothing else named"]
    title = f"The same for each kind (100 of the fewest, {fewest} faults, means {_percent(low)} to 100)"
    return _table(title, head, rows)


def _share_table(found: Mapping[str, Any]) -> str:
    rows = []
    for share in SHARES:
        cell = found[f"share {share:g}"][OURS]
        rows.append(
            [f"{100 * share:g}", f"{_percent(cell['recall'])} ({_between(cell['recall_95'])})",
             f"{cell['blamed']} of {cell['healthy']:,}"]
        )  # fmt: skip
    head = ["nodes with a fault, %", "found at 7 %", "healthy nodes blamed"]
    return _table("However many are faulty: 1,024 nodes, each rack of 16 that is hot counted as one", head, rows)


def _healthy_table(found: Mapping[str, Any]) -> str:
    rows = []
    for disturbed in DISTURBANCES:
        cell = found[f"healthy {disturbed:g}"][OURS]
        rows.append(
            [f"{100 * disturbed:g}", f"{cell['blamed']} of {cell['healthy']:,}", _between(cell["false_alarms_95"], 3),
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
    rows = [[KINDS[name].about, *(_percent(_share_of(cell, name)) for cell in cells.values())] for name in RATE_KINDS]
    means = (f"{_percent(cell['recall'])} ({_between(cell['recall_95'])})" for cell in cells.values())
    rows.append(["**mean of the kinds** (95 %)", *means])
    title = "With five earlier runs: faults found, in percent, in the second run that has them"
    return _table(title, ["kind", *(f"{100 * m:g} %" for m in PAST_MAGNITUDES)], rows)


def _past_rivals_table(found: Mapping[str, Any]) -> str:
    rows = []
    for name, healthy in found["past 0"].items():
        recalls = [_percent(found[f"past {m:g}"][name]["recall"]) for m in PAST_MAGNITUDES]
        blamed = f"{_percent(healthy['false_alarms'], 2)} ({_between(healthy['false_alarms_95'], 2)})"
        rows.append([name, *recalls, blamed])
    head = ["rule", *(f"{100 * m:g} %" for m in PAST_MAGNITUDES), "healthy nodes blamed, %"]
    title = (
        f"The own past in other hands: each unit's median and MAD of five runs, one launch a run "
        f"({found['past 0'][OURS_PAST]['healthy']:,} healthy nodes)"
    )
    return _table(title, head, rows)


def _nights_table(found: Mapping[str, Any]) -> str:
    rows = []
    for nodes in FLEETS:
        for noise in NOISES:
            fleets = [one for name, one in found.items() if name.startswith(f"nights {nodes} {noise} ")]
            if not fleets:
                continue
            shares = [share_of_nights(fleets, what) for what in (*QUESTIONS, "any of the past", "FAIL by the past")]
            cells = [f"{_percent(one['share'], 1)} ({_between(one['interval_95'], 1)})" for one in shares]
            rows.append([f"{nodes:,}", noise, f"{shares[0]['of']:,}", *cells])
    head = ["nodes", "noise from night to night", "nights", *QUESTIONS, "any of the past", "a FAIL by the past"]
    title = (
        "Night after night: healthy fleets of 8 GPUs a node, nine metrics, judged against 5 to 20 nights of their own; nights with any WARN or "
        "FAIL, in percent (stated: 1 for all questions together)"
    )
    return _table(title, head, rows)


def _losses_table(found: Mapping[str, Any]) -> str:
    rows = []
    for noise in FAULT_NOISES:
        fleets = [one["told"] for name, one in found.items() if name.startswith(f"losses {noise} ")]
        for kind in FAULTS if fleets else ():
            for loss in (*SUDDEN, EACH_NIGHT):
                cells = []
                for after in ASKED_AFTER:
                    told, failed = (
                        sum(one.get(f"{kind} {loss:g} {after}{word}", 0) for one in fleets) / len(fleets)
                        for word in ("", " FAIL")
                    )
                    cells.append(f"{_percent(told)} / {_percent(failed)}")
                size = f"{loss:.1%} at once" if loss != EACH_NIGHT else f"{loss:.1%} more each night"
                rows.append([noise, KINDS[kind].about, size, *cells])
    head = ["noise from night to night", "fault", "loss", *(f"night {after}" for after in ASKED_AFTER)]
    count = sum(name.startswith(f"losses {FAULT_NOISES[0]} ") for name in found)
    title = f"How soon a loss is told: percent of {count} faults each that are a WARN or FAIL, and a FAIL, in such a night (256 nodes, 20 healthy nights before)"
    return _table(title, head, rows)


def _past_cells_table(found: Mapping[str, Any]) -> str:
    rows = []
    for noise, how in past_cells.NOISES.items():
        for shape in past_cells.SHAPES:
            parts = [one for name, one in found.items() if name.startswith(f"past-cells {shape} {noise} ")]
            if not parts:
                continue
            cells = []
            for number in (0, 1):
                mine = [part[number] for part in parts]
                nights = sum(one["nights"] for one in mine)
                for what in ("past", "past FAIL", "any", "any FAIL"):
                    share = Share(sum(one["told"].get(what, 0) for one in mine), nights)
                    cells.append(f"{_percent(share.value, 1)} ({_between(share.interval(), 1)})")
                launches = sum(one["launches"] for one in mine)
            rows.append([noise, shape, str(nights), *cells, f"{launches / nights:.2f}", how.audit])
    each = ("WARN or FAIL by the past", "FAIL by it", "any WARN or FAIL", "any FAIL")
    head = ["noise", "nodes x GPUs", "nights each", *(f"{runs} runs: {what}" for runs in (past_cells.FEW, past_cells.MANY) for what in each),
            f"launches a night ({past_cells.MANY} runs)", "the audit, before: any WARN or FAIL"]  # fmt: skip
    title = "Healthy nights of the audit's fleets, five metrics, judged against 5 and 20 earlier runs; nights in percent, with their 95 % intervals"
    return _table(title, head, rows)


def _lasting_table(found: Mapping[str, Any]) -> str:
    rows = []
    for noise in past_cells.LOSS_NOISES:
        for past in (past_cells.FEW, past_cells.MANY):
            parts = [one for name, one in found.items() if name.startswith(f"past-cells losses {noise} {past} ")]
            for _, metric, loss in past_cells.LOSSES if parts else ():
                fleets = sum(one["fleets"] for one in parts)
                shares = [
                    _of(sum(one["told"].get(f"{metric} {night}", 0) for one in parts), fleets) for night in _SEEN_IN
                ]
                rows.append([noise, str(past), f"{metric}, {loss:.0%}", *shares])
    head = ["noise", "runs before", "one GPU loses", *(f"night {night}" for night in _SEEN_IN)]
    return _table(
        "A loss for good, 8x8: GPUs that are a FAIL in such a night, in percent, until a person accepts it", head, rows
    )


def _others_table(found: Mapping[str, Any]) -> str:
    rows = []
    for name, _, _ in OTHERS:
        none, five, ten = (found[f"other {name} {m}"][OURS] for m in ("0", "0.05", "0.1"))
        rows.append(
            [name, f"{none['blamed']} of {none['healthy']:,} ({_between(none['false_alarms_95'], 2)} %)",
             *(f"{_percent(cell['recall'])} ({_between(cell['recall_95'])})" for cell in (five, ten)),
             *(_beside(found, name, rival + RETESTED) for rival in BEST_RIVALS),
             f"{none['judge_s'] / none['launches']:.2f}"]
        )  # fmt: skip
    head = [
        "fleet", "healthy nodes blamed", "found at 5 %", "at 10 %", *(f"{rival}, retested: found at 5 % (blamed)" for rival in BEST_RIVALS),
        "CPU seconds to judge a launch",
    ]  # fmt: skip
    return _table("Other fleets (128 nodes where nothing else is said)", head, rows)


def _beside(found: Mapping[str, Any], fleet: str, rival: str) -> str:
    """Recall at 5 %, and the share of healthy nodes that are blamed."""
    five, none = (found[f"other {fleet} {m}"][rival] for m in ("0.05", "0"))
    return f"{_percent(five['recall'])} ({_percent(none['false_alarms'], 2)})"


def _exact_table(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found["exact"]:
        said = "FAIL" if row["failed"] else "WARN" if row["warned"] else "nothing: measured, not judged"
        rows.append(
            [row["what"], f"`{row['key']}`", said, _of(row["failed"] or row["warned"], row["of"]),
             f"{row['blamed']} of {row['healthy']:,}"]
        )  # fmt: skip
    head = ["fault", "named by", "verdict", "found, %", "healthy nodes blamed"]
    return _table("What counters, flags and facts show: 16 nodes × 8 GPUs, one fault each", head, rows)


def _wrong_table(found: Mapping[str, Any]) -> str:
    passes = list(dict.fromkeys(row["passes"] for row in found["wrong"]))
    rows: dict[float, list[str]] = {}
    for row in found["wrong"]:
        cells = rows.setdefault(row["chance"], ["healthy" if not row["chance"] else f"{row['chance']:g} of the passes"])
        cells.append(_of(row["hits"], row["of"]))
    bounds = [
        "*said where nothing was wrong: of the passes are wrong at most*",
        *(f"{3 / number:g}" for number in passes),
    ]
    head = ["a GPU that is wrong in", *(f"{number:,} passes" for number in passes)]
    return _table(
        "Wrong results now and then: GPUs that `burn.wrong_elements` blames, in percent", head, [*rows.values(), bounds]
    )


def _slow_fleet_table(found: Mapping[str, Any]) -> str:
    rows = [
        [f"{100 * row['loss']:g} %", _of(row["peers"], row["of"]), _of(row["baseline"], row["of"])]
        for row in found["slow fleets"]
    ]
    head = ["all units slower by", "nodes blamed by their peers, %", "by a baseline learned from the fleet before, %"]
    return _table("A fleet that is slow as a whole: undisturbed launches", head, rows)


#: Failing runs, of the same units again and of new ones, that an audit of 28 November 2026 saw while k was 4 (family, metrics, learned, judged).
_AUDIT = {
    ("x1", 30, (64, 8), "the same"): "25",
    ("x1", 30, (4, 1), "16 x 8"): "47",
    ("x1.5", 30, (4, 1), "16 x 8"): "100",
}


def _learned_tables(found: Mapping[str, Any]) -> list[str]:
    """Of the cells that were measured; none where there is none."""
    if not any(name.startswith("learned ") for name in found):
        return []
    return [_learned_healthy_table(found), _learned_found_table(found), _learned_again_table(found)]


def _learned_healthy_table(found: Mapping[str, Any]) -> str:
    judged = ["the same", "16 x 8", "64 x 8", "1,024 x 8"]
    rows = []
    for name, cell in found.items():
        if not name.startswith("learned healthy "):
            continue
        shares = {
            row[
                "judged"
            ]: f"{_percent(row['blamed'] / row['of'], 1)} ({_between(Share(row['blamed'], row['of']).interval(), 1)})"
            for row in cell["rows"]
        }
        audited = [
            f"{text} ({there})"
            for (family, metrics, learned, there), text in _AUDIT.items()
            if (family, metrics, list(learned), 1)
            == (cell["family"], cell["metrics"], cell["learned"], cell["learned_runs"])
        ]
        rows.append(
            [f"{cell['learned'][0]} x {cell['learned'][1]}", str(cell["learned_runs"]), cell["family"], str(cell["metrics"]),
             *(shares.get(there, "") for there in judged), f"{cell['limit']:.2f} ({cell['limit_95']:.2f})", "; ".join(audited)]
        )  # fmt: skip
    head = [
        "learned from", "runs", "units", "metrics", "the same units again", *(f"new units, {there}" for there in judged[1:]),
        "limit / floor (95 %)", "before, audit",
    ]  # fmt: skip
    title = (
        "Learned baselines: healthy runs in which anybody is a FAIL or WARN of the baseline, in percent, with 95 % intervals (stated: 0.25; one launch, no retests). "
        "Units of x1 differ by a quarter of the floor, of x1.5 and x2 by so much more, of t(5) by a t with the standard deviation of x1"
    )
    return _table(title, head, rows)


def _learned_found_table(found: Mapping[str, Any]) -> str:
    rows = []
    for metrics in METRICS:
        for learned in FROM:
            cell = found.get(f"learned found x1 {learned[0]}x{learned[1]} M{metrics}")
            if cell is not None:
                shares = [
                    _of(cell["found"][f"{name} {loss:g}"], cell["of"]) for name in ("triad", "bf16") for loss in LOSSES
                ]
                rows.append([f"{learned[0]} x {learned[1]}", str(metrics), *shares])
    head = ["learned from", "metrics", *(f"{name}, {100 * loss:g} %" for name in ("triad", "bf16") for loss in LOSSES)]
    title = "Learned baselines: GPUs of a fleet of 64 x 8 (x1, new units) that are a FAIL of the baseline when they are slower in one metric, in percent"
    return _table(title, head, rows)


def _learned_again_table(found: Mapping[str, Any]) -> str:
    rows = []
    for family in DECLINING:
        for metrics in METRICS:
            for learned in DECLINED:
                cell = found.get(f"learned again {family} {learned[0]}x{learned[1]} M{metrics}")
                if cell is not None:
                    rows.append(
                        [f"{learned[0]} x {learned[1]}", family, str(metrics), _of(cell["refused"], cell["of"]),
                         f"{100 * cell['allowed']:.1f} %", _of(cell["caught"], cell["declined"])]
                    )  # fmt: skip
    head = [
        "learned from, twice",
        "units",
        "metrics",
        "refused, nothing declined, %",
        "triad: loss that is learned",
        "1.5 times that is refused, %",
    ]
    title = "Learned again from other units (before, audit: 12, 57 and 75 % of re-learnings from 4 other units refused at x1, x1.5 and x2, 30 metrics)"
    return _table(title, head, rows)


def _calibration_table(found: Mapping[str, Any]) -> str:
    whats = {
        "peers": "{subjects:,} peers",
        "past": "{subjects:,} units, five own runs each",
        "wild peers": "{subjects:,} peers, a floor of 4 %, and twice the noise that it stands for",
    }
    rows: dict[str, list[str]] = {}
    for cell in found["calibration"]:
        what = whats[cell["against"]].format(subjects=cell["subjects"])
        text = f"{_percent(cell['share'], 1)} ({_between(cell['interval_95'], 1)})"
        rows.setdefault(what, [what]).append(text)
    head = ["like units", "normal noise", "noise with heavy tails, t(5)"]
    title = "Is the stated rate the real one? The cut alone, without retests; stated: 5 % of runs blame anybody"
    return _table(title, head, list(rows.values()))


def _trend_table(found: Mapping[str, Any]) -> str:
    def cell(seen: Mapping[str, Any]) -> str:
        delay = "" if seen["delay"] is None else f", {seen['delay']:g} runs later"
        return f"{_percent(seen['share'], 1)} %{delay}"

    names = {"twice": "hpcaccept: step, seen twice", "decline": "hpcaccept: step or slow decline (slope)"}
    first = found["trends"][0]
    names |= {name: name for name in first if name not in ("what", *names)}
    rows = [[row["what"], *(cell(row[name]) for name in names)] for row in found["trends"]]
    rows[0] = [rows[0][0], *(f"{_percent(first[name]['share'], 1)} % (false)" for name in names)]
    title = f"Series of 60 runs: 0.2 % noise, 1 % of runs disturbed; {first['twice']['of']:,} units each"
    return _table(title, ["slower by", *names.values()], rows)


def _link_table(found: Mapping[str, Any]) -> str:
    cells: dict[str, list[str]] = {}
    columns: list[str] = []
    for row in found["links"]:
        beside = " side by side" if row["side_by_side"] else ""
        column = (
            f"{row['bad']} of {row['nodes']}{beside}, {100 * row['loss']:g} % slower, {100 * row['noise']:g} % noise"
        )
        columns += [column] if column not in columns else []
        mine = cells.setdefault(row["scheme"], [""])
        # The cost is that of the last network: the largest, with the most bad nodes.
        mine[0] = f"{row['rounds']}, {row['pair_tests']:,}"
        mine.append(f"{_percent(row['found'] / row['of'])} ({_percent(row['blamed'] / row['healthy'], 2)})")
    last = found["links"][-1]
    head = ["scheme", f"rounds, tests ({last['bad']} of {last['nodes']} bad)", *columns]
    title = "Bad adapters by exchanges of two nodes at a time: found in percent (healthy nodes blamed, percent)"
    return _table(title, head, [[name, *row] for name, row in cells.items()])


def _path_table(found: Mapping[str, Any]) -> str:
    rows = [
        [f"{100 * row['loss']:g} %", _of(row["found"], row["of"]), str(row["others_named"]), str(row["nodes_blamed"])]
        for row in found["paths"]
    ]
    head = ["the path loses", "named by `pairs.link_share`, %", "runs that name another path", "nodes blamed"]
    return _table("One bad path between two of eight leaf switches: 128 nodes, 15 rounds", head, rows)
