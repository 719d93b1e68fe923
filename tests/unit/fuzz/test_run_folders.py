"""Run folders that nobody careful wrote: every node can write into one. A verdict or a sentence, whatever stands there."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from support.hostile import FEW, SEEDS, Site, changed_json, harmed_bytes, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Journals of a run, and files that are one JSON value each.
JOURNALS = ("records/00/r000001.jsonl", "driver.jsonl")
WHOLE = ("plan.json", "steps/00.json", "job.json")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.made(tmp_path_factory.mktemp("site")) as made:
        yield made


def looked_at(site: Site, *, dice: random.Random) -> None:
    """The report, and one of the other commands that read a run."""
    report = typed("report", "run1", "--format", "json")
    if report.code in (0, 1):
        json.loads(report.out)
    others = (
        ["collect", "run1"], ["runs"], ["status", "run1"], ["bundle", "run1", "--node", "node1", "--out", "b.tgz"], ["compare", "run1", "run1"],
        ["history", "add", "run1"], ["baseline", "learn", "run1"], ["report", "run1"],
    )  # fmt: skip
    typed(*dice.choice(others))
    site.must_be_clean()


@FEW
@given(seed=SEEDS)
@pytest.mark.parametrize("name", JOURNALS)
def test_any_line_of_a_journal(site: Site, name: str, seed: int) -> None:
    dice = random.Random(seed)
    lines = site.whole[name].splitlines()
    number = dice.randrange(len(lines))
    lines[number] = changed_json(dice, json.loads(lines[number]))
    site.write(name, b"\n".join(lines) + b"\n")
    looked_at(site, dice=dice)


@FEW
@given(seed=SEEDS)
@pytest.mark.parametrize("name", [*JOURNALS, *WHOLE])
def test_any_bytes(site: Site, name: str, seed: int) -> None:
    dice = random.Random(seed)
    site.write(name, harmed_bytes(dice, site.whole[name]))
    looked_at(site, dice=dice)


@pytest.mark.parametrize("name", ["nodes", "gpus_per_node", "ranks_per_node"])
@pytest.mark.parametrize("number", [2**31, 2**63, -1])
def test_a_plan_of_more_than_there_can_be(site: Site, name: str, number: int) -> None:
    plan = json.loads(site.whole["plan.json"])
    plan["request"][name] = number
    site.write("plan.json", json.dumps(plan).encode())
    said = typed("report", "run1")
    assert said.code == 3
    assert f"{name} is {number:,}, expected 0 to" in said.err


@FEW
@given(seed=SEEDS)
@pytest.mark.parametrize("name", WHOLE)
def test_any_value_of_a_plan_a_step_and_a_job(site: Site, name: str, seed: int) -> None:
    dice = random.Random(seed)
    site.write(name, changed_json(dice, json.loads(site.whole[name])))
    looked_at(site, dice=dice)
