"""How well the fault of a given fleet would be isolated: simulates it, searches it, puts the answer into words."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import RunError, UsageError
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def simulate_isolation(
    *, nodes: int, fault: str, count: int, slow: float, noise: float, false_fail: float, missed: float, leaves: int,
    size: int, until: float, runs: int, others: bool, seed: int, json_file: Path | None,
) -> str:  # fmt: skip
    """Run the simulation; gives a table for people and writes the JSON.

    Args:
        nodes: of the fleet.
        fault: its kind.
        count: bad nodes, where the kind is ``node``.
        slow: their relative slow-down; 0: they fail.
        noise: relative standard deviation of a value, where they are slow.
        false_fail: share of good groups that fail.
        missed: share of bad groups that pass.
        leaves: leaf switches; 0: unknown.
        size: from which on groups fail, where the kind is ``scale``.
        until: posterior to reach.
        runs: fleets that are made and searched.
        others: whether they are searched as other tools do, too.
        seed: the same gives the same.
        json_file: written whole, where one is wanted.

    Raises:
        UsageError: options that do not go together.
        RunError: the file cannot be written.
    """
    from hpcaccept.simulate.isolation.rivals import RIVALS
    from hpcaccept.simulate.isolation.score import OURS, Cell, measured
    from hpcaccept.simulate.isolation.world import Noise

    if fault == "leaf_pair" and not 2 <= leaves <= nodes // 2:
        raise UsageError(
            f"--leaves is {leaves}: --fault leaf_pair needs at least two leaves of two nodes.", "Try --leaves 4."
        )
    if count >= nodes // 2:
        raise UsageError(f"--count {count}: less than half of the {nodes} nodes can be bad.", "Raise --nodes.")
    if fault == "scale" and size > nodes:
        raise UsageError(f"--size {size} is more than the {nodes} nodes: no group would ever fail.", "Raise --nodes.")
    values = fault == "node" and slow > 0
    cell = Cell(
        name=fault, nodes=nodes, kind=fault, count=count if fault == "node" else 0, loss=slow if values else math.nan,
        noise=Noise(0.001, 0.001, value=noise) if values else Noise(false_fail, missed), leaves=leaves, size=size, until=until,
    )  # fmt: skip
    rivals = [name for name in RIVALS if name != "all pairs" or nodes <= 64] if others and fault == "node" else []
    rows = measured(cell, runs, [OURS, *rivals], seed)
    if json_file is not None:
        _write(json_file, rows)
    return "\n".join(_lines(rows, runs))


def _write(path: Path, rows: Mapping[str, Any]) -> None:
    try:
        replace_file(path, (json.dumps(rows, indent=1) + "\n").encode())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours.") from error


def _lines(rows: Mapping[str, Mapping[str, Any]], runs: int) -> Iterator[str]:
    yield f"{runs} simulated fleets"
    yield f"{'':28}{'tests':>9}{'rounds':>8}{'node-tests':>12}   exactly right (95 % interval)   false blame"
    for name, row in rows.items():
        low, high = row["right_interval"]
        right = f"{row['right'] / row['trials']:6.1%} ({low:.1%} to {high:.1%})"
        false = row["false"] / row["healthy"]
        yield f"{name:28}{row['tests']:9.1f}{row['rounds']:8.1f}{row['node_tests']:12.0f}   {right:30}  {false:.3%} of healthy nodes"
