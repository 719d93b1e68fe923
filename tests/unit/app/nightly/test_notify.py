"""What is told of a night, by which way, and what happens when it does not get through: real servers of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.listeners import hook, relay

from hpcaccept.app.nightly import notify as notifying
from hpcaccept.app.nightly.changes import Change, Changes
from hpcaccept.app.nightly.message import NightReport, as_json, as_slack, headline, is_news, news_lines, text
from hpcaccept.app.nightly.notify import notify, ways
from hpcaccept.config.nightly import NightlySettings
from hpcaccept.config.secret_files import read_secret
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.model.nightly.night import Ended
from hpcaccept.transport import mail, webhook

if TYPE_CHECKING:
    from pathlib import Path

BAD = Changes(
    failed=(Change("node07", "PASS", "FAIL", "gpu3 matmul: 512 TFLOP/s, its peers 700", "r1"),),
    recovered=(Change("node02", "FAIL", "PASS"), Change("node03", "FAIL", "PASS")),
)
REPORT = NightReport("n1", "login1", 1, ("node02", "node03", "node07"), BAD, ("/runs/r1",), {"excluded": 2})
QUIET = NightReport("n1", "login1", 0, ("node01",))
LAST = Ended("n0", 0, "1 node tested")
ENV: dict[str, str] = {}


@pytest.fixture
def pauses() -> list[float]:
    return []


def test_a_quiet_night_is_no_news() -> None:
    assert not is_news(QUIET, LAST)
    assert not is_news(QUIET, None)


@pytest.mark.parametrize(
    "change",
    [
        {"changes": BAD},
        {"missed": ("2026-11-20 02:00",)},
        {"newly_stale": ("node09",), "stale": ("node09",)},
        {"untold": ("n0: newly bad: node01",)},
        {"exit_code": 3},
        {"nothing": "no node is free"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_as_it_was_is_news(change: dict[str, object]) -> None:
    assert is_news(replace(QUIET, **change), LAST)  # type: ignore[arg-type]


def test_what_goes_on_is_told_once() -> None:
    still = Changes(still=(Change("node07", "FAIL", "FAIL", "slow"),))
    assert not is_news(replace(QUIET, exit_code=1, changes=still), Ended("n0", 1, ""))
    assert not is_news(replace(QUIET, stale=("node09",)), LAST)
    idle = Ended("n0", 3, "", "no node is free")
    assert not is_news(replace(QUIET, exit_code=3, nothing="no node is free"), idle)


def test_the_headline_has_the_worst_first() -> None:
    assert headline(REPORT) == "1 newly bad, 2 recovered; 3 nodes tested"
    assert headline(replace(QUIET, nothing="no node is free")) == "no node tested (no node is free)"


def test_the_text_says_who_why_and_where() -> None:
    told = text(REPORT)
    assert "node07: FAIL (was PASS): gpu3 matmul: 512 TFLOP/s, its peers 700" in told
    assert "node[02-03]" in told
    assert "/runs/r1" in told
    assert "Exit code 1." in told


def test_a_thousand_bad_nodes_are_counted_after_twenty() -> None:
    many = tuple(Change(f"node{n:04d}", "PASS", "FAIL", "slow") for n in range(1000))
    told = text(replace(REPORT, changes=Changes(failed=many)))
    assert "and 980 more: node[0020-0999]" in told
    assert told.count("\n") < 40


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_of_others_steers_a_terminal_a_mail_or_a_channel(name: str, reason: str) -> None:
    report = replace(REPORT, changes=Changes(failed=(Change(name, "", "FAIL", reason),)), notes=(reason,))
    for line in (*text(report).splitlines(), headline(report), *news_lines(report)):
        assert not [c for c in line if c < " " or "\x7f" <= c <= "\x9f"]
    slack = as_slack(report)["text"]
    assert "<" not in slack
    assert ">" not in slack
    message = mail.compose("a@b", ["c@d"], headline(report), text(report))
    assert message.as_bytes()
    json.dumps(as_json(report), allow_nan=False)


def test_a_long_night_fits_into_a_channel() -> None:
    many = tuple(Change(f"node{n:04d}", "PASS", "FAIL", "x" * 290) for n in range(1000))
    assert len(as_slack(replace(REPORT, changes=Changes(failed=many)))["text"]) < 3100


def test_a_relay_takes_the_mail(pauses: list[float]) -> None:
    with relay() as server:
        settings = NightlySettings(mail_to="ops@site, boss@site", mail_from="hpc@site", smtp=server.server)
        assert notify(REPORT, settings, ENV, pauses.append) == {"mail": ""}
        (got,) = server.mails
    assert got["To"] == "ops@site, boss@site"
    assert got["Subject"] == "hpcaccept nightly on login1: 1 newly bad, 2 recovered; 3 nodes tested"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got.get_content().splitlines() == text(REPORT).splitlines()
    assert pauses == []


def test_a_busy_relay_is_asked_again(pauses: list[float]) -> None:
    with relay() as server:
        server.busy = 2
        settings = NightlySettings(mail_to="ops@site", smtp=server.server)
        assert notify(REPORT, settings, ENV, pauses.append) == {"mail": ""}
        assert len(server.mails) == 1
    assert pauses == list(notifying.PAUSES_S)


def test_a_refused_recipient_is_said(pauses: list[float]) -> None:
    with relay() as server:
        server.refuse = ("gone@site",)
        settings = NightlySettings(mail_to="gone@site", smtp=server.server)
        why = notify(REPORT, settings, ENV, pauses.append)["mail"]
    assert "did not take the mail" in why
    assert "tried 3 times" in why


def test_nobody_listens(pauses: list[float]) -> None:
    with relay() as server:
        gone = server.server
    why = notify(REPORT, NightlySettings(mail_to="ops@site", smtp=gone), ENV, pauses.append)["mail"]
    assert "tried 3 times" in why
    assert pauses == list(notifying.PAUSES_S)


def test_sendmail_gets_the_mail_on_its_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/args\ncat >{tmp_path}/mail\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert notify(REPORT, NightlySettings(mail_to="ops@site"), ENV, pauses.append) == {"mail": ""}
    assert (tmp_path / "args").read_text() == "-t -i\n"
    assert "node07: FAIL" in (tmp_path / "mail").read_text()
    program.write_text("#!/bin/sh\necho queue is full >&2\nexit 75\n")
    assert "exit status 75: queue is full" in notify(REPORT, NightlySettings(mail_to="a@b"), ENV, pauses.append)["mail"]
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(LaunchError, match=r"within 0\.2 s"):
        mail.by_sendmail(mail.compose("a@b", ["c@d"], "s", "b"), str(program), 0.2)


def test_a_webhook_gets_the_report(pauses: list[float]) -> None:
    with hook() as server:
        env = {notifying.URL_VARIABLE: server.url, notifying.TOKEN_VARIABLE: "t0k3n"}
        assert ways(NightlySettings(), env) == ("webhook",)
        assert notify(REPORT, NightlySettings(), env, pauses.append) == {"webhook": ""}
        ((path, headers, document),) = server.posts
    assert path == "/services/T0/SECRET?key=SECRET"
    assert headers["Authorization"] == "Bearer t0k3n"
    assert document["event"] == "hpcaccept.nightly"
    assert document["exit_code"] == 1
    assert document["changes"]["failed"][0]["node"] == "node07"


def test_slack_gets_a_text(pauses: list[float]) -> None:
    with hook() as server:
        env = {notifying.URL_VARIABLE: server.url}
        assert notify(REPORT, NightlySettings(webhook_format="slack"), env, pauses.append) == {"webhook": ""}
        assert list(server.posts[0][2]) == ["text"]


def test_a_server_that_says_later_is_asked_again(pauses: list[float]) -> None:
    with hook() as server:
        server.answers = [503, 429]
        assert notify(REPORT, NightlySettings(), {notifying.URL_VARIABLE: server.url}, pauses.append) == {"webhook": ""}
        assert len(server.posts) == 3


@pytest.mark.parametrize("code", [400, 401, 404, 302, 307, 308])
def test_a_server_that_says_no_is_not_asked_again_and_its_redirects_lead_nowhere(
    code: int, pauses: list[float]
) -> None:
    with hook() as elsewhere, hook() as server:
        server.answers, server.location = [code], elsewhere.url
        env = {notifying.URL_VARIABLE: server.url, notifying.TOKEN_VARIABLE: "t0k3n"}
        why = notify(REPORT, NightlySettings(), env, pauses.append)["webhook"]
        assert len(server.posts) == 1
        assert elsewhere.posts == []
    assert ("redirects elsewhere" if code in (302, 307, 308) else f"answered {code}") in why
    assert "SECRET" not in why
    assert "t0k3n" not in why
    assert pauses == []


def test_a_server_that_drips_is_left_in_time() -> None:
    with hook() as server:
        server.answers = [0]
        with pytest.raises(LaunchError, match=r"did not answer within 0\.4 s") as fault:
            webhook.post(server.url, {}, timeout_s=0.4)
    assert "SECRET" not in str(fault.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    with hook(both) as server:
        with pytest.raises(LaunchError, match=r"cannot be reached: self.signed certificate") as fault:
            webhook.post(server.url, {}, token="t0k3n")
        assert "SECRET" not in str(fault.value)
        assert server.posts == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        webhook.post(server.url, {"told": True})
        assert server.posts[0][2] == {"told": True}


@pytest.mark.parametrize(
    "url", ["", "hooks.site/x", "ftp://site/x", "http://site/SECRET", "https://", "https://a b/x", "file:///etc/passwd"]
)
def test_what_may_not_be_posted_to_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(UsageError) as fault:
        webhook.post(url, {})
    assert "SECRET" not in str(fault.value)


def test_a_secret_comes_from_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("https://site/x\nsecond line\n")
    file.chmod(0o640)
    with pytest.raises(UsageError, match="others may read it") as fault:
        read_secret(str(file), "V", {})
    assert f"chmod 600 {file}" in str(fault.value)
    file.chmod(0o600)
    assert read_secret(str(file), "V", {}) == "https://site/x"
    assert read_secret(str(file), "V", {"V": " from the environment\n"}) == "from the environment"
    assert read_secret("", "V", {}) == ""
    with pytest.raises(UsageError, match="No such file"):
        read_secret(str(tmp_path / "none"), "V", {})


def test_news_that_nobody_got_is_told_by_the_next_night() -> None:
    assert news_lines(REPORT) == ("n1: newly bad: node07", "n1: recovered: node[02-03]")
    later = replace(QUIET, untold=news_lines(REPORT))
    assert "n1: newly bad: node07" in text(later)
    assert news_lines(later)[0] == "n1: newly bad: node07"
