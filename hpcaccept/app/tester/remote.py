"""One machine's tester as the client sees it: every answer is checked for form and size, and none is believed."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hpcaccept import serial
from hpcaccept.app.tester import keys
from hpcaccept.app.tester.service import VERSION
from hpcaccept.app.tester.suite import DONE, ERROR, MOST_REPORT_BYTES
from hpcaccept.proof.memory import GROUP, GroupOpening
from hpcaccept.proof.openings import Opening
from hpcaccept.report.printable import safe
from hpcaccept.transport.tester_client import Answer, TesterClient, TesterFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hpcaccept.proof.challenge import Challenge
    from hpcaccept.proof.openings import Cell

T = TypeVar("T")

_SHORT_S, _SMALL = 20.0, 64 * 1024
_LINES, _LINE = 2000, 500
_PATH = 64 * 32 * 4 // 3
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Status:
    """What the tester says of itself: claims.

    Attributes:
        devices: in their order: ready or not, and what is the matter with them.
        suite: ``idle``, ``running``, ``DONE`` or ``ERROR …``.
    """

    devices: tuple[Device, ...]
    suite: str

    @property
    def ready(self) -> bool:
        """Every device can be challenged, or never will."""
        return bool(self.devices) and all(device.ready for device in self.devices)


@dataclass(frozen=True)
class Device:
    """One prover as the machine calls it.

    Attributes:
        device: its name.
        ready: it has loaded what it needs.
        trouble: why it cannot prove; empty where it can.
    """

    device: str
    ready: bool
    trouble: str


class RemoteTester:
    """A tester whose certificate is pinned: made by ``connect``."""

    def __init__(self, client: TesterClient) -> None:
        self._client = client

    @classmethod
    def connect(
        cls, address: str, port: int, secret: bytes, *, deadline_s: float = _SHORT_S, global_only: bool = True
    ) -> RemoteTester:
        """Find out who answers, and pin it where it knows the pin of this rental.

        Args:
            address: of the machine, numbers.
            port: that the marketplace maps to the tester's.
            secret: of this rental (``keys.new_secret``).
            deadline_s: for both questions together.
            global_only: refuse private addresses (``TesterClient``).

        Raises:
            TesterFault: nobody answers, or somebody who does not know the pin (``certificate``). No token was sent.
        """
        until = time.monotonic() + deadline_s
        client = TesterClient(address, port, keys.token_of(secret), global_only=global_only)
        seen = client.fingerprint(deadline_s=deadline_s)
        # From here on the same certificate, or none: what is proved below is proved of this one.
        client.pinned = seen
        nonce = secrets.token_hex(32)
        left_s = max(0.1, until - time.monotonic())
        answer = client.ask(f"/hello?nonce={nonce}", most_bytes=_SMALL, deadline_s=left_s, with_token=False)
        plain = _table(answer)
        if plain.get("version") != VERSION:
            raise TesterFault(
                "malformed", f"The tester speaks version {str(plain.get('version'))[:20]}, expected {VERSION}."
            )
        if not keys.same(str(plain.get("proof", "")), keys.certificate_proof(keys.pin_of(secret), nonce, seen)):
            raise TesterFault(
                "certificate",
                "Who answers there does not know this rental's key, so it is not the machine, or somebody is in between.",
            )
        return cls(client)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the pinned certificate."""
        return self._client.pinned

    def ping(self, *, deadline_s: float = _SHORT_S) -> float:
        """Seconds from a small request on an open connection to the end of its answer."""
        return self._client.ask("/status", most_bytes=_SMALL, deadline_s=deadline_s).seconds

    def status(self, *, deadline_s: float = _SHORT_S) -> Status:
        """What the tester says of itself."""
        plain = _table(self._client.ask("/status", most_bytes=_SMALL, deadline_s=deadline_s))
        devices = plain.get("devices")
        if not isinstance(devices, list) or len(devices) > 64:
            raise TesterFault("malformed", "The tester's status lists no devices.")
        found = tuple(_read(device, Device) for device in devices)
        return Status(
            tuple(Device(_line(d.device), d.ready, _line(d.trouble)) for d in found), _line(str(plain.get("suite", "")))
        )

    def send_files(self, archive: Path, *, deadline_s: float) -> None:
        """Send an archive of ``sent_files``; the machine has it whole when this returns."""
        digest, size = hashlib.sha256(), archive.stat().st_size

        def blocks() -> Iterator[bytes]:
            with archive.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    yield block

        answer = self._client.ask("/files", blocks=(size, blocks()), most_bytes=_SMALL, deadline_s=deadline_s)
        if not keys.same(_text(answer, "sha256"), digest.hexdigest()):
            raise TesterFault("malformed", "The machine did not receive the files that were sent to it.")

    def start_suite(self, toml: str = "") -> None:
        """Have the machine run its suite, or the one whose text is sent; once is enough."""
        self._post("/suite", {"toml": toml} if toml else {})

    def progress(self, first: int = 0) -> list[str]:
        """Lines of progress from this index on, printable, at most 2,000 of 500 characters."""
        answer = self._client.ask(f"/progress?from={first}", most_bytes=1 << 20, deadline_s=_SHORT_S)
        return [_line(line) for line in answer.body.decode("utf-8", "replace").splitlines()[:_LINES]]

    def result(self) -> bytes:
        """The machine's report.json, as it came: a claim."""
        return self._client.ask("/result", most_bytes=MOST_REPORT_BYTES, deadline_s=120.0).body

    def challenge(self, gpu: int, challenge: Challenge, *, deadline_s: float) -> tuple[tuple[str, ...], Answer]:
        """The roots that a GPU commits to, and when they came."""
        most = 200 + 80 * challenge.segments
        answer = self._post("/challenge", {"gpu": gpu, "challenge": serial.to_plain(challenge)}, most, deadline_s)
        return tuple(_texts(answer, "roots")), answer

    def open(
        self, gpu: int, challenge: Challenge, cells: Sequence[Cell], *, deadline_s: float = 120.0
    ) -> tuple[Opening, ...]:
        """Cells of the last commitment."""
        most = 400 + len(cells) * (2 * (challenge.width * 4 // 3 + _PATH) + 300)
        answer = self._post("/open", {"gpu": gpu, "cells": [list(cell) for cell in cells]}, most, deadline_s)
        return _items(answer, Opening)

    def fill(self, gpu: int, challenge: Challenge, *, deadline_s: float) -> Answer:
        """Have a buffer made."""
        return self._post(
            "/memory", {"gpu": gpu, "action": "fill", "challenge": serial.to_plain(challenge)}, _SMALL, deadline_s
        )

    def probe(self, gpu: int, probe: str, *, deadline_s: float) -> tuple[str, Answer]:
        """The root over the buffer's product with a fresh vector."""
        answer = self._post("/memory", {"gpu": gpu, "action": "probe", "probe": probe}, _SMALL, deadline_s)
        return _text(answer, "root"), answer

    def groups(self, gpu: int, groups: Sequence[int], *, deadline_s: float = 60.0) -> tuple[GroupOpening, ...]:
        """Groups of the last probe."""
        most = 400 + len(groups) * (GROUP * 4 * 4 // 3 + _PATH + 200)
        return _items(
            self._post("/memory", {"gpu": gpu, "action": "open", "groups": list(groups)}, most, deadline_s),
            GroupOpening,
        )

    def drop(self, gpu: int) -> None:
        """Have the buffer given back."""
        self._post("/memory", {"gpu": gpu, "action": "drop"})

    def download(self, size_bytes: int, *, deadline_s: float) -> float:
        """Seconds in which so many bytes came, counted here."""
        answer = self._client.ask(
            f"/bandwidth?bytes={size_bytes}", most_bytes=size_bytes, deadline_s=deadline_s, keep=False
        )
        if answer.size != size_bytes:
            raise TesterFault("malformed", f"The machine sent {answer.size:,} bytes instead of {size_bytes:,}.")
        return answer.seconds

    def upload(self, size_bytes: int, *, deadline_s: float) -> float:
        """Seconds until the machine could name the digest of so many bytes: it has them all then."""
        digest = hashlib.sha256()

        def blocks() -> Iterator[bytes]:
            block, left = secrets.token_bytes(_BLOCK), size_bytes
            while left > 0:
                digest.update(part := block[:left])
                left -= len(part)
                yield part

        answer = self._client.ask("/bandwidth", blocks=(size_bytes, blocks()), most_bytes=_SMALL, deadline_s=deadline_s)
        if not keys.same(_text(answer, "sha256"), digest.hexdigest()):
            raise TesterFault("malformed", "The machine did not receive what was sent to it.")
        return answer.seconds

    def _post(self, path: str, plain: dict[str, Any], most_bytes: int = _SMALL, deadline_s: float = _SHORT_S) -> Answer:
        return self._client.ask(path, body=json.dumps(plain).encode(), most_bytes=most_bytes, deadline_s=deadline_s)


def is_over(progress: Sequence[str]) -> bool:
    """Whether the last line says that the suite has ended; what it says is a claim."""
    return bool(progress) and (progress[-1] == DONE or progress[-1].startswith(ERROR))


def _line(text: str) -> str:
    return safe(text[:_LINE])


def _table(answer: Answer) -> dict[str, Any]:
    try:
        plain = serial.loads(answer.body)
    except ValueError:
        plain = None
    if not isinstance(plain, dict):
        raise TesterFault("malformed", "The machine's answer is not a table of JSON.")
    return plain


def _text(answer: Answer, name: str) -> str:
    found = _table(answer).get(name)
    if not isinstance(found, str):
        raise TesterFault("malformed", f"The machine's answer lacks {name!r}.")
    return found


def _texts(answer: Answer, name: str) -> list[str]:
    found = _table(answer).get(name)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise TesterFault("malformed", f"The machine's answer lacks {name!r}.")
    return found


def _items(answer: Answer, kind: type[T]) -> tuple[T, ...]:
    found = _table(answer).get("openings")
    if not isinstance(found, list):
        raise TesterFault("malformed", "The machine's answer lacks 'openings'.")
    return tuple(_read(item, kind) for item in found)


def _read(plain: object, kind: type[T]) -> T:
    try:
        return serial.from_plain(plain, kind)
    except ValueError as fault:
        raise TesterFault("malformed", f"The machine's answer is not understood: {safe(str(fault))[:200]}.") from None
