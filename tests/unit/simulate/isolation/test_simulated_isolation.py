"""Simulated isolations: the fleet does what it says, searches are counted, and a tiny cell with a fixed seed is right."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from hpcaccept.cli.simulate import FAULTS, simulate
from hpcaccept.simulate.isolation.rivals import RIVALS
from hpcaccept.simulate.isolation.score import OURS, Cell, measured
from hpcaccept.simulate.isolation.world import Noise, World, made, ran

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bad_node_fails_every_group_that_it_is_in() -> None:
    world = World(8, bad={3: math.nan}, quality=np.ones(8))
    shown = ran(world, [[0, 1, 2], [3, 4], [5, 6, 7]], np.random.default_rng(1))
    assert [failed for failed, _ in shown] == [False, True, False]


def test_a_slow_node_slows_its_group() -> None:
    world = World(4, bad={2: 0.1}, noise=Noise(value=1e-6, disturbed=0.0), quality=np.ones(4))
    shown = ran(world, [[0, 1], [2, 3]], np.random.default_rng(1))
    assert [value for _, value in shown] == pytest.approx([1.0, 0.9], abs=1e-4)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_of_the_command_line_can_be_made(kind: str) -> None:
    world = made(16, kind, 1, math.nan, Noise(), np.random.default_rng(1), leaves=4, size=8)
    assert world.hit(set(range(16)))
    assert not world.hit(set(range(2)) - set(world.bad) - set(world.link[:1]))


@pytest.mark.parametrize("name", RIVALS)
def test_other_searches_count_their_tests_and_find_a_bad_node_without_noise(name: str) -> None:
    world = World(16, bad={5: math.nan}, quality=np.ones(16))
    found = RIVALS[name](world, np.random.default_rng(1))
    assert 5 in found.nodes
    assert found.tests >= found.rounds >= 1
    assert found.node_tests >= 16


def test_a_tiny_cell_without_noise_is_right() -> None:
    row = measured(Cell("tiny", nodes=16, count=1, noise=Noise()), 3, [OURS])[OURS]
    assert row["right"] == row["trials"] == 3
    assert row["false"] == 0


def test_methods_get_the_same_fleets() -> None:
    rows = measured(Cell("pairs", nodes=16, count=2), 3, ["one matching", "matching, then known good"])
    assert [row["bad"] for row in rows.values()] == [6, 6]
    assert rows["matching, then known good"]["right"] == 3


def test_the_command_prints_a_table_and_writes_the_numbers(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    arguments = ["isolation", "--nodes", "16", "--runs", "2", "--others", "--json", str(file)]
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 0, result.output
    assert "exactly right" in result.output
    assert set(json.loads(file.read_text())) == {OURS, *RIVALS}


def test_a_leaf_pair_needs_leaves() -> None:
    result = CliRunner().invoke(simulate, ["isolation", "--fault", "leaf_pair"])
    assert result.exit_code != 0
    assert "--leaves" in str(result.exception)
