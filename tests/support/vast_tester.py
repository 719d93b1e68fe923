"""A tester without a machine: what it finds is written down beforehand. For tests of everything around it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept.app.vast.tester import Claim, Deadlines, Judgement

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class WrittenTester:
    """See above.

    Attributes:
        codes: machine → code; others are verified.
        lines: of progress.
        seconds: that a conversation takes.
        fault: raised instead.
        secrets: that were made.
        asked: address and port of each conversation.
        side_by_side: most conversations at the same time.
        meet: where each conversation waits until that many have begun.
    """

    codes: dict[int, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ("Running system requirements test...", "Running ResNet test...", "DONE")
    seconds: float = 0.05
    fault: Exception | None = None
    secrets: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)
    side_by_side: int = 0
    meet: threading.Barrier | None = None
    setup_s: float = 0.0
    _now: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def from_json(cls, text: str) -> WrittenTester:
        """As ``{"codes": {"7": "nccl-failed"}, "seconds": 1}``."""
        plain = json.loads(text or "{}")
        return cls({int(key): code for key, code in plain.get("codes", {}).items()}, seconds=plain.get("seconds", 0.05))

    def new_secret(self) -> bytes:
        self.secrets.append(secrets.token_bytes(32))
        return self.secrets[-1]

    def start_command(self, secret: bytes, claim: Claim, test_s: float) -> str:
        return f"exec tester --machine {claim.machine}"

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
        self.asked.append((address, port))
        with self._counting:
            self._now += 1
            self.side_by_side = max(self.side_by_side, self._now)
        try:
            if self.meet:
                self.meet.wait(120)
            if self.fault:
                raise self.fault
            until = time.monotonic() + min(self.seconds, deadlines.suite_s)
            for line in self.lines:
                say(line)
            while time.monotonic() < until:
                if stopped():
                    return Judgement("tester-silent", "was asked to stop")
                time.sleep(0.01)
            if self.seconds > deadlines.suite_s:
                return Judgement("test-timeout", f"after {deadlines.suite_s:g} s")
            code = self.codes.get(claim.machine, "verified")
            return Judgement(
                code, "as written", {"rate_ops": 1.0e12}, {"gpu": claim.gpu_name}, {"machine": claim.machine}
            )
        finally:
            with self._counting:
                self._now -= 1
