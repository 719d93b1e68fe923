"""Every fault of the table in docs/explanation/detection.md is found here too, by name, and nobody else is blamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults.scenarios import SCENARIOS, Result, Scenario, result_of

if TYPE_CHECKING:
    from pathlib import Path

#: Made for real in test_bad_days.py and test_whole_runs.py already, on more launchers.
ELSEWHERE = {"healthy", "slow node", "stopped rank", "killed rank"}
pytestmark = [pytest.mark.mpi, pytest.mark.alone]


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.name not in ELSEWHERE], ids=lambda s: s.name)
def test_the_fault_is_found_and_nobody_else_is_blamed(scenario: Scenario, tmp_path: Path) -> None:
    if scenario.why_not:
        pytest.skip(scenario.why_not)
    done = scenario.run(tmp_path, None)
    found = result_of(scenario, done)
    assert found == Result(found.found_by, blamed=()), done.out
    assert bool(found.found_by) == bool(scenario.names), done.out
    assert done.code == (1 if scenario.names else 0), done.out
