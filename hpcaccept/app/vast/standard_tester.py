"""The tester of this version of hpcaccept: ``hpcaccept tester serve`` on the machine, challenged and asked for its suite from here."""

from __future__ import annotations

import shlex
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hpcaccept.app.tester import keys
from hpcaccept.app.tester.examine import Claim as Proven
from hpcaccept.app.tester.examine import Plan, collect
from hpcaccept.app.tester.remote import RemoteTester, is_over
from hpcaccept.app.tester.suite import MOST_SUITE_BYTES
from hpcaccept.app.vast import delivery
from hpcaccept.app.vast.suite_result import code_of_report, demanded
from hpcaccept.app.vast.tester import Judgement
from hpcaccept.bounded import read_bytes
from hpcaccept.config.suites import BUILT_IN, read_suite
from hpcaccept.errors import UsageError
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.proof.judge import judge, overall
from hpcaccept.serial import to_plain
from hpcaccept.transport.tester_client import TesterFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hpcaccept.app.tester.remote import Status
    from hpcaccept.app.vast.tester import Claim, Deadlines
    from hpcaccept.model.suite import Suite
    from hpcaccept.proof.transcript import Transcript
    from hpcaccept.proof.verdict import ProofVerdict

#: Seconds between two looks; the official self-test takes 20.
_LOOK_S = 2.0
_TICK_S = 0.2
#: For sending hpcaccept, 1.3 MB: a line of 0.1 Mb/s does it; and for files of tests, which the machine takes for as long.
_SEND_S = 120.0
#: Beginning of what a client says of its own steps, among the machine's lines.
_OURS = "hpcaccept: "
#: Of a server after its client has gone: it ends by itself, should the machine outlive its rental.
_AFTERLIFE_S = 900.0
#: Why a prover is refuted → code.
_REFUTED = {
    "wrong-result": "proof-wrong", "not-committed": "proof-forged", "other-cells": "proof-forged", "malformed": "proof-forged",
    "oversize": "proof-forged", "late": "claim-refuted", "memory-late": "claim-refuted", "faster-than-peak": "claim-refuted",
}  # fmt: skip
_OPEN = {"timeout": "proof-late", "network": "proof-missing", "unsupported": "proof-missing"}
_FAULTS = {
    "network": "tester-unreachable", "timeout": "tester-unreachable", "oversize": "tester-form", "malformed": "tester-form",
    "certificate": "wrong-certificate", "refused": "tester-form",
}  # fmt: skip


class _Ends(Exception):
    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.judgement = Judgement(code, text)


class StandardTester:
    """See above; ``app.vast.tester.Tester``."""

    def __init__(
        self,
        suite: str = "rented",
        plan: Plan | None = None,
        *,
        global_only: bool = True,
        known: Suite | None = None,
        toml: str = "",
        deliver: bool = False,
    ) -> None:
        """Nothing is asked yet.

        Args:
            suite: name of the suite that runs on the machine.
            plan: how hard the proof is; None: as for any machine.
            global_only: refuse addresses of this machine and of private networks.
            known: what that suite holds: its checks must be in the machine's report. None: any report will do.
            toml: text of a suite of one's own, which is sent to the machine and runs there instead.
            deliver: send hpcaccept to the machine, whose image has none.
        """
        self.setup_s = delivery.MOST_S if deliver else 0.0
        self.suite, self._known, self._toml = suite, known, toml
        self.plan = plan or Plan()
        self._global_only = global_only

    def new_secret(self) -> bytes:
        """For one rental."""
        return keys.new_secret()

    def start_command(self, secret: bytes, claim: Claim, test_s: float) -> str:
        """Only what the machine must know of the secret: who reads it can pose as the machine, and cannot use the tester."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in keys.environment(secret).items()]
        serve = ["tester", "serve", "--port", "5000", *self.work()]
        serve += ["--suite-deadline", f"{test_s:g}", "--lifetime", f"{test_s + _AFTERLIFE_S:g}"]
        if self.setup_s:
            return delivery.start_command(lines, serve)
        return "\n".join([*lines, f"exec hpcaccept {shlex.join(serve)}"])

    def work(self) -> list[str]:
        """Options of the server that say what it runs beside the proof."""
        return ["--suite", self.suite]

    def files(self) -> Path | None:
        """Archive that the machine is sent before it runs that."""
        return None

    def code_of(self, report: bytes, expected: tuple[str, ...] = ()) -> tuple[str, str, dict[str, Any]]:
        """What the report of that comes to: a code, what was found, what the machine says of itself.

        Args:
            report: of the machine.
            expected: checks that must be in it.
        """
        return code_of_report(report, expected)

    def judge(
        self,
        address: str,
        port: int,
        secret: bytes,
        claim: Claim,
        deadlines: Deadlines,
        say: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> Judgement:
        """Connect, challenge all GPUs at once, run the suite; what needs no machine is computed by ``later``."""
        began = time.monotonic()
        expected = demanded(self._known, claim.num_gpus) if self._known else ()
        read = partial(self.code_of, expected=expected)
        talk = _Conversation(claim, deadlines, self.plan, say, stopped, began, read, self._toml, self.files())
        try:
            tester = talk.connect(address, port, secret, global_only=self._global_only, deliver=bool(self.setup_s))
            talk.ready(tester)
            transcript = talk.prove(tester)
        except _Ends as end:
            return end.judgement
        except TesterFault as fault:
            return Judgement(_code_of(fault), fault.message)
        # From here on there is evidence, and whatever becomes of the suite does not make it go away.
        code, text, claimed = talk.suite_or_why_not(tester)
        return Judgement(code, text, claimed=claimed, later=lambda: final(transcript, code, text, claimed))


def _code_of(fault: TesterFault) -> str:
    return "token-refused" if fault.status in (401, 403) else _FAULTS[fault.fault]


def final(transcript: Transcript, code: str, text: str, claimed: dict[str, Any]) -> Judgement:
    """Proof and suite together: what is refuted goes first, then what failed, then what is open."""
    judged = transcript.judged(judge(transcript))
    verdicts = judged.verdicts
    proved = {
        "outcome": overall(verdicts),
        "openings": sum(len(each.openings) for each in judged.proofs),
        **{each.subject: _words(each) for each in verdicts},
        **{f"MB/s {each.direction}": round(each.rate_bytes / 1e6, 1) for each in judged.transfers if not each.failure},
    }
    plain: dict[str, Any] = to_plain(judged)
    refuted = next((each for each in verdicts if each.outcome == "refuted"), None)
    open_ = next((each for each in verdicts if each.outcome == "inconclusive"), None)
    if refuted:
        found = Judgement(_REFUTED.get(refuted.reason, "proof-wrong"), f"{refuted.subject}: {refuted.text}")
    elif code != "verified":
        found = Judgement(code, text)
    elif open_ or not verdicts:
        found = Judgement(
            _OPEN.get(open_.cause if open_ else "", "proof-missing"), f"{open_.subject}: {open_.text}" if open_ else ""
        )
    else:
        found = Judgement("verified", text)
    return replace(found, proved=proved, claimed=claimed, transcript=plain)


def _words(verdict: ProofVerdict) -> str:
    rate = f", {verdict.rate_ops:.3g} int8 operations/s" if verdict.rate_ops else ""
    return f"{verdict.outcome}{rate}"


class _Conversation:
    """One machine being asked."""

    def __init__(
        self,
        claim: Claim,
        deadlines: Deadlines,
        plan: Plan,
        say: Callable[[str], None],
        stopped: Callable[[], bool],
        began: float,
        code_of: Callable[[bytes], tuple[str, str, dict[str, Any]]],
        toml: str = "",
        files: Path | None = None,
    ) -> None:
        self._files = files
        self._code_of_report = code_of
        self.claim, self.deadlines, self.plan = claim, deadlines, plan
        self._toml = toml
        self._say, self._stopped, self._began = say, stopped, began

    def left_s(self) -> float:
        """Until the end of everything.

        Raises:
            _Ends: nothing is left.
        """
        left = self.deadlines.total_s - (time.monotonic() - self._began)
        if left <= 0:
            raise _Ends("test-timeout", f"after {self.deadlines.total_s:g} s")
        return left

    def wait(self, seconds: float = _LOOK_S) -> None:
        """Between two looks.

        Raises:
            _Ends: the run is to end.
        """
        until = time.monotonic() + min(seconds, self.left_s())
        while True:
            if self._stopped():
                raise _Ends("tester-silent", "was asked to stop")
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_TICK_S, left))

    def connect(
        self, address: str, port: int, secret: bytes, *, global_only: bool, deliver: bool = False
    ) -> RemoteTester:
        """Until it answers and knows the key of this rental; what it is to be sent first is sent once.

        Who answers as a tester without having taken it is asked like any other: what runs there proves itself, or does not.
        """
        sent = not deliver
        while True:
            if not sent and delivery.send(
                address, port, deadline_s=min(_SEND_S, self.left_s()), global_only=global_only
            ):
                sent = True
                self._say(f"{_OURS}sent to the machine, which installs what it needs")
            try:
                tester = RemoteTester.connect(
                    address, port, secret, deadline_s=min(20.0, self.left_s()), global_only=global_only
                )
                self._say(f"{_OURS}connected; the certificate is pinned")
                return tester
            except TesterFault as fault:
                waited = time.monotonic() - self._began
                if fault.fault not in ("network", "timeout"):
                    raise
                if waited > self.deadlines.connect_s:
                    if not sent:
                        raise _Ends("tester-unreachable", "hpcaccept could not be sent to the machine") from None
                    raise
            self.wait()

    def ready(self, tester: RemoteTester) -> Status:
        """Until every device can be challenged.

        Raises:
            _Ends: it says itself that it has fewer GPUs than its offer.
        """
        while True:
            status = tester.status()
            if len(status.devices) < self.claim.num_gpus:
                raise _Ends("gpus-missing", f"{len(status.devices)} devices, the offer has {self.claim.num_gpus}")
            if status.ready:
                return status
            if time.monotonic() - self._began > self.deadlines.connect_s + self.deadlines.silence_s:
                raise _Ends("tester-silent", "its devices are not ready")
            self.wait()

    def prove(self, tester: RemoteTester) -> Transcript:
        """Challenges, memory and transfers, in a thread, because a machine may keep each of them waiting."""
        memory = int((self.claim.vram_mib or 0) * 2**20)
        claim = Proven(f"machine {self.claim.machine}", self.claim.gpu_name, self.claim.num_gpus, memory)
        found: list[Transcript | BaseException] = []

        def ask() -> None:
            try:
                found.append(collect(tester, claim, self.plan))
            except BaseException as fault:  # noqa: BLE001 (raised below)
                found.append(fault)

        self._say(f"{_OURS}all {self.claim.num_gpus} GPUs are challenged at once")
        thread = threading.Thread(target=ask, daemon=True, name=f"proof of {self.claim.machine}")
        thread.start()
        try:
            while thread.is_alive():
                self.wait(_TICK_S)
        except _Ends:
            # Its machine ends next, and its connections with it; a short challenge may end by itself.
            thread.join(_LOOK_S)
            raise
        if isinstance(found[0], BaseException):
            raise found[0]
        self._say(f"{_OURS}commitments and openings are here")
        return found[0]

    def suite_or_why_not(self, tester: RemoteTester) -> tuple[str, str, dict[str, Any]]:
        """As ``run_suite``, with a code instead of an exception."""
        try:
            return self.run_suite(tester)
        except _Ends as end:
            return end.judgement.code, end.judgement.text, {}
        except TesterFault as fault:
            return _code_of(fault), fault.message, {}

    def run_suite(self, tester: RemoteTester) -> tuple[str, str, dict[str, Any]]:
        """Progress until the suite says that it is over, then its report."""
        if self._files:
            self._say(f"{_OURS}sending {self._files.stat().st_size:,} bytes of files")
            tester.send_files(self._files, deadline_s=min(_SEND_S, self.left_s()))
        tester.start_suite(self._toml)
        began = time.monotonic()
        count, heard, faults = 0, began, 0
        while True:
            if time.monotonic() - began > self.deadlines.suite_s:
                raise _Ends("test-timeout", f"the suite was not done after {self.deadlines.suite_s:g} s")
            try:
                lines, faults = tester.progress(count), 0
            except TesterFault as fault:
                # One lost connection is none of the machine; a tester that stays away is.
                faults += 1
                if fault.fault not in ("network", "timeout") or time.monotonic() - heard > self.deadlines.silence_s:
                    raise _Ends("tester-silent" if faults > 1 else _code_of(fault), fault.message) from None
                lines = []
            for line in lines:
                self._say(line)
            count += len(lines)
            if count and not faults:
                # Three minutes of load bring no new line: whoever has begun to speak, and answers, is not silent.
                heard = time.monotonic()
            if is_over(lines):
                return self._report(tester, lines[-1])
            if time.monotonic() - heard > self.deadlines.silence_s:
                raise _Ends("tester-silent", f"no answer with a line for {self.deadlines.silence_s:g} s")
            self.wait()

    def _report(self, tester: RemoteTester, last: str) -> tuple[str, str, dict[str, Any]]:
        try:
            code, text, claimed = self._code_of_report(tester.result())
        except TesterFault as fault:
            if fault.fault == "refused":
                return "tester-crashed", last, {}
            raise
        # Any other end contradicts a report in which everything passed.
        if code == "verified" and last != "DONE":
            return "not-judged", last, claimed
        return code, text, claimed


def standard_tester(suite: str, **more: Any) -> StandardTester:
    """The tester of the command line.

    Args:
        suite: name of a suite that comes with hpcaccept, or a ``.toml`` file of this side, which is sent to the machine.
        more: as ``StandardTester``.

    Raises:
        UsageError: there is no such suite, or it is none.
    """
    text = read_suite(suite)
    known = resolve_suite(text)
    if text.file.parent == BUILT_IN:
        return StandardTester(suite, known=known, **more)
    try:
        own = read_bytes(text.file, follow=True, most=MOST_SUITE_BYTES).decode("utf-8")
    except OSError as fault:
        raise UsageError(f"Cannot send {text.file} to a machine: {fault.strerror}.") from None
    return StandardTester(known=known, toml=own, **more)
