"""What verdicts on a given fleet would be worth: simulates it, judges it, puts the answer into words."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import RunError, UsageError
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.simulate.score import Cell, Score


def simulate(
    *, nodes: int, gpus: int, preset: str, kinds: tuple[str, ...], magnitude: float, faulty: float, runs: int,
    past: int, disturbed: float, seed: int, json_file: Path | None,
) -> str:  # fmt: skip
    """Run the simulation; gives a table for people and writes the JSON.

    Args:
        nodes: of the fleet.
        gpus: per node.
        preset: of the spreads.
        kinds: of faults, in turn; empty: all whose loss is a loss of rate.
        magnitude: loss of each fault, 0 to 1; 0: a healthy fleet.
        faulty: share of nodes with a fault.
        runs: fleets that are made and judged.
        past: earlier runs of each fleet.
        disturbed: share of launches that something else slows.
        seed: the same gives the same.
        json_file: written whole, where one is wanted.

    Raises:
        UsageError: a history that is too short to be of use.
        RunError: the file cannot be written.
    """
    from hpcaccept.judge.statistics.run_noise import MIN_PAST
    from hpcaccept.simulate.faults import RATE_KINDS
    from hpcaccept.simulate.fleet import Site
    from hpcaccept.simulate.rivals import PAST_RIVALS, RIVALS
    from hpcaccept.simulate.score import Cell, plain, score

    if 0 < past < MIN_PAST:
        raise UsageError(f"--past is {past}: the own past is asked from {MIN_PAST} runs on.", f"Try --past {MIN_PAST}.")
    site = Site(nodes=nodes, gpus=gpus, preset=preset, disturbed=disturbed)
    cell = Cell(site, kinds or RATE_KINDS, magnitude, faulty, runs, seed, past)
    found = score(cell, rivals=tuple(PAST_RIVALS if past else RIVALS))
    if json_file is not None:
        data: dict[str, Any] = {"cell": asdict(cell), "rules": {name: plain(one) for name, one in found.items()}}
        try:
            replace_file(json_file, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        except OSError as fault:
            raise RunError(
                f"{json_file} cannot be written: {fault.strerror}.", "Name a file in a folder of yours."
            ) from fault
    return _text(cell, found)


def _text(cell: Cell, found: dict[str, Score]) -> str:
    ours = next(iter(found.values()))
    head = (
        f"{ours.runs} fleets of {cell.site.nodes} nodes × {cell.site.gpus} GPUs ({cell.site.preset}), "
        f"{cell.site.disturbed:.1%} of launches disturbed, {ours.launches / ours.runs:.1f} launches per run"
    )
    lines = [head, ""]
    if ours.faulty:
        lines += [
            f"{'fault, ' + format(cell.magnitude, '.1%') + ' slower':<24}{'found':>16}{'95 % interval':>20}{'nothing else named':>22}"
        ]
        lines += [_kind(kind, ours) for kind in sorted(ours.faulty)]
        lines += [""]
    lines += [f"{'rule':<44}{'found':>8}   healthy nodes blamed"]
    lines += [_rule(name, one) for name, one in found.items()]
    return "\n".join(lines)


def _kind(kind: str, ours: Score) -> str:
    from hpcaccept.simulate.score import Share

    share = Share(ours.found[kind], ours.faulty[kind])
    low, high = share.interval()
    named = f"{ours.named[kind]} of {share.hits}"
    return f"{kind:<24}{f'{share.hits} of {share.of}':>16}{f'{low:.1%} – {high:.1%}':>20}{named:>22}"


def _rule(name: str, one: Score) -> str:
    recall = one.recall(one.faulty)
    low, high = one.false_alarms.interval()
    found = "–" if math.isnan(recall) else f"{recall:.1%}"
    blamed = f"{one.blamed} of {one.healthy} ({low:.2%} – {high:.2%})"
    return f"{name:<44}{found:>8}   {blamed}"
