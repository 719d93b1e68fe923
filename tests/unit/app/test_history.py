"""A judged run enters the history by the identity of its units, and comes out as past, trend and whereabouts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.builders import (
    AT,
    CATALOGUE,
    H100,
    UNIQUE,
    baseline,
    entry,
    every,
    evidence,
    judged,
    judged_run_of,
    of,
    plan,
    rank_started,
    record,
    where,
)
from support.pasts import FP32, MODEL, SETTING, TRIAD, at, past_run

from hpcaccept.app import history
from hpcaccept.cli import main
from hpcaccept.errors import UsageError
from hpcaccept.judge import judge
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.launch.job.known import past_for
from hpcaccept.model.event import Event
from hpcaccept.model.history import (
    ABSENT,
    DISTURBED,
    FAILED,
    PASSED,
    UNJUDGED,
    WARNED,
    PastSubject,
    environment_of,
    subject_id,
)
from hpcaccept.model.metric import Metric
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.judged import Judged
from hpcaccept.report.model import summarise
from hpcaccept.report.views.history import sparkline
from hpcaccept.store.history_file import append, read_runs

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.evidence import Evidence


def run_of(
    night: int,
    rates: dict[str, float],
    *,
    wrong: str = "",
    busy: str = "",
    silent: tuple[str, ...] = (),
    fact: str = "disturbed",
) -> Evidence:
    """One GPU per node; node → rate."""
    the_plan = replace(plan(nodes=len(rates) + len(silent)), run_id=f"night{night}", created_at=at(night))
    records = [
        record(
            "speed", node, {"rate_flops": rate, "wrong_elements": float(node == wrong)}, device_id=f"GPU-{node[4:]}",
            facts={fact: "another process"} if node == busy else {},
        )
        for node, rate in rates.items()
    ]  # fmt: skip
    records += [
        record("identity", node, {"cores": 8}, facts={"driver": "580.1", "gpu_serial": f"16{node[4:]}"})
        for node in rates
    ]
    names = (*rates, *silent)
    return evidence(
        records, the_plan, names=names, rank_starts=tuple(rank_started(i, node) for i, node in enumerate(rates))
    )


def judged_run(found: Evidence) -> Judged:
    judgement, values = judged(found), values_of(found.samples, CATALOGUE)
    return Judged(found, values, judgement, summarise(found, judgement, values))


FOUR = {"node0": 100.0, "node1": 101.0, "node2": 99.0, "node3": 100.5}


def test_who_a_subject_is_survives_its_name() -> None:
    assert subject_id(MeasuredSubject("node0", "cuda:1", "GPU-1")) == "GPU-1"
    assert subject_id(MeasuredSubject("node0", "cpu:1")) == "node0/cpu:1"
    assert subject_id(MeasuredSubject("node0", "")) == "node0"
    assert subject_id(MeasuredSubject("", "")) == "*"


def test_a_run_is_remembered_with_what_was_said_of_each_value() -> None:
    kept = history.to_remember(judged_run(run_of(0, FOUR, wrong="node1", busy="node2", silent=("node9",))))
    column = {subject: i for i, subject in enumerate(kept.subjects)}
    row = {key: i for i, key in enumerate(kept.keys)}
    assert kept.values[row["speed.rate_flops"], column["GPU-3"]] == 100.5
    assert kept.outcomes[row["speed.wrong_elements"], column["GPU-1"]] == FAILED
    assert kept.outcomes[row["speed.rate_flops"], column["GPU-2"]] == DISTURBED
    assert kept.outcomes[row["speed.rate_flops"], column["GPU-0"]] == PASSED
    assert kept.places[column["GPU-3"]] == PastSubject("node3", "cuda:0", MODEL, "8 threads, all at once", "163")
    assert kept.standing[column["node1"]] == FAILED, "a node has what its GPUs have"
    assert kept.standing[column["GPU-0"]] in (PASSED, WARNED, UNJUDGED)
    assert kept.standing[column["node9"]] in (UNJUDGED, FAILED), "a node that never spoke is no accepted node"
    assert kept.facts == {"driver": "580.1"}
    assert kept.revisions == {"speed": 1, "identity": 1}


def test_what_was_measured_in_company_is_never_taken_for_normal_whatever_it_reached() -> None:
    for rates in (FOUR, {**FOUR, "node2": 50.0}):
        kept = history.to_remember(judged_run(run_of(1, rates, busy="node2", fact="contended")))
        column = {subject: i for i, subject in enumerate(kept.subjects)}
        row = {key: i for i, key in enumerate(kept.keys)}
        assert kept.outcomes[row["speed.rate_flops"], column["GPU-2"]] == DISTURBED
        assert kept.outcomes[row["speed.rate_flops"], column["GPU-0"]] != DISTURBED
        assert kept.outcomes[row["speed.wrong_elements"], column["GPU-2"]] != DISTURBED


def test_cells_of_partners_are_not_kept_though_a_node_was_disturbed() -> None:
    to_partner = Metric("exchange_bytes", "B/s", "higher", "", cells="partner")
    catalogue = {**CATALOGUE, "speed": {**CATALOGUE["speed"], to_partner.name: to_partner}}
    records = [
        record("speed", f"node{i}", {"rate_flops": 100.0 + i, f"exchange_bytes[node{1 - i}]": 5.0}, facts={"busy": "another process"})
        for i in range(2)
    ]  # fmt: skip
    found = evidence(records, plan(nodes=2), catalogue=catalogue)
    values = values_of(found.samples, catalogue)
    assert {column.key for column in values} >= {"speed.exchange_bytes[node0]", "speed.exchange_bytes[node1]"}
    judgement = judge(found, catalogue, {}, UNIQUE)
    kept = history.to_remember(Judged(found, values, judgement, summarise(found, judgement, values)))
    assert kept.keys == ("speed.rate_flops",)
    assert (kept.outcomes[0] != ABSENT).sum() == 2


def offenders_of(*found: Judged) -> list[bool]:
    """Of runs: whether any value or subject of them is remembered as failed."""
    kept = [history.to_remember(one) for one in found]
    return [bool((one.outcomes == FAILED).any() or (one.standing == FAILED).any()) for one in kept]


def test_only_a_confirmed_fail_is_a_failure_of_the_unit() -> None:
    slow = {**FOUR, "node3": 50.0}
    whole = run_of(0, slow, wrong="node3")
    assert offenders_of(judged_run(whole)) == [True]
    ended = [
        replace(whole, events=(Event("ended", AT, detail=detail),))
        for detail in ("the job was cancelled", "no time left")
    ]
    killed = replace(whole, events=())
    assert offenders_of(*(judged_run(one) for one in (*ended, killed))) == [False] * 3
    kept = history.to_remember(judged_run(killed))
    column = kept.subjects.index("GPU-3")
    assert (kept.outcomes[:, column] == DISTURBED).any(), "and it is no normal value either"
    assert kept.standing[column] != PASSED


def test_what_is_in_doubt_or_could_not_be_judged_is_no_failure() -> None:
    records = [
        record("speed", node, {"rate_flops": rate}, device_id=f"GPU-{node[4:]}", step=step)
        for step, nodes in (("00", FOUR), ("01", ("node0", "node1", "node2")))
        for node, rate in {**FOUR, "node3": 50.0}.items()
        if node in nodes
    ]
    unconfirmed = evidence(records, plan(nodes=4))
    assert "node3" in where(judged(unconfirmed).verdicts, Outcome.WARN)
    draft = judged_run_of(run_of(0, FOUR), {H100: replace(baseline(entry(lower=200.0)), state="draft")})
    assert of(draft.judgement.verdicts, Outcome.WARN)
    error = evidence([record("speed", node, None, outcome="error") for node in FOUR], plan(nodes=4))
    assert of(judged(error).verdicts, Outcome.ERROR)
    assert offenders_of(judged_run(unconfirmed), draft, judged_run(error)) == [False] * 3


def test_the_past_of_a_run_is_what_its_subjects_reached_before_it(tmp_path: Path) -> None:
    for night in range(3):
        history.remember(judged_run(run_of(night, {name: rate + night for name, rate in FOUR.items()})), tmp_path)
    now = run_of(2, FOUR)
    past = past_for(tmp_path, now)
    assert past is not None
    assert [run.run_id for run in past.runs] == ["night0", "night1"]
    assert past.values["speed.rate_flops"][:, past.subjects.index("GPU-0")].tolist() == [100.0, 101.0]
    assert past_for(tmp_path, run_of(0, FOUR)) is None, "nothing came before the first"


def test_a_retest_by_fewer_nodes_does_not_stand_for_all() -> None:
    both = evidence(
        [
            record("fabric", "node0", {"busbw_bytes": 10.0}),
            record("fabric", "node1", {"busbw_bytes": 20.0}, device_model="x"),
        ]
    )
    kept = history.to_remember(judged_run(both))
    assert kept.values[kept.keys.index("fabric.busbw_bytes"), kept.subjects.index("*")] == 10.0


def test_the_environment_is_what_most_nodes_say() -> None:
    records = [
        record("identity", f"node{i}", {}, facts={"driver": "580" if i else "570", "hostname": f"h{i}"})
        for i in range(3)
    ]
    assert environment_of(records) == {"driver": "580"}


def test_accepted_last(tmp_path: Path) -> None:
    nodes = [PastSubject("node0"), PastSubject("node1")]
    for night, standing in enumerate(([PASSED, FAILED], [WARNED, FAILED], [FAILED, UNJUDGED])):
        append(tmp_path, [past_run(night, {}, subjects=("node0", "node1"), places=nodes, standing=standing)])
    assert history.last_accepted(tmp_path) == {"node0": at(0)}, "in doubt is not accepted"


def declining(folder: Path, nights: int = 30) -> None:
    """GPU-a is steady, GPU-b loses 5 % at night 20 and for good, GPU-a and -b swap their places at night 10."""
    noise = np.random.default_rng(5).normal(0, 0.0005, (nights, 2))
    for night in range(nights):
        places = [
            PastSubject(f"node{i ^ (night >= 10)}", "cuda:0", MODEL, SETTING, f"serial-{u}") for i, u in enumerate("ab")
        ]
        values = [1e14 * (1 + noise[night, 0]), 1e14 * (1 + noise[night, 1]) * (0.95 if night >= 20 else 1)]
        standing = [PASSED, FAILED if night >= 20 else PASSED]
        run = past_run(night, {FP32: values, TRIAD: [2e12, 2e12]}, places=places, standing=standing)
        append(folder, [run])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    declining(folder)
    return folder


def test_a_trend_names_the_subject_the_size_and_the_day(told: Path) -> None:
    rows, counts = history.trends(told, metric="matmul")
    assert +counts == {"step": 1, "steady": 1}
    assert [(row.subject, row.word) for row in rows] == [("GPU-b", "step"), ("GPU-a", "steady")]
    assert rows[0].size == pytest.approx(0.05, abs=0.005)
    assert rows[0].since == at(20)


def test_a_new_driver_is_no_step_of_every_gpu(tmp_path: Path) -> None:
    """All lose 3 % with a new driver; one loses 4 % more with it."""
    subjects = [f"GPU-{i}" for i in range(6)]
    noise = np.random.default_rng(3).normal(0, 0.0005, (20, 6))
    for night in range(20):
        values = 1e14 * (1 + noise[night]) * (0.97 if night >= 12 else 1)
        values[4] *= 0.96 if night >= 12 else 1
        append(
            tmp_path,
            [past_run(night, {FP32: list(values)}, subjects=subjects, environment="e2" if night >= 12 else "e1")],
        )
    rows, counts = history.trends(tmp_path, steady=False)
    assert [(row.subject, row.word, row.since) for row in rows] == [("GPU-4", "step", at(12))]
    assert rows[0].size == pytest.approx(0.04, abs=0.005)
    assert counts["steady"] == 5


def test_subjects_tell_offenders_and_moves(told: Path) -> None:
    first, second = history.stories(told)
    assert (first.subject, first.failed, first.runs, first.last_accepted) == ("GPU-b", 10, 30, at(19))
    assert first.places == ("node1 cuda:0", "node0 cuda:0")
    assert (second.failed, second.serial) == (0, "serial-a")


@pytest.mark.parametrize(("name", "found"), [("GPU-b", "GPU-b"), ("serial-a", "GPU-a"), ("node0/cuda:0", "GPU-b")])
def test_a_subject_is_found_by_id_serial_or_place(told: Path, name: str, found: str) -> None:
    assert history.find_subjects(told, name) == (found,)


def test_an_unknown_subject_is_an_error_with_a_remedy(told: Path) -> None:
    with pytest.raises(UsageError, match="history subjects"):
        history.find_subjects(told, "GPU-z")


def test_old_enough_is_counted_from_now(told: Path) -> None:
    now = datetime(2026, 1, 31, 2, tzinfo=timezone.utc)
    assert [kept.run.run_id for kept in history.older_than(told, timedelta(days=28), now)[1]] == ["run000", "run001"]


def test_a_sparkline_spans_what_it_shows() -> None:
    assert sparkline([1.0, 2.0, float("nan"), 8.0]) == "▁▂█"
    assert sparkline([3.0, 3.0]) == "▄▄"
    assert sparkline([]) == ""
    assert len(sparkline([-1.7e308, 1.7e308] * 40)) == 32


def cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["history", *words])
    return code, capsys.readouterr().out


def test_a_loss_for_good_fails_every_night_until_a_person_accepts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPU-3 loses 3 % of its rate at night 8, more than its noise and less than its peers could show."""
    noise = np.random.default_rng(5).normal(0, 0.0005, (40, 4))
    found: list[Outcome | None] = []
    for night in range(40):
        rates = {f"node{i}": 100.0 * (1 + noise[night, i]) for i in range(4)}
        if night >= 8:
            rates["node3"] *= 0.97
        evidence_ = run_of(night, rates)
        past = past_for(tmp_path, evidence_, last=10)
        judgement = judge(evidence_, CATALOGUE, {}, UNIQUE, past)
        values = values_of(evidence_.samples, CATALOGUE)
        history.remember(Judged(evidence_, values, judgement, summarise(evidence_, judgement, values)), tmp_path)
        mine = [
            v.outcome
            for v in every(judgement)
            if (v.question, v.subject.node, v.metric) == ("history", "node3", "rate_flops")
        ]
        found.append(mine[0] if mine else None)
        if night == 33:
            code, text = cli(capsys, "accept", "GPU-3", "--history", str(tmp_path))
            assert code == 0
            assert "since 2026-01-10 is normal" in text
            assert "would be accepted" in text
            assert cli(capsys, "accept", "GPU-3", "--yes", "--history", str(tmp_path))[0] == 0
            accepted = json.loads((tmp_path / "accepted.json").read_text())
            (tmp_path / "accepted.json").write_text(json.dumps([{**accepted[0], "at": at(33) + "1"}]))
    assert found[:5] == [None] * 5
    assert found[5:8] == [Outcome.PASS] * 3
    assert found[8] is Outcome.WARN
    assert found[9:34] == [Outcome.FAIL] * 25
    assert found[34:] == [Outcome.PASS] * 6
    code, _ = cli(capsys, "accept", "GPU-0", "--history", str(tmp_path))
    assert code == 2


def test_commands(told: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    place = ("--history", str(told))
    code, text = cli(capsys, "trend", *place)
    assert code == 0
    assert "step: -4.9%" in text
    assert "since 2026-01-21" in text
    assert "4 numbers with a past: 3 steady, 1 step." in text
    code, text = cli(capsys, "trend", "GPU-a", "--all", "--json", *place)
    assert {row["key"] for row in json.loads(text)} == {FP32, TRIAD}
    code, text = cli(capsys, "subjects", "--failed", *place)
    assert "1 subjects." in text
    assert "node1 cuda:0" in text
    code, text = cli(capsys, "show", "serial-b", *place)
    assert "GPU-b" in text
    assert code == 0
    code, text = cli(capsys, "show", *place)
    assert "30 runs are remembered." in text


def test_pruning_shows_first_and_forgets_with_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(tmp_path, [past_run(-400, {FP32: [1.0, 1.0]}), past_run(100_000, {FP32: [1.0, 1.0]})])
    words = ("prune", "--older-than", "3m", "--history", str(tmp_path))
    code, text = cli(capsys, *words)
    assert "1 runs from before" in text
    assert "would be forgotten" in text
    assert len(read_runs(tmp_path)) == 2
    code, text = cli(capsys, *words, "--yes")
    assert code == 0
    assert [kept.run.run_id for kept in read_runs(tmp_path)] == ["run100000"]
    code, text = cli(capsys, *words[:2], "soon", *words[3:])
    assert code == 2
