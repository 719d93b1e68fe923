"""What is broken in each scenario, and who must be named for it: real runs of hpcaccept on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.submission import Finished, noise, submit, suite_file
from system.cluster import VirtualSlurm

from faults import network, quota

if TYPE_CHECKING:
    from collections.abc import Mapping


_BROKEN = Path(__file__).with_name("broken_rank.py")
_ONE_CHECK = "[checks.identity]\n[checks.{check}]\n"
_MBIT = 400


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: for people and tests.
        fault: what is broken, in a sentence.
        run: makes it in a folder of its own and gives the finished run; the Slurm is None where none can be.
        names: who must be blamed: a node, or what stands in a verdict's variant (a link).
        outcome: of the verdict that blames.
        why_not: why it cannot be made here; empty when it can.
        slurm: True when it needs the virtual Slurm.
    """

    name: str
    fault: str
    run: Callable[[Path, VirtualSlurm | None], Finished]
    names: str
    outcome: str = "FAIL"
    why_not: str = ""
    slurm: bool = False


@dataclass(frozen=True)
class Result:
    """What a run said of its fault.

    Attributes:
        found_by: check and metric of the verdicts that name the culprit; empty: the fault was missed.
        blamed: others that a FAIL, WARN or ERROR names.
    """

    found_by: tuple[str, ...]
    blamed: tuple[str, ...]


def result_of(scenario: Scenario, done: Finished) -> Result:
    """Who was named, and who should not have been."""
    bad = [v for v in done.report["verdicts"] if v["outcome"] in ("FAIL", "WARN", "ERROR")]
    right = [v for v in bad if scenario.names and scenario.names in (v["node"], v["variant"])]
    told = {
        f"{v['check']}.{v['metric']}" if v["metric"] else v["check"] for v in right if v["outcome"] == scenario.outcome
    }
    wrong = {v["node"] or v["variant"] or v["check"] for v in bad if v not in right}
    return Result(tuple(sorted(told)), tuple(sorted(wrong)))


def broken(
    folder: Path, suite: str, *faults: Mapping[str, Any], env: Mapping[str, str] | None = None, nodes: int = 4
) -> Finished:
    """A run on local virtual nodes whose interpreter has faults."""
    python = folder / "python"
    command = shlex.join([sys.executable, str(_BROKEN)])
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    python.chmod(0o755)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {
        **(env or {}),
        "HPCACCEPT_PYTHON": str(python),
        "HPCACCEPT_FAULT": json.dumps(list(faults)),
        "PYTHONPATH": paths,
    }
    words = ("--nodes", str(nodes), "--launcher", "local")
    return submit(folder / "runs", suite_file(folder, suite), *words, env=environment).finish(300)


def _flipped(check: str, parameters: str = "", **fault: Any) -> Callable[[Path, VirtualSlurm | None], Finished]:
    def run(folder: Path, _: VirtualSlurm | None) -> Finished:
        return broken(folder, _ONE_CHECK.format(check=check) + parameters, {"ranks": [2], **fault})

    return run


def _networked(break_it: Callable[[network.Network], None]) -> Callable[[Path, VirtualSlurm | None], Finished]:
    def run(folder: Path, _: VirtualSlurm | None) -> Finished:
        with network.network(4, _MBIT) as net:
            break_it(net)
            suite = _ONE_CHECK.format(check="pairs") + "[peers]\nretests = 0\n"
            return broken(folder, suite, {"kind": "network", "prefix": net.prefix})

    return run


def _healthy(folder: Path, _: VirtualSlurm | None) -> Finished:
    text = "[checks.identity]\n[checks.matmul]\n[checks.memory_bandwidth]\n[checks.train]\n[checks.allreduce]\n[checks.pairs]\n"
    words = ("--nodes", "4", "--launcher", "local")
    return submit(folder / "runs", suite_file(folder, text), *words).finish(300)


def _quarter_of_a_core(folder: Path, slurm: VirtualSlurm | None) -> Finished:
    assert slurm is not None
    text = '[checks.identity]\n[checks.matmul]\ndtypes = ["fp32"]\n[peers]\nretests = 1\n'
    with quota.quota(slurm.slurmd_pid("node2"), share=0.25):
        return submit(folder / "runs", suite_file(folder, text), "--nodes", "4", env=slurm.env).finish(300)


def _signalled(number: signal.Signals) -> Callable[[Path, VirtualSlurm | None], Finished]:
    def run(folder: Path, _: VirtualSlurm | None) -> Finished:
        suite = suite_file(folder, noise(3.0, "os_noise", "os_noise:later", deadline_s=5))
        started = submit(folder / "runs", suite, "--nodes", "4", "--launcher", "local")
        with contextlib.suppress(ProcessLookupError):
            os.kill(started.pid(2, check="os_noise"), number)
        return started.finish()

    return run


_NETWORK = network.why_not()
SCENARIOS = (
    Scenario("healthy", "nothing", _healthy, names=""),
    Scenario(
        "flipped product", "node2 flips one bit of each 20th matrix product",
        _flipped("burn", kind="product", every=20), names="node2",
    ),
    Scenario(
        "wrong products", "node2 flips the same bit of every matrix product, so that it always agrees with itself",
        _flipped("burn", "duration_s = 2.0\n", kind="product", every=1), names="node2",
    ),
    Scenario(
        "flipped weight", "node2 flips the lowest bit of one weight in the tenth training step",
        _flipped("train", kind="training_step"), names="node2",
    ),
    Scenario(
        "flipped sum", "node2 flips one bit of the sums it gets from all-reduce",
        _flipped("allreduce", kind="sum_over_ranks"), names="node2",
    ),
    Scenario(
        "flipped memory", "node2 flips one bit of what it stores",
        _flipped("memory_pattern", kind="stored_word"), names="node2",
    ),
    Scenario(
        "slow node", "node2 has a quarter of a core (a CPU quota)", _quarter_of_a_core, names="node2",
        why_not=quota.why_not(), slurm=True,
    ),
    Scenario(
        "healthy network", f"nothing; all ports at {_MBIT} Mbit/s", _networked(lambda net: None), names="",
        why_not=_NETWORK,
    ),
    Scenario(
        "slow port", f"node1 sends at {_MBIT // 5} instead of {_MBIT} Mbit/s",
        _networked(lambda net: net.slow_port(1, _MBIT // 5)), names="node1", why_not=_NETWORK,
    ),
    Scenario(
        "slow link", f"node0 and node3 send each other {_MBIT // 5} instead of {_MBIT} Mbit/s",
        _networked(lambda net: net.slow_link(0, 3, _MBIT // 5)), names="node0 – node3", why_not=_NETWORK,
    ),
    Scenario(
        "stopped rank", "the rank of node2 is stopped (SIGSTOP)", _signalled(signal.SIGSTOP), names="node2",
        outcome="ERROR",
    ),
    Scenario(
        "killed rank", "the rank of node2 is killed (SIGKILL)", _signalled(signal.SIGKILL), names="node2",
        outcome="ERROR",
    ),
)  # fmt: skip
