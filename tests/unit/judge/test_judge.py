"""Whatever a run left behind: the judge never raises, nothing passes without a number and a limit, a report comes out."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.builders import (
    AT,
    CATALOGUE,
    H100,
    UNIQUE,
    baseline,
    every,
    evidence,
    fleet,
    judged,
    judged_run_of,
    nodes,
    plan,
    rank_started,
    record,
    suite,
)

from hpcaccept.judge import judge
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.model.event import Event
from hpcaccept.model.history import Past, PastRun, environment_digest
from hpcaccept.model.job import JobStatus
from hpcaccept.model.metric import Limit
from hpcaccept.model.record import UnreadableLine
from hpcaccept.model.suite import CheckSpec, PeerRule
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.formats import render
from hpcaccept.report.judged import Judged
from hpcaccept.report.model import summarise
from hpcaccept.report.views.first_page import first_page

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

value = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 1.0, 100.0, 90.0]))
text = st.text(max_size=8)
name = st.sampled_from(["node0", "node1", "node2", "node3", "intruder"])
METRICS = {
    "speed": ["rate_flops", "latency_s", "wrong_elements", "spread"],
    "identity": ["cores", "gpu_count"],
    "fabric": ["busbw_bytes"],
}
variant = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="[]"), max_size=4)


@st.composite
def records(draw: st.DrawFn) -> Any:
    check = draw(st.sampled_from(list(METRICS)))
    keys = st.sampled_from(METRICS[check]).flatmap(
        lambda metric: variant.map(lambda v: f"{metric}[{v}]" if v else metric)
    )
    numbers = draw(st.dictionaries(keys, st.lists(value, min_size=1, max_size=3), max_size=4))
    return record(
        check, draw(name), numbers,
        outcome=draw(st.sampled_from(["measured", "not_run", "error"])),
        step=draw(st.sampled_from(["00", "01", "02"])),
        device=draw(st.sampled_from(["cuda:0", "cuda:1", "cpu", ""])),
        device_model=draw(st.sampled_from([H100, "", "CPU"])),
        cause=draw(st.text(min_size=1, max_size=8)), remedy=draw(text),
        by_peer=draw(st.booleans()), cut_short=draw(st.booleans()),
        unsupported=draw(st.dictionaries(text, text, max_size=1)),
        facts=draw(st.dictionaries(text, text, max_size=2)),
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> Evidence:
    checks = draw(st.lists(st.sampled_from(list(METRICS)), min_size=1, max_size=3, unique=True))
    specs = [CheckSpec(check, required=draw(st.booleans())) for check in checks]
    limits = {
        key: Limit(low, None, unit, "suite")
        for key, unit in draw(
            st.lists(
                st.sampled_from(
                    [("speed.rate_flops", "FLOP/s"), ("speed.rate_flops[x]", "FLOP/s"), ("speed.spread", "share")]
                ),
                max_size=2,
            )
        )
        if key.partition(".")[0] in checks
        for low in [draw(st.floats(-1e12, 1e12))]
    }
    rule = PeerRule(
        draw(st.booleans()), draw(st.integers(3, 5)), draw(st.floats(1e-20, 0.9)), draw(st.none() | st.floats(0, 0.9))
    )
    the_suite = suite(*specs, limits=limits, peers=rule, baseline=draw(st.sampled_from(["required", "optional"])))
    the_plan = plan(
        the_suite,
        nodes=draw(st.integers(1, 5)),
        gpus_per_node=draw(st.sampled_from([0, 1, 8])),
        ranks_per_node=draw(st.sampled_from([1, 2, 8])),
    )
    names = draw(st.sampled_from([(), nodes(1), nodes(4)]))
    kind = st.sampled_from(["started", "step_started", "step_ended", "death", "excluded", "retest", "ended"])
    events = draw(
        st.lists(
            st.builds(
                Event,
                kind,
                st.just(AT),
                nodes=st.lists(name, max_size=2).map(tuple),
                check=st.sampled_from(["", *METRICS]),
                detail=text,
            ),
            max_size=3,
        )
    )
    rank_starts = tuple(
        rank_started(i, node, boot_id=draw(st.sampled_from(["a", node])), in_turn=draw(st.booleans()))
        for i, node in enumerate(names)
    )
    return evidence(
        draw(st.lists(records(), max_size=8)), the_plan, names=names, rank_starts=rank_starts, events=tuple(events),
        unreadable=tuple(draw(st.lists(st.builds(UnreadableLine, text, text), max_size=1))),
        job=draw(st.none() | st.builds(JobStatus, st.sampled_from(["timeout", "lost", "running"]), text)),
    )  # fmt: skip


def holds(run: Judged) -> None:
    """What is true of every judgement, whatever was judged."""
    judgement, found = run.judgement, run.evidence
    measured = set(found.samples.value.tolist())
    for verdict in every(judgement):
        assert verdict.check
        assert verdict.reason
        if verdict.outcome is Outcome.PASS:
            assert verdict.value is not None
            assert verdict.limit is not None
            assert verdict.limit.met_by(verdict.value)
            assert verdict.metric == "drift" or len(measured) > 0
    assert judgement.exit_code in (0, 1, 3)
    assert (judgement.exit_code == 1) == bool(judgement.counts()[Outcome.FAIL])
    if judgement.exit_code == 0:
        assert any(v.outcome.is_judged for v in every(judgement))
        for spec in found.plan.suite.checks:
            for node in found.nodes:
                told = [v for v in every(judgement) if v.check == spec.name and v.subject.node in (node, "")]
                assert told or not spec.required, "a required check of which nothing is said"
    assert judgement.coverage.judged <= max(judgement.coverage.asked, len(found.nodes) * len(found.plan.suite.checks))

    document = json.loads(render("json", run))
    assert len(document["verdicts"]) == len(every(judgement)) == sum(document["counts"].values())
    assert [v for v in every(judgement) if v.outcome is not Outcome.PASS] == list(judgement.verdicts)
    out = io.StringIO()
    Console(file=out, width=80).print(first_page(run))
    assert f"Exit code {judgement.exit_code}." in out.getvalue()
    assert "\x1b" not in out.getvalue()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs(), st.booleans())
@example(evidence([record("speed", n, {"rate_flops": [1.7e308, 1e-300]}) for n in nodes(4)]), False)
@example(evidence([record("speed", n, {"rate_flops": 1.7e308, "latency_s": 1.7e308}) for n in nodes(4)]), True)
@example(evidence([record("speed", n, {"rate_flops": [-1e292, 1.797e308]}) for n in nodes(4)]), False)
def test_every_run_is_judged_and_reported_and_nothing_passes_unmeasured(found: Evidence, known: bool) -> None:
    holds(judged_run_of(found, {H100: baseline()} if known else {}))


#: What is wrong with one node of a good fleet → exit code, the worst that is said of the node, and how the question is called that says it.
HARMS: dict[str, tuple[int, Outcome | None, str]] = {
    "nothing": (0, None, ""),
    "slow": (1, Outcome.FAIL, "peers"),
    "a little slow": (3, Outcome.WARN, "peers"),
    "slower than it was": (3, Outcome.WARN, "history"),
    "wrong": (1, Outcome.FAIL, "limits"),
    "a GPU is gone": (1, Outcome.FAIL, "limits"),
    "another driver": (3, Outcome.WARN, "limits"),
    "silent": (3, Outcome.ERROR, ""),
    "without a number": (3, Outcome.ERROR, ""),
    "skipped": (3, Outcome.NOT_RUN, ""),
}


@st.composite
def fleets(draw: st.DrawFn, harm: str) -> tuple[Evidence, Past, str]:
    """Six to twelve even nodes with eight to ten even runs behind them, of which one has the harm; and its name."""
    count = draw(st.integers(6, 12))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    level, odd = draw(st.sampled_from([1e-3, 1.0, 9.9e14])), draw(st.integers(0, count - 1))
    steady = level * (1 + 1e-4 * rng.standard_normal((draw(st.integers(8, 10)) + 1, count)))
    found = []
    for i, node in enumerate(nodes(count)):
        here = harm if i == odd else "nothing"
        if here == "silent":
            continue
        share = {"slow": 0.7, "a little slow": 0.97, "slower than it was": 0.981}.get(here, 1.0)
        numbers = {"rate_flops": steady[-1, i] * share, "wrong_elements": float(here == "wrong")}
        if here == "without a number":
            del numbers["rate_flops"]
        facts = {"driver": "570" if here == "another driver" else "580"}
        found.append(record("identity", node, {"cores": 8, "gpu_count": float(here != "a GPU is gone")}, facts=facts))
        more = {"outcome": "not_run", "cause": "no time left"} if here == "skipped" else {}
        found.append(record("speed", node, {} if more else numbers, **more))
    place = tuple(f"{node}/cuda:0" for node in nodes(count))
    digest = environment_digest({"driver": "580"})
    before = tuple(
        PastRun(f"run-{i}", f"2026-10-{i + 1:02d}T02:00:00+00:00", digest, "test") for i in range(len(steady) - 1)
    )
    the_plan = plan(suite("identity", "speed"), nodes=count)
    return evidence(found, the_plan), Past(before, place, {"speed.rate_flops": steady[:-1]}), f"node{odd}"


@pytest.mark.parametrize("harm", HARMS)
def test_of_an_even_fleet_exactly_the_harmed_node_is_named(harm: str) -> None:
    code, worst, question = HARMS[harm]
    met = Counter[str]()

    @settings(max_examples=5, deadline=None)
    @given(fleets(harm))
    def holds_of_a_fleet(fleet_of: tuple[Evidence, Past, str]) -> None:
        found, past, odd = fleet_of
        judgement = judge(found, CATALOGUE, {}, UNIQUE, past)
        values = values_of(found.samples, CATALOGUE)
        holds(Judged(found, values, judgement, summarise(found, judgement, values), where="/runs/it"))
        said = [v for v in every(judgement) if v.outcome not in (Outcome.PASS, Outcome.NO_BASELINE)]
        assert judgement.exit_code == code
        assert {v.subject.node for v in said} == ({odd} if worst else set())
        assert not worst or (worst, question) in {(v.outcome, v.question if question else "") for v in said}
        met.update(f"{v.question} {v.outcome.value}" for v in every(judgement))

    holds_of_a_fleet()
    # A question that is not asked holds nothing.
    assert all(met[f"{asked} PASS"] for asked in ("peers", "history", "limits")), met


def test_the_judge_changes_nothing_it_was_given() -> None:
    found = evidence([record("speed", node, {"rate_flops": 1.0}) for node in nodes(4)])
    before = found.samples.value.copy()
    assert judged(found).verdicts == judged(found).verdicts
    assert (found.samples.value == before).all()


def test_peers_that_cannot_decide_leave_a_run_unjudged_that_nothing_else_judges() -> None:
    found = judged(fleet([1.0, 100.0, 10_000.0, 1_000_000.0]))
    undecided = [v for v in every(found) if v.question == "peers" and v.outcome is Outcome.NO_BASELINE]
    assert undecided
    assert found.exit_code == (1 if found.counts()[Outcome.FAIL] else 3)
    with_a_limit = suite(limits={"speed.rate_flops": Limit(0.5, None, "FLOP/s", "suite", "test.toml")})
    found = judged(fleet([1.0, 100.0, 10_000.0, 1_000_000.0], plan(with_a_limit)))
    assert found.exit_code == (1 if found.counts()[Outcome.FAIL] else 0)
