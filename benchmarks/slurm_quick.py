"""How much does the quick suite on four Slurm nodes cost beyond measuring?

Counted is everything from the command to the end of the report, less

* Slurm's start delay (the controller's log: submitted → started),
* measuring: per check the seconds in which some rank was inside ``Check.measure`` (``duration_s`` of its records): the
  sum over ranks where they measure in turn, the longest rank where they measure together. Waiting for turns and for
  other ranks, and comparing ranks with each other, is therefore *not* taken off,
* importing torch: the longest rank's ``import`` lines.

Suspects are not measured again here: whether there are any on a shared machine is chance.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT, rounds
from benchmarks._row import Row, Target
from benchmarks._slurm import slurm_environment, start_delay_s, virtual_slurm
from benchmarks._submission import submit
from hpcaccept import checks

if TYPE_CHECKING:
    from benchmarks._submission import RankWords


def measure(quick: bool) -> list[Row]:
    """The whole suite, some times; every run counts."""
    with virtual_slurm() as slurm, tempfile.TemporaryDirectory() as folder:
        env = slurm_environment(slurm)
        suite = (ROOT / "hpcaccept/config/suites/quick.toml").read_text() + "\n[peers]\nretests = 0\n"
        runs = [
            submit(Path(folder), suite, "--nodes", "4", env=env, timeout_s=240)
            for _ in rounds(1 if quick else 3, budget_s=60, least=1)
        ]
        log = slurm.controller_log()
    delay = [start_delay_s(log, run.job) for run in runs]
    measuring = [measuring_s(run.ranks) for run in runs]
    importing = [max(sum(seconds for _, seconds in rank.imports) for rank in run.ranks) for run in runs]
    rest = [run.wall_s - d - m - i for run, d, m, i in zip(runs, delay, measuring, importing, strict=True)]
    return [
        Row("quick on 4 nodes, beyond measuring and importing torch", "s", tuple(rest), target=Target("value", upper=4.0)),
        Row("of the whole: command → end of the report", "s", tuple(run.wall_s for run in runs)),
        Row("of the whole: measuring", "s", tuple(measuring)),
        Row("of the whole: importing torch", "s", tuple(importing)),
        Row("of the whole: Slurm's start delay", "s", tuple(delay)),
    ]  # fmt: skip


def measuring_s(ranks: list[RankWords]) -> float:
    """Seconds in which some rank measured; see the module."""
    in_turn = any(rank.rank_started["in_turn"] for rank in ranks)
    durations: dict[str, list[float]] = {}
    for rank in ranks:
        for record in rank.records:
            durations.setdefault(record["check"], []).append(record["duration_s"])
    return sum(
        sum(each) if in_turn and checks.load(check).scope != "world" else max(each) for check, each in durations.items()
    )
