"""``python -m faults.marks``: administrators come in between every step of ``hpcaccept nodes``; is anybody else's mark ever changed?

Each interleaving is a seed. hpcaccept marks a node, or takes a mark off, on the real scontrol of the virtual Slurm; before one of its orders
or questions somebody else acts on the same node: drains it, sets it down, reserves it (with and without MAINT), changes our reason, removes
our reservation, undrains it, or the controller is restarted. Afterwards everything that they did must be as they left it.

Slurm has no compare-and-set. What comes between the last look and the order, which is milliseconds, cannot be seen: a drain there loses
its words to ours (the node stays drained), and a drain that comes just before ours is taken off goes with it (the node stays in our
reservation). Those interleavings are counted by themselves, and what is said of them is asserted as well.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.slurm_fixtures import WHY_NOT
from system.cluster import VirtualSlurm

from hpcaccept.app.nodes.act import Hand, new_mark
from hpcaccept.app.nodes.allowed import our_marks, whose
from hpcaccept.app.nodes.audit import Audit
from hpcaccept.app.nodes.controller import Scontrol

if TYPE_CHECKING:
    from hpcaccept.model.node_mark import Acted, Kind

#: What somebody else does.
FOREIGN = (
    "drains it",
    "sets it down",
    "reserves it",
    "reserves it for maintenance",
    "changes our reason",
    "removes our reservation",
    "undrains it",
    "restarts the controller",
    "nothing",
)
#: What hpcaccept does.
OURS = ("quarantine", "drain", "resume a quarantine", "resume a drain")
#: The most questions and orders of one act.
_STEPS = 12
#: Orders before which nothing can be seen any more, by what somebody does in that moment.
_BLIND = {"drain": ("drains it", "sets it down"), "undrain": ("drains it", "changes our reason")}
_REASON = "bad DIMM, ticket 4711"


def slurm(*words: str) -> str:
    """What scontrol prints; nothing where it refuses."""
    done = subprocess.run(["scontrol", *words], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout if done.returncode == 0 else ""


@dataclass
class Others:
    """Another administrator, who acts on one node and remembers how they left it."""

    node: str
    act: str
    reason: str = ""
    reservation: str = ""
    at_order: str = ""
    acted: bool = False

    def step_in(self, order: str, cluster: VirtualSlurm) -> None:
        """Do it, before this question or order of ours."""
        self.acted, self.at_order = True, order
        node = f"NodeName={self.node}"
        if self.act == "drains it":
            slurm("update", node, "State=DRAIN", f"Reason={_REASON}")
        elif self.act == "sets it down":
            slurm("update", node, "State=DOWN", f"Reason={_REASON}")
        elif self.act.startswith("reserves it"):
            flags = ["Flags=MAINT"] if "maintenance" in self.act else []
            slurm(
                "create",
                "reservation",
                "ReservationName=theirs",
                "StartTime=now",
                "Duration=60",
                "Users=root",
                f"Nodes={self.node}",
                *flags,
            )
        elif self.act == "changes our reason":
            if "hpcaccept" in reason_of(self.node):
                slurm("update", node, f"Reason={reason_of(self.node)}, and {_REASON}")
        elif self.act == "removes our reservation":
            for one in our_marks([], Scontrol().reservations()):
                slurm("delete", f"ReservationName={one.name}")
        elif self.act == "undrains it":
            slurm("update", node, "State=UNDRAIN")
        elif self.act == "restarts the controller":
            cluster.restart_controller()
        self.reason = stamped_reason(self.node) if _REASON in reason_of(self.node) else ""
        self.reservation = slurm("-o", "show", "reservation", "theirs")

    def changed(self) -> str:
        """What of theirs is not as they left it; empty where everything is."""
        if self.reservation and slurm("-o", "show", "reservation", "theirs") != self.reservation:
            return "their reservation"
        return "their reason" if self.reason and stamped_reason(self.node) != self.reason else ""


def line_of(node: str) -> str:
    """Everything that Slurm says of a node."""
    return slurm("-o", "show", "node", node)


def stamped_reason(node: str) -> str:
    """The reason with its author and time."""
    return line_of(node).partition(" Reason=")[2].strip()


def reason_of(node: str) -> str:
    """The reason without them."""
    return stamped_reason(node).rpartition(" [")[0]


class Interrupted(Scontrol):
    """The real scontrol; before the n-th question or order somebody else acts."""

    def __init__(self, others: Others, step: int, cluster: VirtualSlurm) -> None:
        self._others, self._left, self._cluster = others, step, cluster

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found
        if self._left == 0:
            self._others.step_in(name, self._cluster)
        self._left -= 1
        return found


@dataclass(frozen=True)
class Outcome:
    """One interleaving.

    Attributes:
        ours: what hpcaccept did.
        foreign: what somebody else did.
        order: of ours before which they did it; empty: they came too late.
        result: what hpcaccept said of its act.
        blind: True where they came in the moment that nobody can see.
        changed: what of theirs was changed.
        wrong: what else must not be.
    """

    ours: str
    foreign: str
    order: str
    result: str
    blind: bool
    changed: str
    wrong: str = ""


def interleave(cluster: VirtualSlurm, seed: int, folder: Path) -> Outcome:
    """One of them; afterwards the node is in service and carries nothing."""
    rng = random.Random(seed)
    node, ours = rng.choice(cluster.node_names), rng.choice(OURS)
    # A restart takes seconds, so it comes more rarely.
    foreign = rng.choices(FOREIGN, [1 if name == "restarts the controller" else 4 for name in FOREIGN])[0]
    others = Others(node, foreign)
    hand = Hand(Scontrol(), Audit(folder / str(seed)), "root")
    watched = Hand(Interrupted(others, rng.randrange(_STEPS), cluster), hand.audit, "root")
    try:
        acted = _act(ours, node, hand, watched)
        return _outcome(ours, node, others, acted)
    finally:
        _clean(node)


def _act(ours: str, node: str, hand: Hand, watched: Hand) -> Acted:
    def mark(kind: Kind, by: Hand) -> Acted:
        return by.mark(new_mark(node, kind, "", "peers-slow", (), "", "root"))

    if ours in ("quarantine", "drain"):
        return mark("quarantine" if ours == "quarantine" else "drain", watched)
    kinds: tuple[Kind, ...] = ("quarantine",) if ours == "resume a quarantine" else ("drain", "quarantine")
    made = [mark(kind, hand) for kind in kinds]
    assert all(one.result == "done" for one in made), made
    seen = our_marks([hand.slurm.node(node)], hand.slurm.reservations())
    return watched.release(next(one for one in seen if one.kind == kinds[0]))


def _outcome(ours: str, node: str, others: Others, acted: Acted) -> Outcome:
    blind = others.act in _BLIND.get(others.at_order, ())
    changed, wrong = others.changed(), ""
    line = line_of(node)
    if blind and others.at_order == "drain" and "DRAIN" not in line and "DOWN" not in line:
        wrong = "the node is in service although somebody took it out"
    if blind and others.at_order == "undrain" and "hpcaccept_" not in slurm("-o", "show", "reservation"):
        wrong = "the drain is gone and no reservation of ours holds the node"
    left = [one for one in our_marks([Scontrol().node(node)], Scontrol().reservations()) if one.node == node]
    if ours == "quarantine" and acted.result in ("overtaken", "refused") and left:
        wrong = "a quarantine that was withdrawn is still there"
    if (
        acted.result == "done"
        and others.acted
        and others.act == "nothing"
        and ours in ("quarantine", "drain")
        and not left
    ):
        wrong = "nobody came, and the mark is not there"
    return Outcome(ours, others.act, others.at_order, acted.result, blind, changed, wrong)


def _clean(node: str) -> None:
    for line in slurm("-o", "show", "reservation").splitlines():
        if line.startswith("ReservationName="):
            slurm("delete", line.split()[0])
    for state in ("UNDRAIN", "RESUME"):
        slurm("update", f"NodeName={node}", f"State={state}")
    until = time.monotonic() + 20
    while time.monotonic() < until and whose(Scontrol().node(node), ()):
        time.sleep(0.05)


@dataclass
class Table:
    """What came of all of them."""

    outcomes: list[Outcome] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Counts by what hpcaccept did."""
        found = [
            "| hpcaccept | interleavings | somebody came in between | theirs changed | in the blind moment: theirs changed |",
            "|---|--:|--:|--:|--:|",
        ]
        for ours in OURS:
            mine = [one for one in self.outcomes if one.ours == ours]
            seen, blind = [one for one in mine if not one.blind], [one for one in mine if one.blind]
            came = sum(bool(one.order) and one.foreign != "nothing" for one in mine)
            found.append(
                f"| {ours} | {len(mine)} | {came} | {sum(bool(one.changed) for one in seen)} | {sum(bool(one.changed) for one in blind)} of {len(blind)} |"
            )
        return found

    @property
    def bad(self) -> list[Outcome]:
        """Those in which something was changed that could have been seen, or that ended wrongly."""
        return [one for one in self.outcomes if one.wrong or (one.changed and not one.blind)]


def run(cluster: VirtualSlurm, seeds: range, folder: Path) -> Table:
    """Many of them; afterwards every node is idle."""
    os.environ.update(cluster.env)
    # With 2, the registration of a slurmd clears what an administrator has set down, reason and all, while we look.
    cluster.configure("ReturnToService=1")
    try:
        table = Table([interleave(cluster, seed, folder) for seed in seeds])
    finally:
        cluster.configure("ReturnToService=2")
    cluster.settle()
    return table


def main() -> int:
    """Run them and print the table. Exit status 0 when nothing of anybody else's was changed that could have been seen."""
    parser = argparse.ArgumentParser(prog="python -m faults.marks", description=__doc__)
    parser.add_argument("--count", type=int, default=200, metavar="N", help="interleavings (%(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="first seed (%(default)s)")
    options = parser.parse_args()
    if WHY_NOT:
        sys.stderr.write(f"not run: {WHY_NOT}\n")
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        VirtualSlurm.up(Path(tempfile.mkdtemp(prefix="hpcaccept-marks-", dir="/run"))) as cluster,
    ):
        table = run(cluster, range(options.first, options.first + options.count), Path(folder))
    sys.stdout.write("\n".join([*table.lines(), ""]))
    sys.stdout.write(f"results: {dict(Counter((one.ours, one.result) for one in table.outcomes))}\n")
    for one in table.bad:
        sys.stderr.write(f"WRONG: {one}\n")
    return 1 if table.bad else 0


if __name__ == "__main__":
    sys.exit(main())
