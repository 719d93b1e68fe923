"""Whether the clocks of the nodes agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.doctor.finding import Finding
from hpcaccept.units import show

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.finding import Mark
    from hpcaccept.model.doctor.probe import Clock, ProbeResult

PLACE = 70
#: What happened first on two nodes is told from their clocks; munge refuses what is five minutes off.
_WARN_S, _WRONG_S = 0.5, 5.0
_REMEDY = "There: 'timedatectl', 'chronyc tracking'; start chrony or ntpd"


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Against this machine, within the way of question and answer: only what is certain counts."""
    off = [clock for clock in heard.clocks if _certain_s(clock) >= _WARN_S]
    near = [clock for clock in heard.clocks if clock not in off]
    timed = {clock.node for clock in heard.clocks}
    # Without that only the first node is asked.
    untimed = tuple(node.node for node in heard.nodes if case.traits.relays_input and node.node not in timed)
    unseen = [Finding("clock", "warning", "could not look: no answer came back in time", nodes=untimed)]
    return [*([_agreeing(near)] if near else []), *map(_astray, off), *(unseen if untimed else [])]


def _certain_s(clock: Clock) -> float:
    return max(0.0, abs(clock.ahead_s) - clock.bound_s)


def _agreeing(near: list[Clock]) -> Finding:
    """How well they agree at least: no better than question and answer can tell."""
    bound_s = max(abs(clock.ahead_s) + clock.bound_s for clock in near)
    spread_s = max(clock.ahead_s for clock in near) - min(clock.ahead_s for clock in near)
    others = f", {show(spread_s, 's')} of each other" if len(near) > 1 else ""
    names = tuple(clock.node for clock in near)
    return Finding("clock", "ok", f"within {show(bound_s, 's')} of here{others}", nodes=names)


def _astray(clock: Clock) -> Finding:
    way = "ahead of" if clock.ahead_s > 0 else "behind"
    found = f"{show(abs(clock.ahead_s), 's')} {way} this machine"
    mark: Mark = "wrong" if _certain_s(clock) > _WRONG_S else "warning"
    return Finding("clock", mark, found, f"within {show(_WARN_S, 's')}", _REMEDY, (clock.node,))
