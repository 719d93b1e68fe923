"""A campaign: whose turn it is, what is at once, when it ends, and what is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from support.campaign_slurm import StandInSlurm
from support.metric_files import samples_of

from hpcaccept.app.campaign import campaign
from hpcaccept.app.campaign.campaign import Order, ask, begin, last_look, preview, site_of, standing_in, take_on
from hpcaccept.app.campaign.exports import as_junit, as_openmetrics
from hpcaccept.app.campaign.report import as_json, false_alarms, node_table, report_of, text
from hpcaccept.app.campaign.views import as_json as status_json
from hpcaccept.app.campaign.views import lines, status_of
from hpcaccept.config.nightly import NightlySettings
from hpcaccept.config.settings import Layered, Settings
from hpcaccept.errors import UsageError
from hpcaccept.model.nightly.night import Concluded
from hpcaccept.store import night_journal
from hpcaccept.store.night_lock import LockHeld, acquire, myself, read_holder

if TYPE_CHECKING:
    from hpcaccept.app.campaign.report import CampaignReport
    from hpcaccept.app.campaign.site import Site

SCHEMA = json.loads((Path(__file__).parents[4] / "docs/reference/campaign.schema.json").read_text("utf-8"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInSlurm:
    found = StandInSlurm(tmp_path, nodes=4)
    found.install(monkeypatch)
    return found


def order(folder: Path, caps: dict[str, int] | None = None, **terms: Any) -> Order:
    settings = Settings(runs_dir=str(folder / "runs"), suite="cpu", launcher="slurm", partition="gpu", mpi="pmix")
    return Order(
        Layered(settings, {}, (), NightlySettings(**{"nodes_per_job": 1, **terms})),
        "c",
        {"gpu": 2} if caps is None else caps,
    )


def report_in(site: Site) -> CampaignReport:
    return report_of(standing_in(site), last_look(site))


def submitted(site: Site) -> list[str]:
    return [node for _, one in standing_in(site).begun for node in one.nodes]


def test_those_that_were_accepted_longest_ago_are_first_and_no_more_than_the_cap_at_once(
    slurm: StandInSlurm, tmp_path: Path
) -> None:
    nights = tmp_path / "runs" / "nightly"
    nights.mkdir(parents=True)
    for node, at in (("node0", "2026-11-20"), ("node2", "2026-11-10")):
        word = Concluded("n", f"r-{node}", f"{at}T00:00:00+00:00", 0, {node: "PASS"})
        night_journal.append(nights / "journal.jsonl", word, at=word.at)
    site = begin(order(tmp_path))
    take_on(site, 0.0)
    assert submitted(site) == ["node1", "node3"]
    assert last_look(site)["missing"]["node0"].startswith("beyond the cap")
    assert take_on(site).state == "done"
    assert submitted(site) == ["node1", "node3", "node2", "node0"]
    assert slurm.known()["violations"] == []
    report = report_in(site)
    assert (report.exit_code, report.counts) == (0, {"PASS": 4})
    assert {row.node: row.accepted_before[:10] for row in report.nodes if row.accepted_before} == {
        "node0": "2026-11-20",
        "node2": "2026-11-10",
    }


@pytest.mark.parametrize(
    ("caps", "terms", "max_jobs", "most"),
    [
        ({}, {"max_share": 0.5}, 0, 2),
        ({"gpu": 3}, {"max_nodes": 1}, 0, 1),
        ({"gpu": 4}, {}, 2, 2),
        ({"gpu": 4}, {"nodes_per_job": 2}, 1, 2),
        ({"gpu": 4}, {"nodes_per_job": 0}, 0, 4),
    ],
)
def test_every_cap_holds(
    slurm: StandInSlurm, tmp_path: Path, caps: dict[str, int], terms: dict[str, Any], max_jobs: int, most: int
) -> None:
    site = begin(replace(order(tmp_path, caps, **terms), max_jobs=max_jobs))
    take_on(site, 0.0)
    assert len(submitted(site)) == most
    assert take_on(site).state == "done"
    assert sorted(submitted(site)) == ["node0", "node1", "node2", "node3"]


def test_a_node_that_is_never_idle_is_named_when_the_time_is_over(
    slurm: StandInSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.change(busy=["node3"], bad={"node1": "FAIL"})
    site = begin(order(tmp_path))
    for _ in range(12):
        take_on(site, 0.0)
    assert (standing_in(site).state, len(standing_in(site).tested)) == ("running", 3)
    later = replace(site, clock=lambda: site_of(site.runs_dir).clock() + timedelta(days=8))
    assert take_on(later).state == "expired"
    report = report_in(site)
    (row,) = [row for row in report.nodes if row.state == "never idle"]
    assert (row.node, row.reason) == ("node3", "not idle: ALLOCATED")
    assert report.exit_code == 1
    assert "Never idle (1)\n  node3: not idle: ALLOCATED" in text(report)
    assert "node1: FAIL: slow" in text(report)
    jsonschema.validate(json.loads(as_json(report)), SCHEMA)
    samples = samples_of(as_openmetrics(report, later.clock()))["hpcaccept_campaign_node_accepted"]
    exported = {labels["node"]: (value, labels["outcome"]) for labels, value in samples}
    assert exported == {"node0": (1, "PASS"), "node1": (0, "FAIL"), "node2": (1, "PASS"), "node3": (0, "NOT_RUN")}
    junit = ET.fromstring(as_junit(report))
    assert [junit.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["5", "2", "0", "1"]
    table = [line.split("\t") for line in node_table(report).splitlines()]
    assert table[0][:3] == ["node", "state", "outcome"]
    assert table[4][:3] == ["node3", "never idle", "-"]


def test_a_user_who_arrives_has_the_node_and_it_is_tested_when_it_is_idle_again(
    slurm: StandInSlurm, tmp_path: Path
) -> None:
    slurm.change(arrives={"id": "7", "nodes": 3})
    site = begin(order(tmp_path))
    assert take_on(site).state == "done"
    report = report_in(site)
    (made,) = [one for one in report.withdrawn if one["kind"] == "room"]
    assert made["reason"].startswith("made room for job 7 in gpu")
    assert {row.node: (row.tries, row.made_room) for row in report.nodes}[made["nodes"][0]] == (2, 1)
    assert "Made room for users' jobs: 1 (1 ended by hpcaccept, 0 preempted by the scheduler)" in text(report)
    assert slurm.known()["violations"] == []


def test_while_it_is_paused_nothing_is_submitted_and_what_runs_is_judged(slurm: StandInSlurm, tmp_path: Path) -> None:
    site = begin(order(tmp_path))
    take_on(site, 0.0)
    ask(site, "pause")
    for _ in range(6):
        take_on(site, 0.0)
    standing = standing_in(site)
    assert (standing.state, len(standing.tested), standing.open) == ("paused", 2, ())
    ask(site, "resume")
    assert take_on(site).state == "done"
    assert len(submitted(site)) == 4


def test_a_stop_ends_the_jobs_and_is_never_taken_back(slurm: StandInSlurm, tmp_path: Path) -> None:
    slurm.change(endless=True, stopping=True)
    site = begin(order(tmp_path))
    take_on(site, 0.0)
    ask(site, "stop")
    ask(site, "resume")
    assert take_on(site).state == "stopped"
    assert {job["state"] for job in slurm.known()["jobs"].values()} == {"cancelled"}
    assert report_in(site).exit_code == 3
    with pytest.raises(UsageError, match="is over"):
        ask(site, "resume")


def test_what_is_refused_three_times_is_given_up_and_said(slurm: StandInSlurm, tmp_path: Path) -> None:
    slurm.change(refused="no account")
    site = begin(order(tmp_path, {"gpu": 4}))
    assert take_on(site).state == "done"
    report = report_in(site)
    assert (report.exit_code, report.counts) == (3, {"given up": 4})
    assert {row.tries for row in report.nodes} == {3}
    assert "Given up (4)\n  node[0-3]: no account" in text(report)


def test_a_run_that_was_never_submitted_never_is_and_its_node_is_tested(
    slurm: StandInSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sbatch outlives who started it: a job that begins later must find no plan."""
    site = begin(order(tmp_path, {"gpu": 1}))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hpcaccept.launch.slurm.submit", killed)
        with pytest.raises(KeyboardInterrupt):
            take_on(site)
    (begun,) = standing_in(site).open
    assert (site.runs_dir / begun.run / "plan.json").exists()
    assert take_on(site).state == "done"
    assert not (site.runs_dir / begun.run / "plan.json").exists()
    assert [(one["run"], one["reason"]) for one in report_in(site).withdrawn] == [(begun.run, "was never submitted")]
    assert slurm.runs_of("node0") == ["ended"]


def test_outside_of_its_window_it_waits(slurm: StandInSlurm, tmp_path: Path) -> None:
    site = begin(order(tmp_path, window="02:00-03:00"))
    noon = site.clock().astimezone().replace(hour=12, minute=0)
    take_on(replace(site, clock=lambda: noon), 0.0)
    assert submitted(site) == []
    assert set(last_look(site)["missing"].values()) == {"outside the window 02:00-03:00"}
    # A job that could not end inside is not begun.
    late = noon.replace(hour=2, minute=59) + timedelta(days=1)
    take_on(replace(site, clock=lambda: late), 0.0)
    assert submitted(site) == []
    assert "no time left for a job" in last_look(site)["missing"].values()
    two = late.replace(minute=5)
    take_on(replace(site, clock=lambda: two), 0.0)
    assert len(submitted(site)) == 2


def test_a_second_one_is_refused_and_so_is_a_second_process(slurm: StandInSlurm, tmp_path: Path) -> None:
    site = begin(order(tmp_path))
    with pytest.raises(UsageError, match="The campaign c is not over"):
        begin(replace(order(tmp_path), name="d"))
    with acquire(site.folder, myself("now")), pytest.raises(LockHeld, match="Another process of this campaign holds"):
        take_on(site)
    take_on(site)
    with pytest.raises(UsageError, match="There is a campaign 'c' already"):
        begin(order(tmp_path))
    assert begin(replace(order(tmp_path), name="d")).folder.name == "d"
    assert campaign.names(tmp_path / "runs") == ("c", "d")
    assert site_of(tmp_path / "runs").folder.name == "d"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "../x"}, "--name is"),
        ({"caps": {"big": 1}}, "--cap names big; the partitions are gpu"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    slurm: StandInSlurm, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        begin(replace(order(tmp_path), **change))
    assert campaign.names(tmp_path / "runs") == ()


def test_a_preview_shows_nodes_and_jobs_and_writes_nothing(slurm: StandInSlurm, tmp_path: Path) -> None:
    shown = preview(order(tmp_path))
    assert "# node0: never accepted" in shown
    assert "# node2: later: beyond the cap" in shown
    assert shown.count("#SBATCH --nodelist=") == 2
    assert not (tmp_path / "runs").exists()


def test_status_says_whether_anybody_is_at_it(slurm: StandInSlurm, tmp_path: Path) -> None:
    site = begin(order(tmp_path))

    def status(later_s: float = 0.0) -> Any:
        now = site.clock() + timedelta(seconds=later_s)
        return status_of(standing_in(site), read_holder(site.folder), last_look(site), now)

    assert (status().attended, status().exit_code) == (False, 3)
    assert "Process:  none; go on: hpcaccept campaign resume c" in lines(status())
    take_on(site, 0.0)
    assert (status().attended, status().exit_code) == (True, 0)
    assert status(3600.0).exit_code == 3
    assert any(line.startswith("Running:") for line in lines(status()))
    plain = json.loads(status_json(status()))
    assert (plain["state"], len(plain["open_runs"]), len(plain["missing"])) == ("running", 2, 2)
    take_on(site)
    assert status(3600.0).exit_code == 0


def test_the_false_alarm_rate_of_a_campaign_is_that_of_all_its_runs() -> None:
    found = false_alarms([0.01] * 100 + [None] * 3)
    assert found.any == pytest.approx(1 - 0.99**100)
    assert (found.runs, found.unrated, found.per_run) == (103, 3, 0.01)
    assert found.expected == pytest.approx(1.0)
    assert false_alarms([1e-9] * 2).any == pytest.approx(2e-9, rel=1e-6)
    assert false_alarms([None]).any is None
    assert false_alarms([]).runs == 0


def test_names_of_nodes_and_reasons_steer_no_terminal(slurm: StandInSlurm, tmp_path: Path) -> None:
    slurm.change(refused="bad\x1b[2J\nline")
    site = begin(order(tmp_path, {"gpu": 4}))
    take_on(site)
    for shown in (text(report_in(site)), node_table(report_in(site))):
        assert "\x1b" not in shown
