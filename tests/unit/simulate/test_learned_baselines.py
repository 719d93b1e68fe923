"""What is simulated of learned baselines is what the judge says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.detection.fleets import MODEL, Shape, between_units, catalogue, key_of, launch_of, subjects
from benchmarks.detection.learned import blamed, cells, columns, healthy, relearned, taught
from hpcaccept.judge.questions.baseline import judge_against_baseline
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.table import SampleTable
from hpcaccept.model.verdict import CODE, Outcome


def run_of(nodes: int, gpus: int) -> Evidence:
    """A run without its samples."""
    suite = Suite("learned", "Learned baselines.", tuple(CheckSpec(name) for name in sorted(catalogue())))
    plan = Plan(
        run_id="learned", created_at="", version="", commit="", launcher="", request=Request(nodes=nodes, gpus_per_node=gpus), suite=suite,
        image=Image(), start_deadline_s=0.0,
    )  # fmt: skip
    none = np.empty(0, np.int32)
    table = SampleTable((), subjects(nodes, gpus), none, none, none, none, np.empty(0))
    return Evidence(plan, (), (), (), (), table, ())


@pytest.mark.parametrize("learned", [(3, 1), (2, 8), (8, 8)])
def test_values_held_against_limits_as_arrays_are_blamed_as_the_judge_blames_them(learned: tuple[int, int]) -> None:
    """Of fleets in which a tenth of the units have lost up to 30 %, so that both sides of each limit are met."""
    rng = np.random.default_rng(learned)
    shape = Shape(*learned, metrics=10, width=1.5)
    known, _ = taught(shape, rng, 1)
    there = replace(shape, nodes=16, gpus=8)
    like = between_units(there, rng)
    like *= 1 - rng.uniform(0, 0.3, like.shape) * (rng.random(like.shape) < 0.1)
    value = launch_of(there, like, np.zeros(like.shape[1], bool), rng)
    answers, _ = judge_against_baseline(run_of(16, 8), columns(value, 16, 8), {MODEL: known})
    told = np.zeros(value.shape, bool)
    of_key = {key_of(metric): metric for metric in range(len(value))}
    for answer in answers:
        told[of_key[answer.key], answer.subject] = answer.outcome == CODE[Outcome.FAIL]
    assert (told == blamed(known, value)).all()
    assert told.any()


def test_a_cell_counts_its_runs() -> None:
    cell = healthy("x1", 5, (8, 1), 3)
    assert [row["of"] for row in cell["rows"]] == [3, 3, 3, 3]
    again = relearned("x1", 5, (2, 8), 3)
    assert (again["of"], again["declined"]) == (3, 3)
    assert set(cells(0.01)) >= {"learned healthy t(5) 64x8 M30", "learned found x1 4x1 M5", "learned again x2 2x8 M30"}
