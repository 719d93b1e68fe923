"""A rank that somebody stopped and let go on says so: what it measured meanwhile is undecided."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.builders import evidence, judged, nodes, plan, record, where

from hpcaccept.model.record import CONTENDED, STOPPED
from hpcaccept.model.verdict import Outcome

RANK = """
import os, signal, subprocess, sys, threading, time
from hpcaccept.checks.{module} import {check}
from hpcaccept.rank.taken import Taken
from hpcaccept.rank.watch import Watch

class Facts(dict):
    device = {device!r}
    fact = dict.__setitem__

watch, taken, facts = Watch(lambda *_: None), Taken(), Facts()
with taken.watched(watch):
    me = os.getpid()
    if {stopped}:
        subprocess.Popen(["sh", "-c", f"kill -STOP {{me}}; kill -CONT {{me}}"]).wait()
taken.tell(facts, {check}(), 0.0)
print(facts.get("contended", "-"))
"""


@pytest.mark.parametrize(
    ("module", "check", "device", "stopped", "told"),
    [
        ("os_noise", "OsNoise", "cpu", True, True),
        ("matmul", "Matmul", "cuda:0", True, True),
        # Counts are what they are.
        ("identity", "Identity", "cpu", True, False),
        ("os_noise", "OsNoise", "cpu", False, False),
    ],
)
def test_a_rank_knows_that_it_was_stopped_by_what_let_it_go_on(
    module: str, check: str, device: str, stopped: bool, told: bool
) -> None:
    program = RANK.format(module=module, check=check, device=device, stopped=stopped)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.strip() == STOPPED) is told, done.stdout


def test_who_was_stopped_is_not_slow_and_says_why() -> None:
    def run(**facts: str) -> set[str]:
        found = [
            record("speed", node, {"rate_flops": 1e13 if node == "node2" else 1e15, "wrong_elements": 0}, facts=mine)
            for node in nodes(8)
            for mine in ([facts] if node == "node2" else [{}])
        ]
        judgement = judged(evidence(found, plan(nodes=8)))
        assert judgement.exit_code == (3 if facts else 1)
        assert not any("Other programs" in note for note in judgement.notes)
        return where(judgement.verdicts, Outcome.FAIL)

    assert run() == {"node2"}
    assert run(**{CONTENDED: STOPPED}) == set()
