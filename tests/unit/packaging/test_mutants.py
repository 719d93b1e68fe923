"""``make mutants``: which changes it makes, and that its sample is what its seed says."""

from __future__ import annotations

from random import Random

import pytest
from mutants.__main__ import GROUPS
from mutants.operators import mutants_of
from mutants.selection import ROOT, draw, nearest_tests

TEXT = '''"""Doc."""
import re
LIMITS = ("a", "b")
def f(a: int | None, x: list[float]) -> bool:
    """Doc."""
    if a > 1 and not x:
        x.append(0.5)
        return any(y < 2 for y in x[1:] if y)
    return f"{a + 1}" == re.sub(r"\\\\d+$", "", "text")
'''


def test_each_kind_of_change_is_made_and_nothing_that_only_people_read() -> None:
    made = {(m.operator, m.new) for m in mutants_of("f.py", TEXT)}
    assert made >= {
        ("element of a literal", "('a',)"),
        ("compare", "(a >= 1)"),
        ("boolean", "(a > 1 or not x)"),
        ("dropped term", "((not x))"),
        ("negated condition", "(not (a > 1 and (not x)))"),
        ("arithmetic", "(x)"),
        ("dropped statement", "pass"),
        ("constant", "0.625"),
        ("constant", "2"),
        ("min/max, any/all", "all"),
        ("slice", "x[:]"),
        ("dropped filter", "True"),
        ("regex", repr(r"\\d*$")),
    }
    untouched = {"a + 1", "int | None", '"""Doc."""'}
    assert not untouched & {m.old for m in mutants_of("f.py", TEXT)}


def test_every_change_changes_one_place_and_still_compiles() -> None:
    for mutant in mutants_of("f.py", TEXT):
        changed = mutant.applied(TEXT.encode())
        assert changed != TEXT.encode()
        compile(changed, "f.py", "exec")
        assert changed.count(b"\n") == TEXT.count("\n")
        assert TEXT.splitlines()[mutant.line - 1].strip() == mutant.context


def test_a_sample_is_seeded_bounded_and_spread_over_files() -> None:
    found = [m for name in ("a.py", "b.py", "c.py") for m in mutants_of(name, TEXT)]
    one, same, other = (draw(found, 9, Random(seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one) == len(set(one)) == 9
    assert {m.path for m in one} == {"a.py", "b.py", "c.py"}
    assert set(draw(found, 10_000, Random(1))) == set(found)


def test_what_the_groups_name_is_there() -> None:
    assert all((ROOT / path).exists() for path, _ in GROUPS.values())
    assert sum(share for _, share in GROUPS.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("module", "nearest"),
    [
        ("hpcaccept/judge/questions/missing.py", "tests/unit/judge/questions/test_missing.py"),
        ("hpcaccept/report/redact.py", "tests/unit/app/bundle/test_pack.py"),
        ("hpcaccept/app/commit.py", "tests/unit/app/test_commit.py"),
    ],
)
def test_the_nearest_tests_of_a_module_mirror_it_or_else_name_it(module: str, nearest: str) -> None:
    found = nearest_tests(module)
    assert found[0] == nearest
    assert len(found) == len(set(found))
    assert all((ROOT / test).exists() for test in found)
