"""Which changes are tried, and which tests should notice each?"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from mutants.operators import Mutant, mutants_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

ROOT = Path(__file__).parents[2]


def draw(found: Sequence[Mutant], count: int, rng: Random) -> list[Mutant]:
    """A systematic sample: a file counts by the root of its number of changes, within it each kind of change likewise."""
    files = Counter(mutant.path for mutant in found)
    kinds = Counter((mutant.path, mutant.operator) for mutant in found)
    of_file: dict[str, float] = defaultdict(float)
    for (path, _), number in kinds.items():
        of_file[path] += number**0.5
    mixed = rng.sample(list(found), len(found))
    mixed.sort(key=lambda mutant: (mutant.path, mutant.operator))
    weights = [files[m.path] ** 0.5 / of_file[m.path] / kinds[m.path, m.operator] ** 0.5 for m in mixed]
    step, reached = sum(weights) / max(count, 1), 0.0
    next_at = rng.random() * step
    drawn: list[Mutant] = []
    for mutant, weight in zip(mixed, weights, strict=True):
        reached += weight
        if reached > next_at and len(drawn) < count:
            drawn.append(mutant)
            next_at = max(next_at + step, reached)
    return drawn


def mutants_below(path: str) -> list[Mutant]:
    place = ROOT / path
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [mutant for file in files for mutant in mutants_of(str(file.relative_to(ROOT)), file.read_text("utf-8"))]


def nearest_tests(path: str) -> list[str]:
    """Test files of a module, the nearest first: its mirror, else those that name it or mirror a module that imports it; its room."""
    parts = Path(path).with_suffix("").parts
    unit, own, package = Path("tests/unit"), ".".join(parts), ".".join(parts[:-1])
    room = unit.joinpath(*parts[1:-1])
    named = re.compile(rf"\b{re.escape(own)}\b|from {re.escape(package)} import [^\n]*\b{parts[-1]}\b")
    found = [ROOT / room / f"test_{parts[-1]}.py"]
    if not found[0].exists():
        naming, users = (
            [file for file in sorted((ROOT / top).rglob("*.py")) if named.search(file.read_text("utf-8"))]
            for top in (unit, parts[0])
        )
        mirrors = [ROOT / unit / file.relative_to(ROOT / parts[0]).parent / f"test_{file.name}" for file in users]
        found = [*naming, *mirrors]
    found += sorted((ROOT / room).glob("test_*.py"))
    if parts[1] != "app":  # of which each folder is a use case of its own
        found += sorted((ROOT / unit / parts[1]).rglob("test_*.py"))
    return list(dict.fromkeys(str(file.relative_to(ROOT)) for file in found if file.exists()))


def within(budget_s: float, tests: Iterable[str], seconds: dict[str, float]) -> list[str]:
    """The nearest tests that take no longer together; the first one always."""
    chosen: list[str] = []
    for test in tests:
        if not chosen or sum(map(seconds.__getitem__, chosen)) + seconds[test] <= budget_s:
            chosen.append(test)
    return chosen
