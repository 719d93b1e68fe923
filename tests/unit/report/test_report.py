"""What people and programs get to see: terminal, JSON, CSV. Nothing in a record can steer a terminal."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support import schema
from support.builders import (
    AT,
    H100,
    baseline,
    entry,
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

from hpcaccept.model.event import Event
from hpcaccept.model.job import JobStatus
from hpcaccept.model.record import UnreadableLine
from hpcaccept.model.suite import CheckSpec, PeerRule
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.formats import render
from hpcaccept.report.printable import safe
from hpcaccept.report.views.first_page import EACH, SHOWN, first_page

if TYPE_CHECKING:
    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.report.model import Summary

WHERE = "/shared/home/somebody/acceptance/runs/20261122-010000-test-4n-abcd"


def summary_of(found: Evidence, known: dict[str, Baseline] | None = None) -> Summary:
    return judged_run_of(found, known).summary


def shown(found: Evidence, known: dict[str, Baseline] | None = None, width: int = 80, *, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, highlight=False, force_terminal=color, color_system="standard" if color else None
    )
    console.print(first_page(judged_run_of(found, known, WHERE)))
    return out.getvalue()


def document(found: Evidence, known: dict[str, Baseline] | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(render("json", judged_run_of(found, known)))
    return loaded


def report_csv(found: Evidence) -> str:
    return render("csv", judged_run_of(found))


def one_line(text: str) -> str:
    """The text as if the terminal were endless."""
    return " ".join(text.split())


def rich_run() -> Evidence:
    """Something of everything: a slow node, a dead one, a victim, an unsupported variant, drift, a torn line."""
    the_plan = plan(suite("identity", "speed", "fabric", baseline="required"), nodes=6)
    records = [record("identity", node, {"cores": 8, "gpu_count": 1}, facts={"driver": node[-1]}) for node in nodes(5)]
    records += [
        record(
            "speed",
            node,
            {"rate_flops[fp32]": [50.0 if node == "node1" else 100.0, 99.0], "wrong_elements": 0},
            unsupported={"fp8": "too old"},
        )
        for node in nodes(4)
    ]
    records.append(record("speed", "node4", cause="ended by SIGTERM", by_peer=True, cut_short=True))
    events = (
        Event("started", AT, nodes=nodes(6)),
        Event(
            "death",
            AT,
            step="00",
            nodes=("node5",),
            ranks=(5,),
            check="speed",
            detail="rank 5 was lost",
            remedy="dmesg",
        ),
        Event("retest", AT, nodes=nodes(4), detail="measured again"),
    )
    return evidence(records, the_plan, events=events, unreadable=(UnreadableLine("r000003.jsonl", '{"k'),))


# --- the terminal -----------------------------------------------------------------------------------------------------


def test_the_first_page_says_what_was_tested_and_how_it_ended() -> None:
    text = one_line(shown(fleet([100.0] * 4)))
    assert "20261122-010000-test-4n-abcd: suite test, 4 nodes × 1 GPU, slurm" in text
    assert "ACCEPTED: 4 of 4 nodes" in text
    assert "Coverage: 4 of 4 checks on nodes judged (100 %)." in text
    assert "Exit code 0." in text
    assert text.startswith("ACCEPTED: ")
    assert f"Page: {WHERE}/report.html" in text


def test_a_bad_node_is_named_with_reason_and_remedy() -> None:
    text = one_line(shown(fleet([100.0, 100.0, 50.0, 100.0])))
    assert "NOT ACCEPTED: node2" in text
    assert "FAIL node2 GPU 0" in text
    assert "rate flops: 50 FLOP/s, 50.0 % below the median of 3 peers (100 FLOP/s) [peers-slow]" in text
    assert "sigma" not in text
    assert "→ Keep work off node2" in text
    assert "Exit code 1." in text


def test_what_could_not_be_judged_is_not_called_accepted() -> None:
    found = evidence([record("speed", node, {"rate_flops": 1.0, "wrong_elements": 0}) for node in nodes(3)])
    text = one_line(shown(found))
    assert "NOT JUDGED" in text
    assert "ACCEPTED:" not in text
    assert "node3" in text.partition("Not judged:")[2]
    assert "Coverage: 3 of 4" in text


def test_nodes_of_which_no_name_is_known_still_count() -> None:
    text = one_line(shown(evidence([], names=(), rank_starts=(), job=JobStatus("timeout", "TIMEOUT"))))
    assert "Coverage: 0 of 4 checks on nodes judged (0 %)." in text
    assert "The job ended early: the job reached its time limit." in text
    assert "NOT JUDGED" in text


def test_what_the_comparison_could_see_is_said() -> None:
    text = one_line(shown(fleet([100.0] * 4)))
    assert "Smallest slowdown found against peers (19 times of 20): products 5.9 %." in text


def test_a_missing_baseline_is_told_with_how_to_learn_one() -> None:
    text = one_line(shown(fleet([100.0] * 4)))
    assert f"No baseline fits {H100}" in text
    assert "hpcaccept baseline learn 20261122-010000-test-4n-abcd" in text
    assert "No baseline fits" not in one_line(shown(fleet([100.0] * 4), {H100: baseline()}))


def test_virtual_nodes_and_turns_are_noted_because_they_change_how_numbers_are_read() -> None:
    shared = tuple(
        rank_started(r, n, boot_id="one", in_turn=True, ranks_on_host=4, cores=2.0) for r, n in enumerate(nodes(4))
    )
    text = one_line(shown(fleet([100.0] * 4, plan(gpus_per_node=0), rank_starts=shared)))
    assert "4 ranks share 2 cores: they measured in turn" in text
    assert "Nodes share one kernel" in text
    assert "50%" in text


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"enabled": False}, "[peers] enabled = false"),
        ({"min_subjects": 1_000_000_000}, "[peers] min_subjects = 1000000000"),
        ({"min_subjects": 4}, ""),
        ({}, ""),
    ],
)
def test_a_suite_that_asks_no_peers_is_told_on_the_first_page(setting: dict[str, Any], told: str) -> None:
    text = one_line(shown(fleet([100.0] * 4, plan(suite("speed", peers=PeerRule(**setting))))))
    assert ("switches off the comparison with peers" in text) is bool(told)
    assert told in text


def test_ranks_that_their_mpi_has_pinned_share_the_cores_of_their_host_not_one() -> None:
    shared = {"boot_id": "one", "in_turn": True, "ranks_on_host": 4, "cores": 1.0}
    pinned = tuple(rank_started(r, n, **shared, host_cores=2.0) for r, n in enumerate(nodes(4)))
    text = one_line(shown(fleet([100.0] * 4, plan(gpus_per_node=0), rank_starts=pinned)))
    assert "4 ranks share 2 cores:" in text
    older = tuple(rank_started(r, n, **shared) for r, n in enumerate(nodes(4)))
    assert "4 ranks share 1 core:" in one_line(shown(fleet([100.0] * 4, plan(gpus_per_node=0), rank_starts=older)))


def test_subjects_that_fail_alike_are_one_entry_with_folded_names() -> None:
    text = one_line(shown(fleet([0.0] * 8)))
    assert "node[0-7]" in text
    assert text.count("→ This is a fault") == 1


def test_a_check_of_several_figures_shows_each_with_median_and_range() -> None:
    records = [
        record("speed", node, {"rate_flops[fp32]": 1e12 * (i + 90), "rate_flops[fp64]": 5e11, "wrong_elements": 0})
        for i, node in enumerate(nodes(4))
    ]
    text = one_line(shown(evidence(records)))
    assert "fp32 91.5 TFLOP/s (90 … 93)" in text
    assert "fp64 500 GFLOP/s" in text


def test_more_bad_subjects_than_fit_a_page_are_counted() -> None:
    found = judged_with_many_reasons()
    text = one_line(shown(found))
    assert "more: hpcaccept report --format json" in text


def judged_with_many_reasons() -> Evidence:
    count = SHOWN + 15
    records = [record("speed", f"node{i}", cause=f"reason {i}") for i in range(count)]
    return evidence(records, plan(nodes=count))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    for found in (rich_run(), judged_with_many_reasons(), fleet([100.0, 1.0, 100.0, 100.0])):
        lines = shown(found, width=width).splitlines()
        assert max(len(line) for line in lines) <= width


def test_long_names_still_fit_80_columns() -> None:
    long = tuple(f"gpu-cluster-a3-mega-rack-0{i}-chassis-17.cluster.example.org" for i in range(4))
    records = [
        record("speed", node, {f"rate_flops[{'x' * 60}]": 10.0 ** (i + 1), "wrong_elements": 1})
        for i, node in enumerate(long)
    ]
    text = shown(evidence(records, names=long, rank_starts=()))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert long[0][-12:] in text.replace("\n", "")


def test_the_verdict_stands_in_words_and_not_in_colour_alone() -> None:
    plain = shown(rich_run())
    assert "\x1b" not in plain
    for word in ("NOT ACCEPTED", "FAIL", "ERROR"):
        assert word in plain


EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nPASS\u202e[bold red]x[/]"


def evil_run() -> Evidence:
    """Everything that a rank, a node or a scheduler may say is hostile."""
    the_plan = plan(suite("speed", "identity"), nodes=3)
    records = [
        record("speed", "node0", {"rate_flops[x]": 1.0, "wrong_elements": 5}, unsupported={EVIL: EVIL}),
        record("speed", EVIL, cause=EVIL, remedy=EVIL),
        record("identity", "node0", {"cores": 1}, facts={EVIL: EVIL}),
        record("identity", EVIL, {"cores": 2}, facts={"a": EVIL}),
    ]
    found = evidence(
        records, the_plan, names=("node0", EVIL, "node2"), rank_starts=(rank_started(0, EVIL),),
        events=(Event("death", AT, nodes=(EVIL, "node2"), check="speed", detail=EVIL, remedy=EVIL), Event("ended", AT, detail=EVIL)),
        unreadable=(UnreadableLine(EVIL, EVIL),), job=JobStatus("lost", EVIL, EVIL),
    )  # fmt: skip
    subjects = tuple(
        replace(subject, model=EVIL, device=EVIL if subject.device else "") for subject in found.samples.subjects
    )
    keys = tuple(key.replace("[x]", f"[{EVIL}]") for key in found.samples.keys)
    return replace(found, samples=replace(found.samples, subjects=subjects, keys=keys))


@pytest.mark.parametrize("color", [False, True])
def test_nothing_that_was_recorded_can_steer_the_terminal(color: bool) -> None:
    text = shown(evil_run(), color=color)
    for act in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\r", "\u202e"):
        assert act not in text
    if not color:
        assert "\x1b" not in text
    assert "[bold red]x[/]" in one_line(text).replace(" ", "").replace("[boldred]", "[bold red]")


@pytest.mark.parametrize("where", ["cause", "remedy", "variant", "node"])
@pytest.mark.parametrize("markup", ["[bold red]x[/]", "[/]", "[link=http://evil]y[/link]", "[/nope]"])
def test_what_looks_like_markup_is_shown_as_it_is(where: str, markup: str) -> None:
    more: dict[str, Any] = {"cause": "why"}
    if where in ("cause", "remedy"):
        more[where] = markup
    node = f"node{markup}" if where == "node" else "node0"
    variant = markup.replace("]", ")") if where == "variant" else "fp32"
    records = [
        record("speed", node, **more),
        record("speed", "node1", {f"rate_flops[{variant}]": 1.0, f"wrong_elements[{variant}]": 1.0}),
    ]
    text = shown(evidence(records, plan(nodes=2), names=(node, "node1"), rank_starts=()), width=200)
    assert (variant if where == "variant" else markup) in text


def test_a_hundred_slow_nodes_fit_a_page_the_worst_first() -> None:
    rates = [100.0] * 900 + [50.0 + i * 0.1 for i in range(100)]
    text = shown(fleet(rates))
    assert len(text.splitlines()) < 8 * SHOWN
    assert f"and {100 - EACH} more: hpcaccept report --format json" in one_line(text)
    places = [text.index(f"node{900 + i} GPU 0: rate flops") for i in range(EACH)]
    assert places == sorted(places)
    assert f"node{900 + EACH}" not in text
    assert "NOT ACCEPTED: node[900-999] are not fit for work (100 of 1,000 nodes)." in one_line(text)
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_node_that_is_bad_in_all_variants_is_one_entry_with_the_worst_of_them() -> None:
    variants = {f"rate_flops[v{i:02d}]": 100.0 for i in range(SHOWN + 5)}
    records = [
        record(
            "speed",
            node,
            {k: v * (0.5 + 0.001 * i if node == "node3" else 1.0) for i, (k, v) in enumerate(variants.items())},
        )
        for node in nodes(8)
    ]
    text = one_line(shown(evidence(records, plan(nodes=8))))
    many = SHOWN + 5
    assert f"the worst of {many}: rate flops (v00): " in text
    assert text.count("→ Keep work off node3") == 1


def test_each_of_a_few_bad_nodes_is_shown_with_its_own_number_and_the_remedy_once() -> None:
    text = one_line(shown(fleet([100.0, 80.0, 100.0, 50.0, 100.0, 100.0, 100.0, 100.0]), width=200))
    assert "node[1,3]" in text
    assert "node3 GPU 0: rate flops: 50 FLOP/s, 50.0 % below" in text
    assert "node1 GPU 0: rate flops: 80 FLOP/s, 20.0 % below" in text
    assert text.count("→ Keep work off NODE") == 1


def test_each_comparison_says_what_it_was_set_for_and_what_it_could_see() -> None:
    found = fleet([100.0] * 100)
    text = one_line(shown(found, {H100: baseline()}))
    assert "found against peers (19 times of 20): products 4 %." in text
    assert "found against the baseline (19 times of 20): products 11 %." in text
    why = one_line(render("explained", judged_run_of(found, {H100: baseline()})))
    assert "against peers: 100, set to blame a healthy unit in 1 % of runs." in why
    assert "against the baseline: 100." in why
    assert "slowdowns found half of the time (19 times of 20): products 10 % (11 %)" in why


LEARNED: dict[str, Any] = {
    "floor": 0.04,
    "width": 0.012,
    "freedom": 60.0,
    "rate": 0.0025,
    "comparisons": 64,
    "values": 64,
    "nodes": 64,
    "subjects": 64,
}


def test_what_was_learned_states_its_rate_in_every_report() -> None:
    exact = entry("speed.latency_s", unit="s", direction="lower", lower=None, upper=200.0)
    known = {H100: baseline(entry(**LEARNED), exact)}
    records = [record("speed", node, {"rate_flops": 100.0, "latency_s": 100.0}) for node in nodes(100)]
    found = evidence(records, plan(nodes=100))
    words = ", set to blame a healthy unit in 0.25 % of runs; 100 of them against exact limits, which state none"
    assert f"against the baseline: 200{words}." in one_line(render("explained", judged_run_of(found, known)))
    assert f"200 comparisons{words}" in render("html", judged_run_of(found, known))
    told = document(found, known)["sensitivity"]["baseline"]
    assert (told["false_alarm_rate"], told["comparisons"], told["unrated"]) == (0.0025, 200, 100)


def test_a_comparison_that_nobody_could_fail_says_so() -> None:
    text = one_line(shown(fleet([1.0, 100.0, 10_000.0, 1_000_000.0])))
    assert "found against peers (19 times of 20): products none." in text


def test_more_passes_than_are_listed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.report.formats.json.MOST_PASSES", 7)
    found = fleet([100.0, 100.0, 100.0, 50.0])
    assert document(fleet([100.0] * 3))["passes"] == "listed"
    written = document(found)
    assert written["counts"]["PASS"] == 7
    monkeypatch.setattr("hpcaccept.report.formats.json.MOST_PASSES", 6)
    counted = document(found)
    assert counted["passes"] == "counted"
    assert counted["counts"] == written["counts"]
    assert counted["verdicts"] == [v for v in written["verdicts"] if v["outcome"] != "PASS"]
    assert schema.report_faults(counted) == []


# --- safe -------------------------------------------------------------------------------------------------------------


@given(st.text())
def test_safe_text_has_no_controls_and_keeps_everything_else(text: str) -> None:
    found = safe(text)
    assert len(found) == len(text)
    for was, now in zip(text, found, strict=True):
        acts = (
            ord(was) < 32
            or 127 <= ord(was) < 160
            or was in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        )
        if not acts and not 0xD800 <= ord(was) < 0xE000:
            assert now == was
        else:
            assert now in " \ufffd"
    found.encode()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain ä ✓", "plain ä ✓"),
        ("a\tb\nc\rd", "a b c d"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("abc\u202edef", "abc\ufffddef"),
        ("a\udc80b", "a\ufffdb"),
    ],
)
def test_safe_text_for_example(text: str, found: str) -> None:
    assert safe(text) == found


# --- the model of all formats -----------------------------------------------------------------------------------------


def test_the_worst_of_what_is_required_stands_for_a_node() -> None:
    summary = summary_of(rich_run())
    assert summary.nodes["node1"] is Outcome.FAIL
    assert summary.nodes["node5"] is Outcome.ERROR
    assert set(summary.nodes) == set(nodes(6))


def test_bad_verdicts_come_worst_first_and_leave_out_what_does_not_count() -> None:
    summary = summary_of(rich_run())
    outcomes = [v.outcome for v in summary.bad]
    order = [Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.NOT_RUN, Outcome.NO_BASELINE]
    assert outcomes == sorted(outcomes, key=order.index)
    assert all(v.required or v.outcome is Outcome.FAIL for v in summary.bad)
    assert Outcome.PASS not in outcomes


def test_a_check_row_counts_nodes_and_speaks_for_the_worst() -> None:
    identity, speed, fabric = summary_of(rich_run()).rows
    assert (identity.judged, identity.asked) == (5, 6)
    assert (speed.outcome, speed.judged) == (Outcome.FAIL, 4)
    assert (fabric.outcome, fabric.judged, fabric.figures) == (Outcome.ERROR, 0, ())


def test_a_figure_is_the_range_over_subjects_of_a_rate() -> None:
    (figure,) = summary_of(fleet([90.0, 100.0, 110.0, 100.0])).rows[0].figures
    assert (figure.key, figure.unit, figure.units) == ("speed.rate_flops", "FLOP/s", 4)
    assert (figure.low, figure.median, figure.high) == (90.0, 100.0, 110.0)


@pytest.mark.parametrize(
    ("known", "outcome"),
    [({}, Outcome.NO_BASELINE), ({H100: baseline()}, Outcome.PASS)],
)
def test_the_baseline_has_a_column_of_its_own(known: dict[str, Baseline], outcome: Outcome) -> None:
    assert summary_of(fleet([100.0] * 4), known).rows[0].baseline is outcome


def test_a_check_that_is_not_required_and_was_not_measured_does_not_look_bad() -> None:
    the_plan = plan(suite("identity", CheckSpec("speed", required=False)), gpus_per_node=0)
    summary = summary_of(evidence([record("identity", node, {"cores": 8}) for node in nodes(4)], the_plan))
    assert summary.bad == ()


# --- JSON -------------------------------------------------------------------------------------------------------------

RUNS = {
    "healthy": fleet([100.0] * 4),
    "rich": rich_run(),
    "nothing": evidence([], names=(), rank_starts=(), job=JobStatus("lost", "x")),
    "evil": evil_run(),
    "zero": fleet([0.0] * 4),
}


@pytest.mark.parametrize("found", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("known", [{}, {H100: baseline()}], ids=["no baseline", "baseline"])
def test_every_report_keeps_to_its_schema(found: Evidence, known: dict[str, Baseline]) -> None:
    assert schema.report_faults(document(found, known)) == []


def test_the_schema_refuses_what_it_should() -> None:
    good = document(rich_run())
    for broken in (
        {**good, "schema": 1},
        {**good, "exit_code": 2},
        {**good, "extra": 1},
        {key: value for key, value in good.items() if key != "verdicts"},
        {**good, "verdicts": [{**good["verdicts"][0], "outcome": "FINE"}]},
        {**good, "verdicts": [{**good["verdicts"][0], "value": "1"}]},
        {**good, "request": {**good["request"], "nodes": True}},
    ):
        assert schema.report_faults(broken), broken.keys() ^ good.keys()


def test_the_keys_of_a_report_are_in_a_fixed_order() -> None:
    assert list(document(fleet([1.0] * 4))) == [
        "schema", "run", "hpcaccept", "job", "software", "not_bound_to", "created_at", "exit_code", "strict_exit_code", "conclusion", "left_out",
        "suite", "request", "image", "launcher", "nodes", "counts", "coverage", "sensitivity", "notes", "checks", "parameters", "limits", "imports_s", "job_end", "events", "passes", "verdicts",
    ]  # fmt: skip


def test_a_report_holds_every_verdict_with_value_and_limit() -> None:
    found = rich_run()
    written = document(found)
    judgement = judged(found)
    assert len(written["verdicts"]) == len(every(judgement))
    assert sum(written["counts"].values()) == len(every(judgement))
    assert written["passes"] == "listed"
    for verdict in written["verdicts"]:
        if verdict["outcome"] in ("PASS", "WARN", "FAIL"):
            assert verdict["value"] is not None
            assert verdict["limit"]["unit"] == verdict["unit"]
    assert written["exit_code"] == judgement.exit_code == 1
    assert written["nodes"]["node1"] == "FAIL"


def test_what_is_no_number_is_refused_rather_than_written() -> None:
    found = fleet([100.0] * 4)
    with pytest.raises(ValueError, match="JSON compliant"):
        render("json", judged_run_of(replace(found, imports_s={"torch": float("nan")})))


def test_the_same_run_gives_the_same_bytes() -> None:
    found = rich_run()
    assert render("json", judged_run_of(found)) == render("json", judged_run_of(found))


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_a_csv_has_a_line_per_sample() -> None:
    rows = list(csv.DictReader(io.StringIO(report_csv(rich_run()))))
    assert len(rows) == len(rich_run().samples)
    assert list(rows[0]) == [
        "run",
        "node",
        "device",
        "device_id",
        "check",
        "metric",
        "variant",
        "launch",
        "repeat",
        "value",
    ]
    mine = [r for r in rows if r["node"] == "node1" and r["metric"] == "rate_flops"]
    assert [(r["variant"], r["repeat"], float(r["value"])) for r in mine] == [("fp32", "0", 50.0), ("fp32", "1", 99.0)]


def test_a_csv_of_nothing_has_its_header() -> None:
    assert report_csv(evidence([])).splitlines() == [
        "run,node,device,device_id,check,metric,variant,launch,repeat,value"
    ]


def test_numbers_lose_nothing_in_a_csv() -> None:
    (row,) = csv.DictReader(io.StringIO(report_csv(evidence([record("speed", "node0", {"rate_flops": 1 / 3})]))))
    assert float(row["value"]) == 1 / 3
