"""What one certificate says that another did not: scope, limits, nodes, evidence, expiry, environment; and whether the later one says less.

Both statements are taken at their word: whoever calls has looked at their signatures.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hpcaccept.errors import StoreError
from hpcaccept.model.history import CODE_WORDS, FAILED
from hpcaccept.model.metric import Limit, describe
from hpcaccept.report.phrases import counted
from hpcaccept.store.digests import changed
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Topic = Literal["nodes", "scope", "limits", "evidence", "environment", "expiry"]
Statement = dict[str, Any]
TOPICS: tuple[Topic, ...] = ("nodes", "scope", "limits", "evidence", "environment", "expiry")
#: Questions whose bounds the run itself makes, of peers and of the past: they move with every run and are compared by being there.
_OWN_BOUNDS = frozenset({"peers", "history"})
#: Relative: bounds that differ by less went through other arithmetic.
_SAME = 1e-9
_FAILED = CODE_WORDS[FAILED]


@dataclass(frozen=True)
class Change:
    """One thing that differs.

    Attributes:
        topic: what it is about.
        what: a node, a check, a metric with its question, a run, a fact.
        before: in the first certificate; empty: not there.
        after: in the second; empty: not there.
        less: True where the second says less than the first.
        failed: True for a node that was certified and has failed.
    """

    topic: Topic
    what: str
    before: str
    after: str
    less: bool = False
    failed: bool = False

    def __str__(self) -> str:
        if not self.before:
            return f"+ {self.what}: {self.after}"
        return f"~ {self.what}: {self.before} → {self.after}" if self.after else f"- {self.what}: {self.before}"


@dataclass(frozen=True)
class Difference:
    """Two certificates compared.

    Attributes:
        changes: by topic, in the order of ``TOPICS``.
        exit_code: 0 the second says no less · 1 a node that the first certifies has failed · 3 the second says less otherwise.
    """

    changes: tuple[Change, ...]

    @property
    def exit_code(self) -> int:
        """As of every command: 1 is for a node that failed."""
        return 1 if any(each.failed for each in self.changes) else 3 if any(each.less for each in self.changes) else 0

    def lines(self, before: str, after: str) -> Iterator[str]:
        """For people: ``+`` is new in the second, ``-`` is gone, ``~`` is another; ``!`` in front: the second says less there.

        Args:
            before: name of the first.
            after: name of the second.
        """
        for topic in TOPICS:
            mine = [each for each in self.changes if each.topic == topic]
            yield from [topic] if mine else []
            yield from (f"{'!' if each.less else ' '} {each}" for each in mine)
        less = sum(each.less for each in self.changes)
        if not self.changes:
            yield f"{after} says what {before} says."
        elif less:
            yield f"{after} says less than {before} in {less} of {counted(len(self.changes), 'difference')}."
        else:
            yield f"{after} says no less than {before}; {counted(len(self.changes), 'difference')}."


def difference(before: Statement, after: Statement) -> Difference:
    """Compare two statements of certificates.

    Raises:
        StoreError: one of them lacks what a certificate of this version has.
    """
    kinds = (_nodes, _scope, _limits, _evidence, _environment, _expiry)
    try:
        return Difference(tuple(change for kind in kinds for change in kind(before, after)))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise StoreError(f"A certificate is signed, but not of this version: {fault}.") from None


def _nodes(before: Statement, after: Statement) -> Iterator[Change]:
    first, second = ({node["node"]: node for node in each["nodes"]} for each in (before, after))
    others = {node["node"]: node for node in after["not_certified"]}
    for name, node in first.items():
        if name in second:
            yield from _devices(name, node, second[name])
            continue
        failed = name in others and others[name]["verdict"] == _FAILED
        said = f"{others[name]['verdict']}: {'; '.join(others[name]['reasons'])}" if name in others else "not named"
        yield Change("nodes", name, "certified", said, less=True, failed=failed)
    was = {node["node"]: node["verdict"] for node in before["not_certified"]}
    for name in second.keys() - first.keys():
        yield Change("nodes", name, was.get(name, ""), "certified")


def _devices(name: str, before: Statement, after: Statement) -> Iterator[Change]:
    """GPUs by their places; one that is another one now was certified as well, and somebody wants to know."""
    first, second = ({unit["device"]: unit for unit in node["units"]} for node in (before, after))
    for device in sorted(first.keys() | second.keys()):
        was, now = (_unit(units.get(device)) for units in (first, second))
        if was != now:
            yield Change("nodes", f"{name} {device}", was, now, less=not now)


def _unit(unit: Mapping[str, str] | None) -> str:
    return " ".join(filter(None, (unit["model"], unit["uuid"], unit["serial"]))) if unit else ""


def _scope(before: Statement, after: Statement) -> Iterator[Change]:
    first, second = (_checks(each) for each in (before, after))
    for name in sorted(first.keys() | second.keys()):
        was, now = first.get(name, ""), second.get(name, "")
        if was != now:
            yield Change("scope", f"check {name}", was or "not run", now or "not run", less=not now)
    for what in ("suite", "launcher", "image", "gpus_per_node", "exit_code"):
        was, now = (_said(each, what) for each in (before, after))
        if was != now:
            yield Change("scope", what.replace("_", " "), was, now)
    shares = [_coverage(each) for each in (before, after)]
    if shares[0] != shares[1]:
        less = shares[1] < shares[0]
        yield Change("scope", "coverage", show(shares[0], "share"), show(shares[1], "share"), less=less)
    for text in sorted({*before["reservations"]} ^ {*after["reservations"]}):
        new = text in after["reservations"]
        yield Change("scope", "reservation", "" if new else text, text if new else "", less=new)


def _checks(statement: Statement) -> dict[str, str]:
    """Check → its parameters, of every run that has it."""
    found: dict[str, set[str]] = {}
    for run in statement["runs"]:
        for spec in run["checks"]:
            words = [f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(spec["params"].items())]
            words += [] if spec.get("required", True) else ["optional"]
            found.setdefault(spec["name"], set()).add(", ".join(words) or "as it comes")
    return {name: "; ".join(sorted(texts)) for name, texts in found.items()}


def _said(statement: Statement, what: str) -> str:
    values = {str(run["asked"].get(what) if what == "gpus_per_node" else run[what]) for run in statement["runs"]}
    return ", ".join(sorted(values - {""}))


def _coverage(statement: Statement) -> float:
    asked, judged = (sum(run["coverage"][name] for run in statement["runs"]) for name in ("asked", "judged"))
    return judged / asked if asked else 0.0


def _limits(before: Statement, after: Statement) -> Iterator[Change]:
    first, second = (_bounds(each) for each in (before, after))
    for key in sorted(first.keys() | second.keys()):
        was, now = first.get(key), second.get(key)
        what = f"{key[0]} ({key[1]})"
        if was is None or now is None:
            yield Change("limits", what, str(was or "not asked"), str(now or "not asked"), less=now is None)
        elif key[1] not in _OWN_BOUNDS and not was.like(now):
            yield Change("limits", what, str(was), str(now), less=not now.inside(was))


@dataclass(frozen=True)
class _Bounds:
    """The widest bounds that any subject of any run was judged by; infinite: none."""

    lower: float
    upper: float
    unit: str

    def like(self, other: _Bounds) -> bool:
        return self.unit == other.unit and all(
            math.isclose(a, b, rel_tol=_SAME) for a, b in ((self.lower, other.lower), (self.upper, other.upper))
        )

    def inside(self, other: _Bounds) -> bool:
        """True where nothing passes that the other refuses; in another unit nobody can say so."""
        return self.unit == other.unit and self.lower >= other.lower and self.upper <= other.upper

    def widened(self, other: _Bounds) -> _Bounds:
        return _Bounds(min(self.lower, other.lower), max(self.upper, other.upper), self.unit)

    def __str__(self) -> str:
        lower, upper = (bound if math.isfinite(bound) else None for bound in (self.lower, self.upper))
        if lower is None and upper is None:
            return "judged by nothing"
        return describe(Limit(lower, upper, self.unit, "suite"))


def _bounds(statement: Statement) -> dict[tuple[str, str], _Bounds]:
    """(metric key, question) → bounds."""
    found: dict[tuple[str, str], _Bounds] = {}
    for run in statement["runs"]:
        for each in run["limits"]:
            key = each["key"], each["question"] or "no question"
            low, high = each["lower"] or [-math.inf], each["upper"] or [math.inf]
            bounds = _Bounds(float(min(low)), float(max(high)), each["unit"])
            found[key] = found[key].widened(bounds) if key in found else bounds
    return found


def _evidence(before: Statement, after: Statement) -> Iterator[Change]:
    first, second = ({run["run"]: run for run in each["runs"]} for each in (before, after))
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            here = first.get(name) or second[name]
            said = f"{len(here['files'])} files, planned {here['planned_at']}"
            yield Change("evidence", f"run {name}", said if name in first else "", said if name in second else "")
            continue
        for what, files in changed(first[name]["files"], second[name]["files"]).items():
            # run.h5 follows from the journals and may be written again.
            less = any(file != "run.h5" for file in files)
            yield Change("evidence", f"run {name}", "", f"{what}: {', '.join(files)}", less=less)


def _environment(before: Statement, after: Statement) -> Iterator[Change]:
    first, second = (_facts(each) for each in (before, after))
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            yield Change("environment", name, first.get(name, ""), second.get(name, ""))


def _facts(statement: Statement) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for run in statement["runs"]:
        measured = {f"hpcaccept {name}": text for name, text in run["hpcaccept"].items()}
        for name, text in {**run["environment"], **measured}.items():
            found.setdefault(name, set()).add(str(text))
    for name, text in statement["hpcaccept"].items():
        found[f"judged by hpcaccept {name}"] = {str(text)}
    return {name: ", ".join(sorted(texts)) for name, texts in found.items()}


def _expiry(before: Statement, after: Statement) -> Iterator[Change]:
    for name, what in (("issued_at", "issued"), ("expires_at", "expires")):
        if before[name] != after[name]:
            less = name == "expires_at" and after[name] < before[name]
            yield Change("expiry", what, before[name], after[name], less=less)
