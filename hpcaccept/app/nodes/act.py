"""Mark one node, or take a mark off, so that nobody else's mark is ever changed: look, write down, act, look again.

Slurm cannot compare and set in one step (``controller``). So whoever comes between two steps is seen by the look after the act, and theirs
stands: our own mark is withdrawn by the name that only it has.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.app.nodes.allowed import our_marks, whose
from hpcaccept.app.nodes.audit import Audit
from hpcaccept.app.nodes.controller import Controller
from hpcaccept.errors import LaunchError
from hpcaccept.model.node_mark import Acted, Acting, Mark, Result, Seen, Verb
from hpcaccept.parse.slurm.marks import GATE, parse_reason, reason_of, reservation_of

if TYPE_CHECKING:
    from hpcaccept.model.node_mark import Kind


@dataclass(frozen=True)
class Hand:
    """Who acts, and with what.

    Attributes:
        slurm: that is asked.
        audit: that everything is written into.
        by: name of the user.
    """

    slurm: Controller
    audit: Audit
    by: str

    def mark(self, mark: Mark, users: tuple[str, ...] = ("root",)) -> Acted:
        """Put a mark on its node.

        Args:
            mark: to put.
            users: who may use a quarantined node, to test it.

        Raises:
            RunError: the audit log cannot be written; nothing was done.
        """
        if why := self._not_ours(mark.node):
            return self._say(mark.kind, mark, "refused", why)
        if any(seen.kind == mark.kind for seen in self._marks(mark.node)):
            return self._say(mark.kind, mark, "refused", f"it carries a {mark.kind} of ours already")
        self.audit.write(Acting(mark.kind, mark, users if mark.kind == "quarantine" else ()))
        try:
            result, why = self._quarantine(mark, users) if mark.kind == "quarantine" else self._drain(mark)
        except LaunchError as fault:
            result, why = "failed", fault.message
        return self._say(mark.kind, mark, result, why)

    def release(self, seen: Seen, verb: Verb = "resume", gate: tuple[str, ...] = ()) -> Acted:
        """Take a mark off.

        Args:
            seen: the mark as Slurm showed it.
            verb: what it is done for.
            gate: the runs that the node has passed.

        Raises:
            RunError: the audit log cannot be written; nothing was done.
        """
        mark = self.audit.mark(seen.id) or Mark(seen.id, seen.node, seen.kind, seen.run, seen.code)
        self.audit.write(Acting(verb, mark))
        try:
            result, why = self._free(seen) if seen.kind == "quarantine" else self._undrain(seen)
        except LaunchError as fault:
            result, why = "failed", fault.message
        return self._say(verb, mark, result, why, gate)

    def reboot(self, seen: Seen) -> Acted:
        """Have a node rebooted that is under a quarantine of ours, which is what keeps jobs off it afterwards.

        ``nextstate=DOWN`` alone does not: with ReturnToService=2 the node of Slurm 22.05 is in service again once it has booted.
        """
        mark = self.audit.mark(seen.id) or Mark(seen.id, seen.node, seen.kind, seen.run, seen.code)
        if why := self._not_ours(seen.node):
            return self._say("reboot", mark, "refused", why)
        self.audit.write(Acting("reboot", mark))
        try:
            self.slurm.reboot(seen.node, reason_of(mark))
        except LaunchError as fault:
            return self._say("reboot", mark, "failed", fault.message)
        return self._say("reboot", mark, "done", "it boots when its jobs have ended; the quarantine stays")

    # one node, step by step

    def _quarantine(self, mark: Mark, users: tuple[str, ...]) -> tuple[Result, str]:
        name = reservation_of(mark)
        self.slurm.create(name, mark.node, users)
        # With MAINT from the start it would lie upon an ordinary reservation that was made a moment ago; so that comes last.
        if why := self._not_ours(mark.node):
            self.slurm.delete(name)
            return "overtaken", f"{why}; the quarantine was withdrawn"
        self.slurm.maintain(name)
        there = any(seen.id == mark.id for seen in self._marks(mark.node))
        return ("done", name) if there else ("overtaken", "the reservation is gone again: somebody has removed it")

    def _drain(self, mark: Mark) -> tuple[Result, str]:
        # Once more, and last before the order: between this look and the order nothing can be seen.
        if why := self._not_ours(mark.node):
            return "refused", why
        self.slurm.drain(mark.node, reason_of(mark))
        out = self.slurm.node(mark.node).out
        seen = parse_reason(mark.node, out.why) if out else None
        if seen and seen.id == mark.id:
            return "done", reason_of(mark)
        return "overtaken", f"it says {out.why!r} now: that stands" if out else "somebody has undrained it"

    def _free(self, seen: Seen) -> tuple[Result, str]:
        if not any(one.id == seen.id for one in self._marks(seen.node)):
            return "overtaken", f"there is no reservation {seen.name} any more"
        self.slurm.delete(seen.name)
        left = any(one.id == seen.id for one in self._marks(seen.node))
        return ("failed", f"reservation {seen.name} is still there") if left else ("done", "")

    def _undrain(self, seen: Seen) -> tuple[Result, str]:
        if not any(mark.kind == "quarantine" for mark in self._marks(seen.node)):
            return "refused", "a drain is taken off only under a quarantine of ours"
        if (why := self._not_ours(seen.node)) or (why := self._changed(seen)):
            return "overtaken", why
        if "DOWN" in self.slurm.node(seen.node).flags:
            self.slurm.up(seen.node)
        self.slurm.undrain(seen.node)
        out = self.slurm.node(seen.node).out
        if out is None:
            return "done", ""
        return "overtaken", f"it is drained again, by {out.by or 'somebody'}: {out.why}"

    def _changed(self, seen: Seen) -> str:
        out = self.slurm.node(seen.node).out
        if out is None:
            return "its drain is gone: somebody has taken it off"
        now, known = parse_reason(seen.node, out.why), self.audit.mark(seen.id)
        # The sentence of a drain by the gate has its digest; of others the audit log knows every letter.
        by_gate = now is not None and now.run == GATE
        same = now == seen and (known is None or by_gate or out.why == reason_of(known))
        return "" if same else f"its reason is {out.why!r} now"

    def _marks(self, node: str) -> tuple[Seen, ...]:
        found = our_marks([self.slurm.node(node)], self.slurm.reservations())
        return tuple(mark for mark in found if mark.node == node)

    def _not_ours(self, node: str) -> str:
        """Reservations before the node: a drain comes in a moment, and is to be seen last."""
        reservations = self.slurm.reservations()
        return whose(self.slurm.node(node), reservations)

    def _say(self, verb: Verb, mark: Mark, result: Result, why: str, gate: tuple[str, ...] = ()) -> Acted:
        acted = Acted(verb, mark.id, mark.node, result, why, self.by, gate)
        self.audit.write(acted)
        return acted


def new_mark(node: str, kind: Kind, run: str, code: str, checks: tuple[str, ...], at: str, by: str) -> Mark:
    """A mark that nobody else has."""
    return Mark(secrets.token_hex(4), node, kind, run, code, checks, at, by)
