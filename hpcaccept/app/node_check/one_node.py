"""A check of a suite on one node, outside of any run: what it emits is held against limits that need no other node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import HpcacceptError
from hpcaccept.model.check import Check, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Limit, describe
from hpcaccept.model.node_check import Item
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass
class OneNode:
    """What a check measures with, where there is one rank and no MPI.

    Attributes:
        check: that measures.
        everyone: what the ranks of this node kept, for ``allgather``; empty: this one alone.
        values: (metric, variant) → value.
        facts: name → text.
        refused: metric or variant → why it cannot be had.
    """

    check: Check
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    node: str = ""
    node_ranks: tuple[int, ...] = (0,)
    device: str = "cpu"
    threads: int = 1
    cores: float = 1.0
    gpus_asked: int = 0
    slices_asked: bool = False
    in_turn: bool = False
    model: str = ""
    folder: Path = Path("/nonexistent/node-check")
    begun: Any = None
    everyone: tuple[Any, ...] = ()
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def emit(self, metric: str, value: float, variant: str = "", repeat: int = 0) -> None:
        """Keep a value."""
        self.values[metric, variant] = float(value)

    def fact(self, name: str, text: str) -> None:
        """Keep a text."""
        self.facts[name] = str(text)

    def unsupported(self, variant: str, why: str) -> None:
        """Keep why something cannot be had."""
        self.refused[variant] = why

    def keep(self, name: str, text: str) -> None:
        """There is no run folder for the output of tools."""

    def beat(self, phase: str) -> None:
        """Nobody listens."""

    def barrier(self) -> None:
        """Nobody to wait for."""

    def allgather(self, thing: Any) -> list[Any]:
        """What all ranks of the node kept."""
        return list(self.everyone) or [thing]

    def bcast(self, thing: Any) -> Any:
        """The thing."""
        return thing

    def reduce_sum(self, buffer: Any) -> None:
        """The sum over one rank is what it has."""

    def process_group(self) -> Any:
        """Nothing in a gate talks to other ranks."""
        raise Unavailable("there is one process")

    def items(self, part: str, limits: Mapping[str, Limit] = {}, only: Collection[str] = ()) -> list[Item]:
        """Every value that has a limit, judged.

        Args:
            part: of the gate.
            limits: metric → limit in the place of the built-in one.
            only: metrics that mean something here; all when empty.
        """
        found = []
        for (name, variant), value in self.values.items():
            metric = self.check.metric(name)
            limit = limits.get(name) or (metric.limit if metric else None)
            if metric and limit and (not only or name in only):
                found.append(self._judged(part, name, variant, value, limit, metric.code or FindingCode.LIMIT_MISSED))
        return found

    def _judged(self, part: str, name: str, variant: str, value: float, limit: Limit, code: FindingCode) -> Item:
        what = f"{name}[{variant}]" if variant else name
        if limit.met_by(value):
            return Item(part, what, "PASS", "", "", "", value, limit.unit, limit.lower, limit.upper)
        fact = self.facts.get(what) or self.facts.get(name) or self.facts.get(f"older[{variant}]") or ""
        return fail(part, what, code, value, limit, fact)


def judged(part: str, what: str, code: FindingCode, value: float, limit: Limit, why: str = "") -> Item:
    """A value inside or outside of its limit; ``why`` is said of the latter."""
    if limit.met_by(value):
        return Item(part, what, "PASS", "", "", "", value, limit.unit, limit.lower, limit.upper)
    return fail(part, what, code, value, limit, why)


def fail(part: str, what: str, code: FindingCode, value: float, limit: Limit, why: str = "") -> Item:
    """A value outside of its limit."""
    found = f"{what} is {show(value, limit.unit)}, expected {describe(limit)}{f': {why}' if why else ''}"
    if why and limit.upper == 0:
        found = f"{part}, {what}: {why}"  # that a count of faults is not 0 says less than its cause
    return Item(part, what, "FAIL", str(code), found, code.action_for(""), value, limit.unit, limit.lower, limit.upper)


def not_run(part: str, what: str, why: str, remedy: str = "", code: FindingCode = FindingCode.CHECK_NOT_RUN) -> Item:
    """Something that is expected and could not be looked at."""
    return Item(part, what, "NOT_RUN", str(code), why, remedy or code.action_for(""))


def broken(part: str, what: str, fault: BaseException) -> Item:
    """A look that broke down: it says nothing of the hardware."""
    if isinstance(fault, Unavailable):
        return not_run(part, what, fault.cause, fault.remedy)
    text = fault.message if isinstance(fault, HpcacceptError) else f"{type(fault).__name__}: {fault}"
    remedy = fault.remedy if isinstance(fault, HpcacceptError) else ""
    code = FindingCode.CHECK_ERROR
    return Item(part, what, "ERROR", str(code), text[:500], remedy or code.action_for(""))
