"""What a conversation with a machine comes to: the proof first, then the suite; and what the suite's report is worth."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import lying_testers
from support.lying_testers import connected

from hpcaccept.app.tester import keys
from hpcaccept.app.tester.examine import Claim as Proven
from hpcaccept.app.tester.examine import Plan, collect
from hpcaccept.app.vast import standard_tester
from hpcaccept.app.vast.caps import Caps
from hpcaccept.app.vast.standard_tester import StandardTester, final
from hpcaccept.app.vast.suite_result import code_of_report, demanded
from hpcaccept.app.vast.tester import Claim, Deadlines
from hpcaccept.config.suites import read_suite
from hpcaccept.errors import UsageError
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.verdict import ProofVerdict
from hpcaccept.provider.vast import failures
from hpcaccept.provider.vast.requests import MOST_ONSTART
from hpcaccept.transport import tester_client
from hpcaccept.transport.tester_server import Reply

if TYPE_CHECKING:
    from pathlib import Path

#: Real servers and clients, which wait for each other.
pytestmark = pytest.mark.slow
SMALL = Challenge("0" * 64, 64, 64, 16, 4)
PLAN = Plan(
    challenge=SMALL, openings=24, groups=0, transfer_bytes=0, floor_ops=SMALL.ops / 20, peak_ops=SMALL.ops * 1e6
)


def report(*verdicts: dict[str, Any], code: int = 0, **other: Any) -> bytes:
    return json.dumps({"exit_code": code, "conclusion": {"word": "ACCEPTED"}, "verdicts": verdicts, **other}).encode()


def verdict(outcome: str, check: str, metric: str = "", **other: Any) -> dict[str, Any]:
    return {"outcome": outcome, "check": check, "metric": metric, "required": True, **other}


PASS = verdict("PASS", "matmul", "rate_flops")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (report(PASS), "verified"),
        (report(PASS, verdict("NO_BASELINE", "dgemm", "rate_flops"), code=3), "not-judged"),
        (report(PASS, verdict("NO_BASELINE", "dgemm", required=False)), "verified"),
        (report(), "not-judged"),
        (report(verdict("NO_BASELINE", "dgemm"), code=3), "not-judged"),
        (report(PASS, verdict("ERROR", "resnet"), code=3), "not-judged"),
        (report(PASS, verdict("WARN", "burn"), code=3), "not-judged"),
        (report(PASS, verdict("NOT_RUN", "health"), code=3), "not-judged"),
        (report(PASS, code=1), "test-failed"),
        (report(PASS, code=2), "not-judged"),
        (report(PASS, verdict("FAIL", "resnet", "outputs"), code=1), "resnet-failed"),
        (report(verdict("FAIL", "train:small", "loss"), code=1), "resnet-failed"),
        (report(verdict("FAIL", "memory_pattern", "wrong_words"), code=1), "ecc-failed"),
        (report(verdict("FAIL", "allreduce", "wrong"), code=1), "nccl-failed"),
        (report(verdict("FAIL", "burn", "wrong_elements", code="result-wrong"), code=1), "burn-failed"),
        (report(verdict("FAIL", "burn", "sustained_share_gpu", code="slows-down"), code=1), "stress-failed"),
        (report(verdict("FAIL", "requirements", "gpu_models", value=0), code=1), "gpus-missing"),
        (report(verdict("FAIL", "requirements", "gpu_models", value=2), code=1), "gpus-differ"),
        (report(verdict("FAIL", "requirements", "free_memory_share"), code=1), "memory-taken"),
        (report(verdict("FAIL", "requirements", "memory_share"), code=1), "ram-short"),
        (report(verdict("FAIL", "requirements", "cores_per_gpu"), code=1), "cores-short"),
        (report(verdict("FAIL", "requirements", "disk_free_bytes"), code=1), "disk-full"),
        (report(verdict("FAIL", "storage", "read"), code=1), "test-failed"),
        (report(verdict("FAIL", "health", "gpus", code="gpu-missing"), code=1), "gpus-missing"),
        (report(verdict("FAIL", "resnet")), "resnet-failed"),
        (b"", "tester-form"),
        (b"[]", "tester-form"),
        (b'{"exit_code": 0, "conclusion": "ACCEPTED"}', "tester-form"),
        (b"[" * 10_000, "tester-form"),
        (b'{"exit_code": 0, "verdicts": ["PASS", 5]}', "not-judged"),
    ],
)
def test_a_suite_s_report_comes_to_a_code(raw: bytes, code: str) -> None:
    found, text, _ = code_of_report(raw)
    assert found == code
    assert code == "verified" or code in failures.FAILURES
    assert len(text) < 600


SUITE = resolve_suite(read_suite("rented"))


def rows(**others: str) -> list[dict[str, Any]]:
    """Every check of the suite with PASS, but for what is said otherwise; an empty text: it is missing."""
    outcomes = {spec.name: "PASS" for spec in SUITE.checks} | others
    return [{"name": name, "outcome": outcome} for name, outcome in outcomes.items() if outcome]


@pytest.mark.parametrize(
    ("gpus", "others", "found"),
    [
        (1, {}, "verified"),
        (8, {}, "verified"),
        (1, {"allreduce": "NOT_RUN"}, "verified"),  # one GPU has nobody to reduce with
        (2, {"allreduce": "NOT_RUN"}, "not-judged"),
        (2, {"allreduce": "ERROR"}, "not-judged"),
        (1, {"memory_pattern": ""}, "not-judged"),
        (1, {"burn": "NOT_RUN"}, "not-judged"),
        (1, {"kernel_log": "NOT_RUN"}, "verified"),  # hosts hide it
    ],
)
def test_what_the_suite_asks_for_must_be_in_the_report(gpus: int, others: dict[str, str], found: str) -> None:
    code, text, _ = code_of_report(report(PASS, checks=rows(**others)), demanded(SUITE, gpus))
    assert code == found
    assert all(name in text for name in others) or found == "verified"


@pytest.mark.parametrize("checks", [None, 7, [7], [{"name": 1}], [{"name": "burn", "outcome": "\x1b[31mPASS"}]])
def test_rows_of_another_form_verify_nothing(checks: object) -> None:
    code, text, _ = code_of_report(report(PASS, checks=checks), demanded(SUITE, 1))
    assert code == "not-judged"
    assert "\x1b" not in text


def test_what_nobody_judged_is_named_before_what_is_optional() -> None:
    silent = verdict("NO_BASELINE", "resnet", "images_per_s", reason="no baseline")
    optional = verdict("NOT_RUN", "kernel_log", required=False)
    _, text, _ = code_of_report(report(PASS, optional, silent, code=3))
    assert text.startswith("resnet.images_per_s: NO_BASELINE")


def test_three_minutes_of_load_fit_into_the_tests_time() -> None:
    """CPUs and GPUs together for 180 s, and as much time left for the rest as it takes on slow parts (``rented.toml``)."""
    burn = next(spec for spec in SUITE.checks if spec.name == "burn")
    assert burn.params["together_s"] == 180.0
    assert burn.params["cpu_load"] == "stress-ng"
    load_s = 0.3 * burn.params["duration_s"] + burn.params["together_s"]
    assert load_s + 80 <= Caps(1.0, 1.0).test_s
    assert load_s < burn.deadline_s


def test_a_suite_of_one_s_own_is_sent_and_one_of_hpcaccept_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[checks.identity]\n")
    own, named = standard_tester.standard_tester(str(file)), standard_tester.standard_tester("marketplace")
    secret = own.new_secret()
    assert str(tmp_path) not in own.start_command(secret, Claim(7, "RTX 4090", 2), 300.0)
    assert own._toml == "[checks.identity]\n"
    assert "--suite marketplace" in named.start_command(secret, Claim(7, "RTX 4090", 2), 300.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [("[checks.nothing]\n", "nothing"), ("x", "mine.toml"), ("#" * 70_000 + "\n[checks.identity]", "send")],
)
def test_a_suite_that_is_none_is_refused_before_anything_is_rented(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=why):
        standard_tester.standard_tester(str(file))


def test_a_report_s_text_is_harmless() -> None:
    _, text, claimed = code_of_report(
        report(verdict("FAIL", "resnet", reason="\x1b[31m" * 500), software={"\x1b": {"\x1b": 1}}, code=1)
    )
    assert "\x1b" not in text + str(claimed)


def proof(tmp_path: Path, kind: type[lying_testers.Machine]) -> Any:
    with connected(tmp_path, kind) as tester:
        return collect(tester, Proven("machine 7", "H100 SXM", 1), PLAN)


def test_what_is_refuted_goes_before_a_suite_that_passed(tmp_path: Path) -> None:
    found = final(proof(tmp_path, lying_testers.LazyRows), "verified", "", {})
    assert found.code == "proof-wrong"
    assert found.transcript


def test_what_is_refuted_goes_before_a_suite_that_broke_off(tmp_path: Path) -> None:
    assert final(proof(tmp_path, lying_testers.ForgedPath), "tester-silent", "", {}).code == "proof-forged"


def test_a_suite_that_failed_goes_before_a_proof_that_holds(tmp_path: Path) -> None:
    found = final(proof(tmp_path, lying_testers.Machine), "nccl-failed", "text", {"gpu": "x"})
    assert (found.code, found.text) == ("nccl-failed", "text")
    assert found.proved["outcome"] == "verified"
    assert found.claimed == {"gpu": "x"}


def test_only_both_together_are_verified(tmp_path: Path) -> None:
    assert final(proof(tmp_path, lying_testers.Machine), "verified", "", {}).code == "verified"
    assert final(proof(tmp_path, lying_testers.SaysItCannot), "verified", "", {}).code == "proof-missing"


def test_every_reason_and_cause_of_the_proof_has_a_code() -> None:
    hints = ProofVerdict.__annotations__
    assert hints["reason"] == "Reason"
    from typing import get_args

    from hpcaccept.proof import verdict as verdicts
    from hpcaccept.transport.tester_client import Fault

    assert set(get_args(verdicts.Reason)) - {""} == set(standard_tester._REFUTED)
    assert set(get_args(verdicts.Cause)) - {""} == set(standard_tester._OPEN)
    assert set(get_args(Fault)) == set(standard_tester._FAULTS)
    codes = {*standard_tester._REFUTED.values(), *standard_tester._OPEN.values(), *standard_tester._FAULTS.values()}
    assert codes <= set(failures.FAILURES)
    assert {failures.outcome_of(each) for each in standard_tester._REFUTED.values()} == {"refuted"}
    assert {failures.outcome_of(each) for each in standard_tester._OPEN.values()} == {"inconclusive"}


def test_a_refused_token_is_told_from_another_refusal() -> None:
    assert standard_tester._code_of(tester_client.TesterFault("refused", "x", status=401)) == "token-refused"
    assert standard_tester._code_of(tester_client.TesterFault("refused", "x", status=500)) == "tester-form"


def test_the_start_command_holds_neither_secret_nor_token_and_fits() -> None:
    tester = StandardTester()
    secret = tester.new_secret()
    command = tester.start_command(secret, Claim(7, "RTX 4090", 2), 300.0)
    assert secret.hex() not in command
    assert keys.token_of(secret) not in command
    assert keys.pin_of(secret).hex() in command
    assert len(command) < MOST_ONSTART / 4
    assert "exec hpcaccept tester serve --port 5000 --suite rented --suite-deadline 300 --lifetime 1200" in command


USUAL = Deadlines(5.0, 5.0, 20.0)


class Talk:
    """A conversation on this machine."""

    def __init__(self, tmp_path: Path, kind: type[lying_testers.Machine]) -> None:
        self.tester, self.lines = StandardTester(plan=PLAN, global_only=False), []
        self.secret = self.tester.new_secret()
        self.machine = kind(self.secret)
        self.folder = tmp_path
        self.stopped = False

    lines: list[str]

    def judge(self, deadlines: Deadlines = USUAL, gpus: int = 1) -> Any:
        with lying_testers.listening(self.folder, self.machine) as server:
            claim = Claim(7, "H100 SXM", gpus)
            found = self.tester.judge(
                "127.0.0.1", server.port, self.secret, claim, deadlines, self.lines.append, lambda: self.stopped
            )
            return found.later() if found.later else found


class Quiet(lying_testers.Machine):
    """Starts its suite and never says a word."""

    def on_suite(self, request: Any, plain: Any) -> Any:
        return {"started": True}

    def on_progress(self, request: Any, plain: Any) -> Any:
        return Reply(200, b"", "text/plain")


class Endless(Quiet):
    """Says something new for ever."""

    said = 0

    def on_progress(self, request: Any, plain: Any) -> Any:
        self.said += 1
        return Reply(200, f"line {self.said}\n".encode(), "text/plain")


class Pauses(Quiet):
    """Says one line, and nothing more for longer than silence may last; then it is done."""

    since = 0.0

    def on_progress(self, request: Any, plain: Any) -> Any:
        self.since = self.since or time.monotonic()
        done = "DONE\n" if time.monotonic() - self.since > 4.0 else ""
        text = f"running burn\n{done}" if request.query["from"] == "0" else done
        return Reply(200, text.encode(), "text/plain")

    def on_result(self, request: Any, plain: Any) -> Any:
        return json.loads(report(PASS))


class Claims(Quiet):
    """Says DONE and shows a report of its own making."""

    def on_progress(self, request: Any, plain: Any) -> Any:
        return Reply(200, b"DONE\n", "text/plain")

    def on_result(self, request: Any, plain: Any) -> Any:
        return json.loads(report(PASS))


class Contradicts(Claims):
    """Says ERROR, and that everything passed."""

    def on_progress(self, request: Any, plain: Any) -> Any:
        return Reply(200, b"ERROR a check failed (exit code 1)\n", "text/plain")


def test_a_machine_that_falls_silent_is_left(tmp_path: Path) -> None:
    assert Talk(tmp_path, Quiet).judge(Deadlines(5.0, 1.0, 30.0)).code == "tester-silent"


def test_a_long_stage_without_a_line_is_no_silence(tmp_path: Path) -> None:
    assert Talk(tmp_path, Pauses).judge(Deadlines(5.0, 2.5, 60.0)).code == "verified"


def test_a_machine_that_talks_for_ever_is_left(tmp_path: Path) -> None:
    assert Talk(tmp_path, Endless).judge(Deadlines(5.0, 10.0, 4.0)).code == "test-timeout"


def test_a_suite_has_its_own_limit(tmp_path: Path) -> None:
    assert Talk(tmp_path, Endless).judge(Deadlines(5.0, 10.0, 60.0, suite_s=3.0)).code == "test-timeout"


def test_a_machine_whose_end_contradicts_its_report_is_not_judged(tmp_path: Path) -> None:
    assert Talk(tmp_path, Contradicts).judge().code == "not-judged"


def test_a_machine_that_works_rightly_and_reports_is_verified(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Claims)
    assert talk.judge().code == "verified"
    assert talk.lines[-1] == "DONE"


def test_a_machine_that_shows_fewer_gpus_than_offered_fails_by_its_own_word(tmp_path: Path) -> None:
    assert Talk(tmp_path, Claims).judge(gpus=8).code == "gpus-missing"


def test_who_stops_is_not_kept_waiting(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Endless)
    talk.stopped = True
    assert talk.judge().code == "tester-silent"


def test_a_secret_is_for_one_rental() -> None:
    assert StandardTester().new_secret() != StandardTester().new_secret()
    assert dataclasses.asdict(Claim(1, "x", 1))["machine"] == 1
