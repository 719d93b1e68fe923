"""One GPU's prover: a process that reads requests as lines of JSON and answers each with one line.

A process for each GPU: a CUDA error poisons its process for good, and must cost nobody else the answer.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcaccept import serial
from hpcaccept.measure.kernels import int8_chain
from hpcaccept.measure.kernels.int8_chain import Chain, Work
from hpcaccept.proof import memory, merkle
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.memory import GroupOpening
from hpcaccept.proof.openings import MOST_OPENINGS, Opening

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

#: Threads that hash. SHA-256 leaves the interpreter's lock for rows of more than 2 KB.
_HASHERS = 4
#: Checkpoints on their way to the hashers: each is a copy of all rows of a block.
_UNDERWAY = 2

Request = dict[str, Any]


class Unsupported(Exception):
    """This device cannot do it, and why: nothing is said of it."""


@dataclass
class Worker:
    """What one GPU holds: the last commitment, or filled memory.

    Attributes:
        device: as torch calls it.
        challenge: of the last commitment.
        trees: one a checkpoint.
    """

    device: str
    challenge: Challenge | None = None
    chain: Chain | None = None
    trees: list[list[list[bytes]]] = field(default_factory=list)
    memory: list[tuple[range, Any]] = field(default_factory=list)
    probed: Any = None
    probe_tree: list[list[bytes]] = field(default_factory=list)

    def prove(self, request: Request) -> dict[str, Any]:
        """Compute the chain and commit to it."""
        self.drop({})
        challenge = serial.from_plain(request["challenge"], Challenge)
        chain = Chain(_work(challenge), self.device)
        leaves: list[list[bytes]] = [[b""] * challenge.rows for _ in range(challenge.segments)]
        with ThreadPoolExecutor(_HASHERS) as pool:
            underway: deque[list[Future[None]]] = deque()
            for block in chain.blocks():
                for segment, x in enumerate(chain.checkpoints(block)):
                    underway.append(_hashing(pool, int8_chain.snapshot(x), segment + 1, block, leaves[segment]))
                    if len(underway) > _UNDERWAY:
                        _finish(underway.popleft())
            while underway:
                _finish(underway.popleft())
        self.challenge, self.chain = challenge, chain
        self.trees = [merkle.levels(each) for each in leaves]
        return {"roots": [tree[-1][0].hex() for tree in self.trees]}

    def open(self, request: Request) -> dict[str, Any]:
        """Show cells of the last commitment; their rows are computed anew."""
        if self.challenge is None or self.chain is None:
            raise ValueError("nothing was committed to")
        cells = _pairs(request["cells"], self.challenge.segments, self.challenge.rows)
        rows = sorted({row for _, row in cells})
        at = [x.cpu().numpy().copy() for x in self.chain.rows_at(rows)]
        place = {row: index for index, row in enumerate(rows)}
        shown = [
            self._opening(segment, row, at[segment][place[row]], at[segment + 1][place[row]]) for segment, row in cells
        ]
        return {"openings": [serial.to_plain(opening) for opening in shown]}

    def _opening(self, segment: int, row: int, start: Any, end: Any) -> Opening:
        paths = [_packed(b"".join(merkle.path(tree, row))) for tree in self.trees[max(0, segment - 1) : segment + 1]]
        if segment == 0:
            return Opening(segment, row, "", "", _packed(end.tobytes()), paths[-1])
        return Opening(segment, row, _packed(start.tobytes()), paths[0], _packed(end.tobytes()), paths[1])

    def fill(self, request: Request) -> dict[str, Any]:
        """Make a buffer that stays in the device's memory."""
        self.drop({})
        challenge = serial.from_plain(request["challenge"], Challenge)
        self.memory = Chain(_work(challenge), self.device).filled()
        self.challenge = challenge
        return {"filled": challenge.rows}

    def probe(self, request: Request) -> dict[str, Any]:
        """Commit to the product of the buffer with a fresh vector."""
        if not self.memory or self.challenge is None:
            raise ValueError("no memory is filled")
        vector = memory.probe_vector(request["probe"], self.challenge.width)
        self.probed = int8_chain.sums_with(self.memory, vector, self.device)
        self.probe_tree = merkle.levels(memory.leaves(self.probed))
        return {"root": self.probe_tree[-1][0].hex()}

    def groups(self, request: Request) -> dict[str, Any]:
        """Show groups of the last probe."""
        if self.probed is None or self.challenge is None:
            raise ValueError("no memory was probed")
        wanted = [_index(g, memory.groups_of(self.challenge)) for g in request["groups"][:MOST_OPENINGS]]
        size = memory.GROUP
        shown = [
            GroupOpening(
                g,
                _packed(self.probed[g * size : (g + 1) * size].astype("<i4").tobytes()),
                _packed(b"".join(merkle.path(self.probe_tree, g))),
            )
            for g in wanted
        ]
        return {"openings": [serial.to_plain(opening) for opening in shown]}

    def drop(self, request: Request) -> dict[str, Any]:
        """Give everything back."""
        from hpcaccept.measure.device import open_device

        self.challenge = self.chain = self.probed = None
        self.trees, self.probe_tree, self.memory = [], [], []
        open_device(self.device).give_back()
        return {}

    def warm(self, request: Request) -> dict[str, Any]:
        """Load torch, make the device's context and compute a little, so that no challenge pays for it."""
        from hpcaccept.measure.device import open_device

        open_device(self.device).select()
        self.prove({"challenge": serial.to_plain(Challenge("0" * 64, 64, 256, 2, 1))})
        self.drop({})
        return {"device": self.device, "int8": int8_chain.exact_product(self.device)}


_OPERATIONS: dict[str, Callable[[Worker, Request], dict[str, Any]]] = {
    "prove": Worker.prove,
    "open": Worker.open,
    "fill": Worker.fill,
    "probe": Worker.probe,
    "groups": Worker.groups,
    "drop": Worker.drop,
    "warm": Worker.warm,
}


def work(device: str, requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    worker = Worker(device)
    for line in requests:
        answers.write(json.dumps(_answered(worker, line)) + "\n")
        answers.flush()


def _answered(worker: Worker, line: str) -> dict[str, Any]:
    try:
        request = serial.loads(line)
        return _OPERATIONS[request["op"]](worker, request)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        return {"fault": "request", "text": f"{type(fault).__name__}: {fault}"[:300]}
    except (RuntimeError, MemoryError, ImportError) as fault:  # torch: no memory, no such device, a broken one
        return {"fault": "unsupported", "text": f"{type(fault).__name__}: {fault}"[:300]}


def _work(challenge: Challenge) -> Work:
    return Work(
        challenge.key("start"), challenge.key("weights"), challenge.key("marks"),
        challenge.rows, challenge.width, challenge.segments, challenge.segment,
    )  # fmt: skip


def _hashing(
    pool: ThreadPoolExecutor, fetch: Callable[[], Any], checkpoint: int, block: range, leaves: list[bytes]
) -> list[Future[None]]:
    """Have a block's rows hashed; the first part fetches them for all."""
    content: Future[Any] = pool.submit(lambda: memoryview(fetch().numpy()).cast("B"))
    step = -(-len(block) // _HASHERS)

    def hash_part(at: int) -> None:
        view = content.result()
        width = len(view) // len(block)
        for index in range(at, min(at + step, len(block))):
            row = block.start + index
            leaves[row] = merkle.leaf(checkpoint, row, view[index * width : (index + 1) * width])

    return [pool.submit(hash_part, at) for at in range(0, len(block), step)]


def _finish(parts: list[Future[None]]) -> None:
    for part in parts:
        part.result()


def _pairs(plain: Any, segments: int, rows: int) -> list[tuple[int, int]]:
    return [(_index(segment, segments), _index(row, rows)) for segment, row in plain[:MOST_OPENINGS]]


def _index(value: Any, below: int) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise ValueError(f"found {str(value)[:40]}, expected a whole number below {below}")
    return value


def _packed(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
