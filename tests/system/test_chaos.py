"""Kinds of ``python -m faults.chaos`` that are made nowhere else in the tests: named, and nothing lost, blamed or left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults.chaos import KINDS, Ground, Kind, outcome_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.short], ids=lambda kind: kind.name)
def test_what_goes_wrong_is_named_and_harms_nothing_else(kind: Kind, tmp_path: Path) -> None:
    if kind.why_not:
        pytest.skip(kind.why_not)
    outcome = outcome_of(kind, Ground(tmp_path, None))
    assert outcome.perfect, outcome
