"""One night from lock to message, without a scheduler: outside its window nothing is started, and all the rest happens."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from support.campaign_slurm import StandInSlurm
from support.listeners import hook

from hpcaccept.app.campaign.memory import recall
from hpcaccept.app.campaign.site import Site
from hpcaccept.app.nightly import night as night_module
from hpcaccept.app.nightly.night import run_night, site_of
from hpcaccept.app.nightly.notify import URL_VARIABLE
from hpcaccept.app.nightly.status import as_json, lines, status_of
from hpcaccept.cli import main
from hpcaccept.config import settings as settings_module
from hpcaccept.config.nightly import NightlySettings
from hpcaccept.config.settings import Layered, Settings, load_settings
from hpcaccept.errors import HpcacceptError, UsageError
from hpcaccept.model.nightly.night import Began, Concluded, Ended, Scheduled, Submitting, Yielding
from hpcaccept.store.night_journal import append, read
from hpcaccept.store.night_lock import LockHeld, acquire, myself, read_holder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.listeners import Hook

UTC = timezone.utc
#: Local noon of a day without a change of clocks anywhere.
NOON = datetime(2026, 11, 22, 12).astimezone().astimezone(UTC)


def site_at(folder: Path, now: datetime = NOON, **nightly: Any) -> Site:
    """A site whose window is closed at noon."""
    settings = Settings(runs_dir=str(folder / "runs"), launcher="local")
    layered = Layered(settings, {}, (), NightlySettings(window="22:00-05:00", **nightly))
    return Site(layered, clock=lambda: now, secrets=os.environ)


def write(site: Site, *words: Any, at: datetime = NOON - timedelta(days=1)) -> None:
    site.folder.mkdir(parents=True, exist_ok=True)
    append(site.journal, *words, at=at.isoformat())


def rank_logs_of(site: Site) -> list[Any]:
    return [line.word for line in read(site.journal)[0]]


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setattr("hpcaccept.app.nightly.notify.PAUSES_S", (0.0, 0.0))
    with hook() as server:
        monkeypatch.setitem(os.environ, URL_VARIABLE, server.url)
        yield server


def test_outside_its_window_nothing_is_started_and_that_is_written_down(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    report = run_night(site)
    assert report.exit_code == 3
    assert report.nothing.startswith("It is outside the window 22:00-05:00.")
    began, ended = rank_logs_of(site)
    assert isinstance(began, Began)
    assert isinstance(ended, Ended)
    assert (ended.night, ended.exit_code) == (began.night, 3)
    assert [path.name for path in site.runs_dir.iterdir()] == ["nightly"]
    assert read_holder(site.folder).free


def test_a_window_that_is_too_short_for_the_job_is_not_begun(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 4, 55).astimezone()
    report = run_night(site_at(tmp_path, now))
    assert "the window 22:00-05:00 is over in 5 min" in report.nothing


def test_a_night_while_another_one_runs_writes_nothing(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    site.folder.mkdir(parents=True)
    with acquire(site.folder, myself(NOON.isoformat())), pytest.raises(LockHeld):
        run_night(site)
    assert not site.journal.exists()


def test_a_night_that_still_goes_on_when_the_next_is_due_is_told(tmp_path: Path, webhook: Hook) -> None:
    site = site_at(tmp_path)
    site.folder.mkdir(parents=True)
    for hours, told in ((19, 0), (24, 1)):
        since = (NOON - timedelta(hours=hours)).isoformat()
        with acquire(site.folder, myself(since)), pytest.raises(LockHeld):
            run_night(site)
        assert len(webhook.posts) == told
    assert "Another nightly run holds the lock" in webhook.posts[0][2]["nothing"]


def test_a_missed_night_is_told_once(tmp_path: Path, webhook: Hook) -> None:
    site = site_at(tmp_path)
    write(site, Scheduled("02:00"), at=NOON - timedelta(days=3))
    for days in (2, 0):
        write(site, Began(f"n{days}"), Ended(f"n{days}", 3, "", "x"), at=NOON - timedelta(days=days, hours=10))
    assert run_night(site).missed == ("2026-11-21 02:00",)
    assert webhook.posts[-1][2]["missed"] == ["2026-11-21 02:00"]
    assert run_night(site).missed == ()
    assert len(webhook.posts) == 1  # the second night was as the first


def test_what_was_judged_before_a_crash_is_told_by_the_next_night(tmp_path: Path, webhook: Hook) -> None:
    site = site_at(tmp_path)
    judged = Concluded("n1", "r1", NOON.isoformat(), 1, {"a": "FAIL", "b": "PASS"}, {"a": "slow"})
    write(site, Began("n1"), Submitting("n1", "r1", ("a", "b")), judged)
    report = run_night(site)
    assert [change.node for change in report.changes.failed] == ["a"]
    assert report.exit_code == 1
    assert report.nothing == ""
    assert [word.night for word in rank_logs_of(site) if isinstance(word, Ended)] == ["n1", report.night]
    assert webhook.posts[0][2]["changes"]["failed"][0]["reason"] == "slow"
    assert run_night(site).changes.any is False


def test_a_run_that_was_never_submitted_is_not_waited_for(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    write(site, Began("n1"), Submitting("n1", "20261121-020000-quick-4n-abcd", ("a",)))
    report = run_night(site)
    assert report.withdrawn == (("20261121-020000-quick-4n-abcd", "was never submitted"),)
    assert run_night(site).withdrawn == ()


def test_news_that_nobody_got_is_told_again_and_the_verdict_stays(tmp_path: Path, webhook: Hook) -> None:
    site = site_at(tmp_path)
    write(site, Began("n1"), Concluded("n1", "r1", NOON.isoformat(), 1, {"a": "FAIL"}))
    webhook.answers = [500, 500, 500]
    report = run_night(site)
    assert report.exit_code == 1
    assert "webhook did not get through: http://127.0.0.1" in report.notes[-1]
    assert "(tried 3 times)" in report.notes[-1]
    assert "SECRET" not in site.journal.read_text() + str(report)
    later = run_night(site)
    assert later.untold == (f"{report.night}: newly bad: a",)
    assert webhook.posts[-1][2]["untold"] == [f"{report.night}: newly bad: a"]
    assert run_night(site).untold == ()


def test_never_means_never_and_always_always(tmp_path: Path, webhook: Hook) -> None:
    run_night(site_at(tmp_path, notify="never"))
    assert webhook.posts == []
    for _ in range(2):
        run_night(site_at(tmp_path, notify="always"))
    assert len(webhook.posts) == 2


def test_a_night_that_cannot_ask_its_scheduler_says_so_and_goes_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    site = site_of(Layered(Settings(runs_dir=str(tmp_path / "runs")), {}))
    assert site.layered.settings.launcher == "slurm"  # never this machine by itself
    report = run_night(site)
    assert report.exit_code == 2
    assert "there is no sbatch" in report.nothing


def test_status_tells_a_night_that_was_cut_short_from_one_that_runs(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    write(site, Began("n1"), Submitting("n1", "r1", ("node1", "node2")))
    memory = recall(read(site.journal)[0])
    cut = status_of(memory, read_holder(site.folder), "", NOON, UTC)
    assert (cut.cut_short, cut.exit_code) == (True, 3)
    assert any("n1 was cut short" in line for line in lines(cut, NOON))
    assert any("run r1 on node[1-2]" in line for line in lines(cut, NOON))
    with acquire(site.folder, myself(NOON.isoformat())):
        runs = status_of(memory, read_holder(site.folder), "", NOON, UTC)
    assert (runs.running, runs.cut_short, runs.exit_code) == (True, False, 0)
    assert as_json(runs)["lock"]["owner"].startswith(f"process {os.getpid()} of")


def test_status_tells_a_hole_and_when_the_next_night_is(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    write(site, Scheduled("02:00"), at=NOON - timedelta(days=2))
    found = status_of(recall(read(site.journal)[0]), read_holder(site.folder), "", NOON, UTC)
    assert found.exit_code == 3
    assert len(found.missed) == 2
    assert found.next_due == datetime(2026, 11, 23, 2, tzinfo=UTC)
    json.dumps(as_json(found))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "system.toml")
    return tmp_path


def test_the_table_of_a_settings_file_has_layers_as_all_settings(home: Path) -> None:
    (home / "system.toml").write_text('[nightly]\nmax-nodes = 8\nmail_to = "ops@site"\nwindow = "22:00-05:00"\n')
    (home / "hpcaccept.toml").write_text('partition = "gpu"\n[nightly]\nmax_nodes = 4\n')
    environ = {"HOME": str(home), "HPCACCEPT_NIGHTLY_MAX_SHARE": "0.5"}
    found = load_settings({}, environ, nightly_options={"notify": "always", "window": None})
    assert found.settings.partition == "gpu"
    assert found.nightly == NightlySettings(
        max_nodes=4, max_share=0.5, mail_to="ops@site", window="22:00-05:00", notify="always"
    )
    places = found.nightly_origin
    assert places["max_nodes"] == "hpcaccept.toml"
    assert places["window"] == str(home / "system.toml")
    assert (places["max_share"], places["notify"], places["smtp"]) == ("environment", "command line", "default")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_node = 3", "Did you mean 'max_nodes'?"),
        ("max_nodes = -1", "expected 0 or more"),
        ("max_nodes = true", "expected int"),
        ("max_share = 0", "more than 0 and at most 1"),
        ("max_share = 1.5", "more than 0 and at most 1"),
        ("queue_timeout_s = 0", "more than 0"),
        ("queue_timeout_s = inf", "more than 0"),
        ('window = "22-5"', "expected a time of day like 02:30"),
        ('at = "2 o clock"', "expected a time of day like 02:30"),
        ('notify = "sometimes"', "changes or always or never"),
        ('webhook_format = "slak"', "Did you mean 'slack'?"),
        ('webhook_url = "https://x"', "Did you mean 'webhook_url_file'?"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(home: Path, line: str, words: str) -> None:
    (home / "hpcaccept.toml").write_text(f"[nightly]\n{line}\n")
    with pytest.raises(UsageError) as fault:
        load_settings({}, {"HOME": str(home)})
    assert "hpcaccept.toml" in str(fault.value)
    assert words in str(fault.value)


def test_a_table_that_is_none_is_refused(home: Path) -> None:
    (home / "hpcaccept.toml").write_text("nightly = 3\n")
    with pytest.raises(UsageError, match="expected a table"):
        load_settings({}, {"HOME": str(home)})
    (home / "hpcaccept.toml").write_text("[nigthly]\n")
    with pytest.raises(UsageError, match="Did you mean 'nightly'"):
        load_settings({}, {"HOME": str(home)})


def test_secrets_leave_the_environment_that_jobs_inherit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "https://site/SECRET")
    site = site_of(Layered(Settings(runs_dir=str(tmp_path)), {}))
    assert URL_VARIABLE not in os.environ
    assert site.secrets == {URL_VARIABLE: "https://site/SECRET"}
    assert "SECRET" not in repr(site)


def test_an_interrupted_night_leaves_its_lock_and_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    site = replace(site_at(tmp_path), say=said.append)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(night_module, "_tonight", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_night(site)
    assert read_holder(site.folder).free
    assert "the next nightly run finishes it" in said[-1]
    monkeypatch.undo()
    report = run_night(site)
    assert [word.night for word in rank_logs_of(site) if isinstance(word, Ended)][-1] == report.night
    assert recall(read(site.journal)[0]).open_nights == ()


def test_a_night_outside_of_its_window_is_not_judged(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(home))
    (home / "hpcaccept.toml").write_text('launcher = "local"\n[nightly]\nwindow = "00:00-00:01"\n')
    assert main(["nightly", "run"]) == 3
    assert "hpcaccept nightly on" in capsys.readouterr().out
    assert main(["nightly", "status"]) == 3
    assert "exit code 3" in capsys.readouterr().out


def test_what_will_be_installed_is_only_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv(URL_VARIABLE, "https://site/SECRET")
    assert main(["nightly", "install", "--systemd", "--at", "23:30", "--", "--max-nodes", "3"]) == 0
    shown = capsys.readouterr()
    assert "OnCalendar=*-*-* 23:30:00" in shown.out
    assert '"--max-nodes" "3"' in shown.out
    assert "Set here, and not at night: " in shown.err
    assert URL_VARIABLE in shown.err
    assert "SECRET" not in shown.out + shown.err
    assert main(["nightly", "install", "--", "--max-node", "3"]) == 2
    assert main(["nightly", "install", "--at", "25:00"]) == 2
    assert sorted(file.name for file in home.iterdir()) == []


def test_errors_are_of_one_family() -> None:
    assert issubclass(LockHeld, HpcacceptError)
    assert night_module.NothingTonight("x").exit_code == 3


def test_a_night_makes_room_for_a_user_who_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = StandInSlurm(tmp_path, nodes=4)
    slurm.install(monkeypatch)
    slurm.change(arrives={"id": "7", "nodes": 3})
    settings = Settings(runs_dir=str(tmp_path / "runs"), launcher="slurm", suite="cpu", partition="gpu", mpi="pmix")
    site = Site(Layered(settings, {}, (), NightlySettings(max_share=0.5, nodes_per_job=1)))
    report = run_night(site)
    assert len(report.tested) == 1
    ((run, why),) = report.withdrawn
    assert why.startswith("made room for job 7 in gpu")
    assert [word.run for word in rank_logs_of(site) if isinstance(word, Yielding)] == [run]
    assert slurm.known()["violations"] == []
    assert report.exit_code == 0
