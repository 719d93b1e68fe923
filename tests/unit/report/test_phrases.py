"""The sentences that every report shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import evidence, fleet, judged_run_of, plan, record, suite

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import Outcome, Subject, Verdict
from hpcaccept.report.phrases import conclusion, troubles


def said(nodes: dict[str, Outcome], asked: int, code: int = 1) -> str:
    judged = judged_run_of(fleet([100.0] * asked))
    summary, judgement = replace(judged.summary, nodes=nodes), replace(judged.judgement, exit_code=code)
    ended = conclusion(replace(judged, summary=summary, judgement=judgement))
    return f"{ended.word}: {ended.sentence}"


@pytest.mark.parametrize(
    ("failed", "asked", "expected"),
    [
        (["n1"], 4, "NOT ACCEPTED: n1 is not fit for work (1 of 4 nodes)."),
        (["n1", "n2", "n7"], 8, "NOT ACCEPTED: n[1-2,7] are not fit for work (3 of 8 nodes)."),
        (["a b", "n2"], 8, "NOT ACCEPTED: n2, a b are not fit for work (2 of 8 nodes)."),
        ([], 4, "NOT ACCEPTED: What all nodes did together failed; no single node is blamed."),
    ],
)
def test_a_run_that_failed_names_the_nodes(failed: list[str], asked: int, expected: str) -> None:
    assert said({"fine": Outcome.PASS, **dict.fromkeys(failed, Outcome.FAIL)}, asked) == expected


@pytest.mark.parametrize("count", [400, 2000])
def test_more_nodes_than_a_sentence_holds_are_counted(count: int) -> None:
    names = [f"rack{number * 37 % 1009}-{number * 3}" for number in range(count)]
    text = said(dict.fromkeys(names, Outcome.FAIL), 4)
    assert f" and {count - 16:,} more are not fit for work ({count:,} of 4 nodes)." in text
    assert len(text) < 600


def test_what_passed_and_what_could_not_be_judged_have_a_sentence() -> None:
    assert said({}, 4, 0) == "ACCEPTED: 4 of 4 nodes passed all that is required."
    well = dict.fromkeys(["node0", "node1", "node2"], Outcome.PASS)
    assert said({**well, "node3": Outcome.WARN}, 4, 3) == "NOT JUDGED: node3 is in doubt (WARN). No node is blamed."
    assert said(well, 4, 3) == "NOT JUDGED: 1 of 4 nodes that was asked for is not in the job. No node is blamed."
    everybody = {**well, "node3": Outcome.PASS}
    assert said(everybody, 4, 3).startswith("NOT JUDGED: Something that is required of all nodes together could not be")


def test_what_nothing_has_judged_is_named_also_when_the_run_is_accepted() -> None:
    (alone,) = [conclusion(judged_run_of(fleet([100.0])))]
    assert alone.sentence == "Not judged, or not all of it: speed on 1 node. No node is blamed."
    records = [record("fabric", f"node{i}", {"busbw_bytes": 1e9, "wrong_elements": 0}, step=0) for i in range(4)]
    together = conclusion(judged_run_of(evidence(records, plan(suite("fabric")))))
    assert together.word == "ACCEPTED"
    assert together.sentence.endswith("passed all that is required. Not judged: busbw bytes.")


def test_what_a_budget_has_left_out_is_named_in_the_conclusion() -> None:
    limited = replace(plan(suite("speed")), left_out=("burn", "pairs"))
    records = [record("speed", f"node{i}", {"rate_flops": 100.0, "wrong_elements": 0}) for i in range(4)]
    short = conclusion(judged_run_of(evidence(records, limited)))
    assert short.sentence.endswith("passed all that is required. Not judged: burn, pairs.")


def test_a_trouble_of_one_device_names_it_and_one_of_all_names_nobody() -> None:
    one = Verdict(Subject("n1", "cuda:3"), "speed", Outcome.ERROR, "it broke", code=FindingCode.CHECK_ERROR)
    everybody = Verdict(Subject(), "speed", Outcome.ERROR, "no line", code=FindingCode.CHECK_ERROR)
    assert [trouble.where for trouble in troubles([one, everybody])] == [("n1 GPU 3",), ()]


def test_a_reason_that_all_share_is_said_once_and_of_nobody_in_particular() -> None:
    found = evidence(
        [record("speed", f"node{i}", cause="no such GPU") for i in range(3)], plan(suite("speed"), nodes=3)
    )
    (trouble,) = troubles(judged_run_of(found).summary.bad)
    assert trouble.reason == "no such GPU"
    assert trouble.reasons == ("no such GPU",)


def test_what_is_not_judged_has_examples_and_no_worst() -> None:
    found = fleet([100.0] * 3 + [90.0], plan(suite("speed", baseline="required"), nodes=4))
    (trouble,) = (t for t in troubles(judged_run_of(found).summary.bad) if t.outcome is Outcome.NO_BASELINE)
    assert trouble.reason.startswith("for example node0 GPU 0: ")
    assert trouble.reasons == (trouble.reason,)
