"""hpcaccept.judge.revise.cancelled: a run that somebody ended blames nobody for a speed; what was proven wrong stays so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import AT, evidence, judged, nodes, of, plan, record, suite

from hpcaccept.model.event import CANCELLED, Event
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.job import JobStatus
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence


def run(*, wrong: bool = False, **more: object) -> Evidence:
    """node3 is slow, node2 is warned of by its peers, and node1 may compute wrongly."""
    rates = {"node2": 97.0, "node3": 50.0}
    records = [
        record("speed", n, {"rate_flops": rates.get(n, 100.0), "wrong_elements": 3.0 * (wrong and n == "node1")})
        for n in nodes(4)
    ]
    limits = {"speed.rate_flops": Limit(60.0, None, "FLOP/s", "suite", "contract")}
    return replace(evidence(records, plan(suite(limits=limits))), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [{"events": (Event("ended", AT, detail=CANCELLED),)}, {"job": JobStatus("cancelled", "CANCELLED by 0"), "events": ()}],
    ids=["told to end", "the scheduler says so"],
)  # fmt: skip
def test_of_a_run_that_was_cancelled_each_fail_for_a_speed_is_a_warning_that_says_so(more: dict[str, Any]) -> None:
    found = judged(run(**more))
    assert of(found.verdicts, Outcome.FAIL) == []
    warnings = {(v.subject.node, v.question): v for v in of(found.verdicts, Outcome.WARN)}
    assert set(warnings) == {("node2", "peers"), ("node3", "peers"), ("node3", "limits")}
    assert warnings["node3", "limits"].code is FindingCode.JOB_CUT_BLAME
    assert "; not confirmed: the job was cancelled" in warnings["node3", "limits"].reason
    assert warnings["node2", "peers"].code is FindingCode.PEERS_SLOWER
    assert found.exit_code == 3
    wrong = judged(run(wrong=True, **more))
    assert {v.subject.node for v in of(wrong.verdicts, Outcome.FAIL)} == {"node1"}
    assert wrong.exit_code == 1


@pytest.mark.parametrize("more", [{}, {"job": JobStatus("timeout", "TIMEOUT"), "events": (Event("ended", AT),)}])
def test_a_run_that_came_to_its_own_end_blames_as_it_found(more: dict[str, Any]) -> None:
    found = judged(run(**more))
    assert {v.subject.node for v in of(found.verdicts, Outcome.FAIL)} == {"node3"}
    assert found.exit_code == 1
