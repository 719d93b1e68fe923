"""What a request to the tester means. Every answer is data; nothing of a request is run or looked up, and nothing is written but the suite or the
tests' files, into a folder of the tester's own.

======  ============  ===============================================  ==================================================
GET     /hello        ``nonce`` (64 hexadecimal digits), no token      ``{"version", "proof"}``: HMAC over the certificate
GET     /status                                                        ``{"version", "devices", "suite"}``
GET     /progress     ``from`` (index of a line)                       lines of text, the last one ``DONE`` or ``ERROR …``
POST    /files        an archive of the tests' files, once             ``{"bytes", "sha256"}``
POST    /suite        ``{}`` or ``{"toml"}``                           ``{"started"}``
GET     /result                                                        report.json of the suite's run
POST    /challenge    ``{"gpu", "challenge"}``                         ``{"roots"}`` when the work is done
POST    /open         ``{"gpu", "cells"}``                             ``{"openings"}``
POST    /memory       ``{"gpu", "action", …}``: fill, probe, open,     ``{"filled"}``, ``{"root"}``, ``{"openings"}``, ``{}``
                      drop
GET     /bandwidth    ``bytes``                                        so many random bytes
POST    /bandwidth    any body                                         ``{"bytes", "sha256"}``
======  ============  ===============================================  ==================================================

Status 401: token; 400: not understood; 404: no such thing; 409: busy or not ready; 422: ``{"fault", "error"}``, the device cannot do it.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from hpcaccept import serial
from hpcaccept.app.tester import keys
from hpcaccept.app.tester.gpus import Busy, Failed, Prover
from hpcaccept.app.tester.sent_files import MOST_PACKED_BYTES
from hpcaccept.app.tester.suite import MOST_SUITE_BYTES
from hpcaccept.proof.challenge import Challenge
from hpcaccept.transport.tester_server import Reply, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcaccept.app.tester.suite import SuiteRun
    from hpcaccept.transport.tester_server import Request

#: Of what is said here; another one is refused by the client.
VERSION = 1
#: Bytes that one transfer may have.
MOST_TRANSFER_BYTES = 1 << 30
#: Seconds that one request may keep a GPU.
WORK_S = 600.0
_BLOCK_BYTES = 1 << 18


class _Refused(Exception):
    def __init__(self, status: int, text: str, fault: str = "") -> None:
        super().__init__(text)
        self.status, self.fault = status, fault


class Tester:
    """The endpoints of one machine."""

    def __init__(self, pin: bytes, token_sha256: str, provers: Sequence[Prover], suite: SuiteRun) -> None:
        self._pin, self._token_sha256 = pin, token_sha256
        self._provers, self._suite = provers, suite
        #: Of the server's certificate, set when there is one.
        self.fingerprint = ""
        self._routes: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("GET", "/status"): self._status,
            ("GET", "/progress"): self._progress,
            ("POST", "/files"): self._take_files,
            ("POST", "/suite"): self._start_suite,
            ("GET", "/result"): self._result,
            ("POST", "/challenge"): self._challenge,
            ("POST", "/open"): self._open,
            ("POST", "/memory"): self._memory,
            ("GET", "/bandwidth"): self._send_bytes,
            ("POST", "/bandwidth"): self._take_bytes,
        }

    def service(self) -> Service:
        """For the server."""
        return Service(self.answer, streams=frozenset({"/bandwidth", "/files"}), admits=self._admits)

    def answer(self, request: Request) -> Reply:
        """One reply; a request that is not understood is answered too."""
        try:
            if (request.method, request.path) == ("GET", "/hello"):
                return self._hello(request)
            if not self._admits(request.token):
                raise _Refused(401, "token")
            route = self._routes.get((request.method, request.path))
            if route is None:
                raise _Refused(404, "no such endpoint")
            return route(request)
        except _Refused as refused:
            return _json({"error": str(refused), "fault": refused.fault}, refused.status)

    def _admits(self, token: str) -> bool:
        return keys.is_token(token, self._token_sha256)

    def _hello(self, request: Request) -> Reply:
        nonce = request.query.get("nonce", "")
        if len(nonce) != 64 or not set(nonce) <= set("0123456789abcdef"):
            raise _Refused(400, "nonce")
        return _json({"version": VERSION, "proof": keys.certificate_proof(self._pin, nonce, self.fingerprint)})

    def _status(self, request: Request) -> Reply:
        devices = [{"device": p.device, "ready": p.ready.is_set(), "trouble": p.trouble} for p in self._provers]
        return _json({"version": VERSION, "devices": devices, "suite": self._suite.state})

    def _progress(self, request: Request) -> Reply:
        first = _number(request.query.get("from", "0"))
        return Reply(
            200, "".join(f"{line}\n" for line in self._suite.progress()[first:]).encode(), "text/plain; charset=utf-8"
        )

    def _start_suite(self, request: Request) -> Reply:
        try:
            plain = serial.loads(request.body) if request.body else {}
        except ValueError:
            raise _Refused(400, "not JSON") from None
        toml = plain.get("toml", "") if isinstance(plain, dict) else None
        if not isinstance(toml, str) or len(toml.encode("utf-8", "replace")) > MOST_SUITE_BYTES:
            raise _Refused(400, "toml")
        try:
            return _json({"started": self._suite.start(toml)})
        except ValueError as fault:
            raise _Refused(409, str(fault)) from None

    def _take_files(self, request: Request) -> Reply:
        if request.size > MOST_PACKED_BYTES:
            raise _Refused(413, "too many bytes")
        try:
            return _json({"bytes": request.size, "sha256": self._suite.take(request.stream)})
        except ValueError as fault:
            raise _Refused(400, str(fault)[:200]) from None

    def _result(self, request: Request) -> Reply:
        try:
            return Reply(200, self._suite.report())
        except OSError:
            raise _Refused(404, "no result yet") from None

    def _challenge(self, request: Request) -> Reply:
        prover, plain = self._addressed(request)
        challenge = _challenge_in(plain)
        return _json(self._asked(prover, "prove", challenge=serial.to_plain(challenge)))

    def _open(self, request: Request) -> Reply:
        prover, plain = self._addressed(request)
        return _json(self._asked(prover, "open", cells=_list_in(plain, "cells")))

    def _memory(self, request: Request) -> Reply:
        prover, plain = self._addressed(request)
        action = plain.get("action")
        if action == "fill":
            return _json(self._asked(prover, "fill", challenge=serial.to_plain(_challenge_in(plain))))
        if action == "probe":
            return _json(self._asked(prover, "probe", probe=str(plain.get("probe", ""))[:64]))
        if action == "open":
            return _json(self._asked(prover, "groups", groups=_list_in(plain, "groups")))
        if action == "drop":
            return _json(self._asked(prover, "drop"))
        raise _Refused(400, "action")

    def _addressed(self, request: Request) -> tuple[Prover, dict[str, Any]]:
        """The GPU that is meant, and the body."""
        try:
            plain = serial.loads(request.body)
        except ValueError:
            raise _Refused(400, "not JSON") from None
        gpu = plain.get("gpu") if isinstance(plain, dict) else None
        if type(gpu) is not int or not 0 <= gpu < len(self._provers):
            raise _Refused(404, "no such GPU")
        if self._suite.running:
            raise _Refused(409, "the suite is running")
        prover = self._provers[gpu]
        if not prover.ready.is_set():
            raise _Refused(409, "not ready")
        if prover.trouble:
            raise _Refused(422, prover.trouble, "unsupported")
        return prover, plain

    def _asked(self, prover: Prover, operation: str, **request: Any) -> dict[str, Any]:
        try:
            return prover.ask(operation, WORK_S, **request)
        except Busy:
            raise _Refused(409, "busy") from None
        except Failed as fault:
            status = 400 if fault.fault == "request" else 422
            raise _Refused(status, str(fault), fault.fault) from None

    def _send_bytes(self, request: Request) -> Reply:
        size = _number(request.query.get("bytes", ""))
        if not 0 < size <= MOST_TRANSFER_BYTES:
            raise _Refused(400, "bytes")
        return Reply(200, _random_blocks(size), "application/octet-stream")

    def _take_bytes(self, request: Request) -> Reply:
        digest, size = hashlib.sha256(), 0
        for block in request.stream:
            digest.update(block)
            size += len(block)
        return _json({"bytes": size, "sha256": digest.hexdigest()})


def _random_blocks(size: int) -> Iterator[bytes]:
    """Random, so that nobody on the way can send less; one block again and again is enough for that under TLS."""
    block = os.urandom(_BLOCK_BYTES)
    while size > 0:
        yield block[:size]
        size -= len(block)


def _number(text: str) -> int:
    """Of at most 11 plain digits, else 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0


def _challenge_in(plain: dict[str, Any]) -> Challenge:
    try:
        return serial.from_plain(plain.get("challenge"), Challenge)
    except ValueError as fault:
        raise _Refused(400, str(fault)[:200]) from None


def _list_in(plain: dict[str, Any], name: str) -> list[Any]:
    found = plain.get(name)
    if not isinstance(found, list):
        raise _Refused(400, name)
    return found


def _json(plain: dict[str, Any], status: int = 200) -> Reply:
    return Reply(status, json.dumps(plain).encode())
