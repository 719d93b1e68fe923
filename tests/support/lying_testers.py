"""Machines that lie, each as a real server on loopback: an honest prover in numpy, and one lie a class.

The honest one speaks the protocol of ``hpcaccept.app.tester.service`` from its table, not by its code, so that both are held to the table.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept.app.tester import keys
from hpcaccept.app.tester.remote import RemoteTester
from hpcaccept.proof import chain, memory, merkle
from hpcaccept.proof.challenge import Challenge
from hpcaccept.transport.certificate import make_certificate
from hpcaccept.transport.tester_server import Reply, Request, Service, TesterServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    Rows = npt.NDArray[np.int8]


def packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


def computed(challenge: Challenge) -> list[Rows]:
    """X at the end of each segment."""
    rows = range(challenge.rows)
    x, found = challenge.start_rows(rows), []
    for segment in range(challenge.segments):
        x = chain.advance(x, challenge.weights(), challenge.marks([(segment, row) for row in rows]), challenge.segment)
        found.append(x)
    return found


@dataclass
class Commitment:
    """Rows at every checkpoint, and the trees over them."""

    challenge: Challenge
    checkpoints: list[Rows]

    def __post_init__(self) -> None:
        self.trees = [
            merkle.levels([merkle.leaf(index + 1, row, content.tobytes()) for row, content in enumerate(x)])
            for index, x in enumerate(self.checkpoints)
        ]

    @property
    def roots(self) -> list[str]:
        return [tree[-1][0].hex() for tree in self.trees]

    def opened(self, segment: int, row: int) -> dict[str, Any]:
        start, start_path = "", ""
        if segment:
            start, start_path = self._shown(segment - 1, row)
        end, end_path = self._shown(segment, row)
        return {
            "segment": segment, "row": row, "start": start, "start_path": start_path, "end": end, "end_path": end_path,
        }  # fmt: skip

    def _shown(self, checkpoint: int, row: int) -> tuple[str, str]:
        path = b"".join(merkle.path(self.trees[checkpoint], row))
        return packed(self.checkpoints[checkpoint][row].tobytes()), packed(path)


class Machine:
    """An honest machine; each lie overrides one method."""

    gpus = 1

    def __init__(self, secret: bytes) -> None:
        self.pin, self.token = keys.pin_of(secret), keys.token_of(secret)
        self.fingerprint = ""
        self.commitments: dict[int, Commitment] = {}
        self.memory: dict[int, tuple[Challenge, Rows]] = {}
        self.sums: dict[int, npt.NDArray[np.int32]] = {}
        self.asked: list[str] = []

    # what lies override

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        return computed(challenge)

    def roots(self, gpu: int, commitment: Commitment) -> list[str]:
        return commitment.roots

    def openings(self, gpu: int, commitment: Commitment, cells: list[tuple[int, int]]) -> list[dict[str, Any]]:
        return [commitment.opened(segment, row) for segment, row in cells]

    def resident(self, gpu: int, challenge: Challenge) -> Rows:
        return computed(challenge)[-1]

    def recalled(self, gpu: int) -> Rows:
        return self.memory[gpu][1]

    # the protocol

    def answer(self, request: Request) -> Reply:
        self.asked.append(request.path)
        if request.path == "/hello":
            proof = keys.certificate_proof(self.pin, request.query["nonce"], self.fingerprint)
            return self.reply({"version": 1, "proof": proof})
        assert request.token == self.token, "an honest client shows its token"
        plain = json.loads(request.body) if request.method == "POST" and request.path != "/bandwidth" else {}
        return self.reply(getattr(self, f"on_{request.path[1:]}")(request, plain))

    @staticmethod
    def reply(found: Any) -> Reply:
        return found if isinstance(found, Reply) else Reply(200, json.dumps(found).encode())

    def on_status(self, request: Request, plain: dict[str, Any]) -> Any:
        devices = [{"device": f"cuda:{gpu}", "ready": True, "trouble": ""} for gpu in range(self.gpus)]
        return {"version": 1, "devices": devices, "suite": "idle"}

    def on_progress(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(200, b"Running tests...\nDONE\n", "text/plain")

    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        gpu, challenge = plain["gpu"], Challenge(**plain["challenge"])
        self.commitments[gpu] = Commitment(challenge, self.checkpoints(gpu, challenge))
        return {"roots": self.roots(gpu, self.commitments[gpu])}

    def on_open(self, request: Request, plain: dict[str, Any]) -> Any:
        cells = [(segment, row) for segment, row in plain["cells"]]
        return {"openings": self.openings(plain["gpu"], self.commitments[plain["gpu"]], cells)}

    def on_memory(self, request: Request, plain: dict[str, Any]) -> Any:
        return getattr(self, f"memory_{plain['action']}")(plain["gpu"], plain)

    def memory_fill(self, gpu: int, plain: dict[str, Any]) -> Any:
        challenge = Challenge(**plain["challenge"])
        self.memory[gpu] = (challenge, self.resident(gpu, challenge))
        return {"filled": challenge.rows}

    def memory_probe(self, gpu: int, plain: dict[str, Any]) -> Any:
        vector = memory.probe_vector(plain["probe"], self.memory[gpu][0].width).astype(np.int64)
        self.sums[gpu] = (self.recalled(gpu).astype(np.int64) @ vector).astype(np.int32)
        return {"root": merkle.levels(memory.leaves(self.sums[gpu]))[-1][0].hex()}

    def memory_open(self, gpu: int, plain: dict[str, Any]) -> Any:
        sums, size = self.sums[gpu], memory.GROUP
        tree = merkle.levels(memory.leaves(sums))
        return {
            "openings": [
                {
                    "group": g,
                    "sums": packed(sums[g * size : (g + 1) * size].astype("<i4").tobytes()),
                    "path": packed(b"".join(merkle.path(tree, g))),
                }
                for g in plain["groups"]
            ]
        }

    def memory_drop(self, gpu: int, plain: dict[str, Any]) -> Any:
        self.memory.pop(gpu, None)
        return {}

    def on_bandwidth(self, request: Request, plain: dict[str, Any]) -> Any:
        if request.method == "GET":
            return Reply(200, b"\x5a" * int(request.query["bytes"]), "application/octet-stream")
        digest, size = hashlib.sha256(), 0
        for block in request.stream:
            digest.update(block)
            size += len(block)
        return {"bytes": size, "sha256": digest.hexdigest()}


class Replay(Machine):
    """Computes the chain of a nonce that it was given before: it was fast then."""

    old = Challenge("77" * 32, 64, 64, 8, 2)

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        return computed(Challenge(self.old.nonce, challenge.rows, challenge.width, challenge.steps, challenge.segment))


class LazyRows(Machine):
    """Computes a share of the rows, and makes the others up."""

    skipped = 0.5

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        made = [x.copy() for x in computed(challenge)]
        lazy = int(challenge.rows * self.skipped)
        for x in made:
            x[:lazy] = np.random.default_rng(1).integers(-128, 128, (lazy, challenge.width), np.int8)
        return made


class LazySteps(Machine):
    """Does half of the steps of each segment."""

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        half = challenge.segment // 2
        return computed(Challenge(challenge.nonce, challenge.rows, challenge.width, half * challenge.segments, half))


class WrongStart(Machine):
    """Begins with rows of its own, and is right from there on."""

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        rows = range(challenge.rows)
        x, found = np.zeros((challenge.rows, challenge.width), np.int8), []
        for segment in range(challenge.segments):
            marks = challenge.marks([(segment, row) for row in rows])
            x = chain.advance(x, challenge.weights(), marks, challenge.segment)
            found.append(x)
        return found


class FlippedBits(Machine):
    """One bit of every row of the last checkpoint is wrong: broken memory, not even a lie."""

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        made = computed(challenge)
        return [*made[:-1], made[-1] ^ np.int8(16) * (np.arange(challenge.width) == 5).astype(np.int8)]


class SharedRow(Machine):
    """Puts one row into all places of the first checkpoint, and is right from there on at the cost of as many rows as differ."""

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        first = computed(challenge)[0]
        x = np.repeat(first[:1], challenge.rows, axis=0)
        found = [x]
        # What this saves, if marks did not tell rows apart: one row is advanced for all.
        for segment in range(1, challenge.segments):
            one = chain.advance(x[:1], challenge.weights(), challenge.marks([(segment, 0)]), challenge.segment)
            x = np.repeat(one, challenge.rows, axis=0)
            found.append(x)
        return found


class SwappedCheckpoints(Machine):
    """Answers with rows of another checkpoint."""

    def openings(self, gpu: int, commitment: Commitment, cells: list[tuple[int, int]]) -> list[dict[str, Any]]:
        last = commitment.challenge.segments - 1
        return [{**commitment.opened(last, row), "segment": segment} for segment, row in cells]


class WrongRoot(Machine):
    """Commits to nothing: the roots are random."""

    def roots(self, gpu: int, commitment: Commitment) -> list[str]:
        return [hashlib.sha256(root.encode()).hexdigest() for root in commitment.roots]


class MalformedRoot(Machine):
    def roots(self, gpu: int, commitment: Commitment) -> list[str]:
        return ["zz" * 32 for _ in commitment.roots]


class LateRoot(Machine):
    """Computes everything, later than its class could."""

    late_s = 0.8

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        time.sleep(self.late_s)
        return computed(challenge)


class ChangedRoot(Machine):
    """Commits to rubbish in time, computes then, and opens what it has computed since."""

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        return [np.zeros((challenge.rows, challenge.width), np.int8) for _ in range(challenge.segments)]

    def openings(self, gpu: int, commitment: Commitment, cells: list[tuple[int, int]]) -> list[dict[str, Any]]:
        return super().openings(gpu, Commitment(commitment.challenge, computed(commitment.challenge)), cells)


class ForgedPath(Machine):
    """Shows right rows with paths that it made up."""

    def openings(self, gpu: int, commitment: Commitment, cells: list[tuple[int, int]]) -> list[dict[str, Any]]:
        made = super().openings(gpu, commitment, cells)
        size = len(base64.b64decode(made[0]["end_path"]))
        return [{**each, "end_path": packed(b"\x01" * size)} for each in made]


class ShortPath(Machine):
    """Shows an inner node's path as a leaf's."""

    def openings(self, gpu: int, commitment: Commitment, cells: list[tuple[int, int]]) -> list[dict[str, Any]]:
        made = super().openings(gpu, commitment, cells)
        return [{**each, "end_path": packed(base64.b64decode(each["end_path"])[32:])} for each in made]


class OtherCells(Machine):
    """Answers for the one cell that it has computed, whatever is asked."""

    def openings(self, gpu: int, commitment: Commitment, cells: list[tuple[int, int]]) -> list[dict[str, Any]]:
        return [commitment.opened(0, 0) for _ in cells]


class Oversize(Machine):
    """Answers a commitment with more than anybody can read."""

    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(200, b"[" * (1 << 24))


class DeepJson(Machine):
    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(200, b'{"roots":' + b"[" * 300)


class DripFeed(Machine):
    """Answers a byte a second."""

    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        def drip() -> Iterator[bytes]:
            while True:
                time.sleep(0.1)
                yield b"1\r\n \r\n"

        return Reply(200, drip(), "application/json\r\nTransfer-Encoding: chunked")


class EndsEarly(Machine):
    """Never says how long its answer is, so that its end looks like a broken line."""

    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(200, iter([b'{"roots": [']))


class Redirects(Machine):
    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(302, b"http://127.0.0.1:1/elsewhere")


class NoOpening(Machine):
    """Commits in time, and is gone when it has to show something."""

    def on_open(self, request: Request, plain: dict[str, Any]) -> Any:
        raise ConnectionError("gone")


class SaysItCannot(Machine):
    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(422, json.dumps({"fault": "unsupported", "error": "no \x1b[31mint8\x1b[0m here"}).encode())


class FalseDone(Machine):
    """Says at once that every test has passed, and can show nothing."""

    def on_result(self, request: Request, plain: dict[str, Any]) -> Any:
        return {"exit_code": 0, "conclusion": "ACCEPTED"}

    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return {"roots": ["00" * 32] * Challenge(**plain["challenge"]).segments}

    def on_open(self, request: Request, plain: dict[str, Any]) -> Any:
        return {"openings": []}


class OneAsEight(Machine):
    """One GPU, eight names: it computes for all of them, one after the other."""

    gpus = 8
    each_s = 0.25

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self.the_gpu = threading.Lock()

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        with self.the_gpu:
            time.sleep(self.each_s)  # what a GPU of this class needs for one challenge
            return computed(challenge)


class EightGpus(OneAsEight):
    """Eight GPUs of that class: the control."""

    def checkpoints(self, gpu: int, challenge: Challenge) -> list[Rows]:
        with self.the_gpu:  # numpy takes turns, the GPUs of this machine do not
            made = computed(challenge)
        time.sleep(self.each_s)
        return made


class Recomputes(Machine):
    """Holds nothing, and makes the buffer anew when it is probed."""

    fill_s = 0.8

    def resident(self, gpu: int, challenge: Challenge) -> Rows:
        time.sleep(self.fill_s)  # what the GPU of the claim needs for it
        return super().resident(gpu, challenge)

    def recalled(self, gpu: int) -> Rows:
        return self.resident(gpu, self.memory[gpu][0])


class HalfResident(Machine):
    """Holds half of it, and makes the sums of the other half up."""

    def recalled(self, gpu: int) -> Rows:
        held: Rows = self.memory[gpu][1].copy()
        held[: len(held) // 2] = 0
        return held


class Relayed(Machine):
    """Has no GPU: another machine computes for it. Nothing can show that."""

    def __init__(self, secret: bytes, behind: RemoteTester) -> None:
        super().__init__(secret)
        self.behind = behind

    def on_challenge(self, request: Request, plain: dict[str, Any]) -> Any:
        return {"roots": self.behind.challenge(plain["gpu"], Challenge(**plain["challenge"]), deadline_s=60.0)[0]}

    def on_open(self, request: Request, plain: dict[str, Any]) -> Any:
        import dataclasses

        shown = self.behind.open(plain["gpu"], self.behind_challenge, [tuple(cell) for cell in plain["cells"]])
        return {"openings": [dataclasses.asdict(opening) for opening in shown]}

    @property
    def behind_challenge(self) -> Challenge:
        """Only its width matters: it bounds the answer."""
        return Challenge("0" * 64, 64, 4096, 1, 1)


@contextlib.contextmanager
def listening(folder: Path, machine: Machine) -> Iterator[TesterServer]:
    """The machine, as a server on loopback."""
    folder.mkdir(exist_ok=True)
    service = Service(machine.answer, streams=frozenset({"/bandwidth"}))
    server = TesterServer(("127.0.0.1", 0), service, *make_certificate(folder))
    machine.fingerprint = server.fingerprint
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def connected(folder: Path, kind: type[Machine]) -> Iterator[RemoteTester]:
    """A client that has pinned such a machine."""
    secret = keys.new_secret()
    with listening(folder, kind(secret)) as server:
        yield RemoteTester.connect("127.0.0.1", server.port, secret, global_only=False)
