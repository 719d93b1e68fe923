"""Whether an offer meets what is asked of a machine, and by how much it misses.

Requirements are data: ``requirement_sets/NAME.toml``, each with its source and the day it was read. Published sets disagree, so one is the default
and the others are chosen by name, or a site writes its own file.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from hpcaccept.provider.vast.offers import Offer

DEFAULT = "self-test"
_FOLDER = Path(__file__).parent / "requirement_sets"
_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
#: Numbers that a rule may name beside those of the listing.
_DERIVED = ("num_gpus", "total_vram_mib", "total_vram_gib", "vram_gib_per_gpu", "reliability")
_KEYS = {"id", "field", "compare", "required", "unit", "remedy"}
_OF_KEYS = {"times", "of", "at_least", "at_most"}
Outcome = Literal["met", "missed", "unknown"]


@dataclass(frozen=True)
class Rule:
    """One requirement.

    Attributes:
        id: stable name.
        field: of the listing, or one of ``_DERIVED``.
        compare: ``>``, ``>=``, ``<`` or ``<=``.
        times: the limit itself, or what ``of`` is multiplied by.
        of: a number that the limit grows with; empty: none.
        at_least: the limit is never below it.
        at_most: the limit is never above it.
        unit: of both sides.
        remedy: what the host can do.
    """

    id: str
    field: str
    compare: str
    times: float
    of: str
    at_least: float | None
    at_most: float | None
    unit: str
    remedy: str

    def limit(self, offer: Offer) -> float | None:
        """What is required of this offer; None where the listing lacks what it grows with."""
        base = 1.0 if not self.of else number_of(offer, self.of)
        if base is None:
            return None
        limit = self.times * base
        limit = max(limit, self.at_least) if self.at_least is not None else limit
        return min(limit, self.at_most) if self.at_most is not None else limit


@dataclass(frozen=True)
class RequirementSet:
    """Rules with where they come from.

    Attributes:
        name: of the set.
        about: whose they are.
        source: where they are published.
        read: when.
        rules: in the order of the file.
    """

    name: str
    about: str
    source: str
    read: dt.date
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Finding:
    """One rule, looked at.

    Attributes:
        rule: that was looked at.
        actual: what the listing says; None: nothing.
        required: the limit; None where it cannot be computed.
        outcome: ``unknown`` is never taken for ``met``.
    """

    rule: Rule
    actual: float | None
    required: float | None
    outcome: Outcome

    @property
    def missing(self) -> float | None:
        """By how much it is missed, as a share of what is required; None unless it is missed."""
        if self.outcome != "missed" or self.actual is None or not self.required:
            return None
        return abs(self.required - self.actual) / abs(self.required)

    def __str__(self) -> str:
        actual = "not listed" if self.actual is None else f"{self.actual:,.6g} {self.rule.unit}"
        required = "not computable" if self.required is None else f"{self.required:,.6g} {self.rule.unit}"
        return f"{self.rule.id}: found {actual}, expected {self.rule.compare} {required}"


def judge(requirements: RequirementSet, offer: Offer) -> tuple[Finding, ...]:
    """Every rule of a set, on what a listing says."""
    return tuple(_finding(rule, offer) for rule in requirements.rules)


def _finding(rule: Rule, offer: Offer) -> Finding:
    actual, required = number_of(offer, rule.field), rule.limit(offer)
    if actual is None or required is None:
        return Finding(rule, actual, required, "unknown")
    return Finding(rule, actual, required, "met" if _COMPARE[rule.compare](actual, required) else "missed")


def number_of(offer: Offer, name: str) -> float | None:
    """A number of the listing, or one derived from it; None where it is not listed."""
    total = offer.total_vram_mib
    derived = {
        "num_gpus": float(offer.num_gpus),
        "reliability": offer.reliability,
        "total_vram_mib": total,
        "total_vram_gib": total / 1024 if total else None,
        "vram_gib_per_gpu": total / offer.num_gpus / 1024 if total else None,
    }
    return derived[name] if name in derived else offer.number(name)


def names() -> tuple[str, ...]:
    """The sets that come with hpcaccept, the default first."""
    found = sorted(file.stem for file in _FOLDER.glob("*.toml"))
    return (DEFAULT, *(each for each in found if each != DEFAULT))


def read_set(name: str) -> RequirementSet:
    """A set by its name, or of a file ``….toml``.

    Raises:
        UsageError: there is none, or the file is none.
    """
    if name.endswith(".toml"):
        return _set_of(Path(name).stem, read_toml(Path(name)), name)
    if name not in names():
        raise UsageError(f"There are no requirements {name!r}. {nearest(name, names())}", "A file is named by .toml.")
    return _set_of(name, read_toml(_FOLDER / f"{name}.toml"), f"{name}.toml")


def _set_of(name: str, table: Mapping[str, Any], place: str) -> RequirementSet:
    wrong = set(table) ^ {"about", "source", "read", "rule"}
    day = table.get("read")
    if wrong or not isinstance(day, dt.date) or not isinstance(table["rule"], list) or not table["rule"]:
        raise UsageError(
            f"{place}: expected about, source, read (a day) and [[rule]]; {', '.join(sorted(wrong))} is not so."
        )
    rules = tuple(_rule_of(each, f"{place}: rule {number + 1}") for number, each in enumerate(table["rule"]))
    return RequirementSet(name, str(table["about"]), str(table["source"]), day, rules)


def _rule_of(table: Mapping[str, Any], place: str) -> Rule:
    if wrong := set(table) ^ _KEYS:
        raise UsageError(f"{place}: {', '.join(sorted(wrong))}; expected exactly {', '.join(sorted(_KEYS))}.")
    if table["compare"] not in _COMPARE:
        raise UsageError(f"{place}: compare is {table['compare']!r}, expected one of {' '.join(_COMPARE)}.")
    required = table["required"]
    grows = required if isinstance(required, Mapping) else {"times": required}
    if set(grows) - _OF_KEYS or not all(_is_number(each) for key, each in grows.items() if key != "of"):
        raise UsageError(
            f"{place}: required is {required!r}, expected a number or a table of {', '.join(sorted(_OF_KEYS))}."
        )
    of = str(grows.get("of", ""))
    if of and of not in _DERIVED:
        raise UsageError(f"{place}: of is {of!r}. {nearest(of, _DERIVED)}")
    return Rule(
        str(table["id"]), str(table["field"]), table["compare"], float(grows["times"]), of,
        grows.get("at_least"), grows.get("at_most"), str(table["unit"]), str(table["remedy"]),
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
