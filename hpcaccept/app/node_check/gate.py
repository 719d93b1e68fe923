"""Look at a node and say whether a job may run there, by a deadline that holds whatever hangs.

Every part runs in a process of its own; this one reads nothing that could hang once they run, and gives the verdict. It asks no Slurm, opens
no socket, and starts no other program.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.node_check import deep_cache, gpus, host, kernel, links, state, storage
from hpcaccept.app.node_check.look import Asked, Look
from hpcaccept.app.node_check.one_node import broken, not_run
from hpcaccept.app.node_check.state import Snapshot
from hpcaccept.measure.host import host as machine
from hpcaccept.model.finding_code import NODE, FindingCode
from hpcaccept.model.node_check import EXIT_CODES, Expected, Gate, Item, Phase, verdict_of
from hpcaccept.serial import from_plain, loads, to_plain
from hpcaccept.transport.apart import Silent, ask_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


#: The parts that take no argument; a mount, a disk and the deep result each are one more.
PARTS: dict[str, Callable[[Asked], Look]] = {
    gpus.PART: gpus.look,
    kernel.PART: kernel.look,
    links.PART: links.look,
    host.PART: host.look,
}
#: Seconds that are kept for the verdict itself.
_RESERVE_S = 0.4
_MOST_REASON = 400
#: Seconds since this process was started, its own start-up included.
_age_s = machine.process_age_s


@dataclass(frozen=True)
class Question:
    """What is asked of a node.

    Attributes:
        expected: of it.
        phase: what it is asked for.
        job: Slurm's number of the job; empty: none.
        folder: where it remembers.
        deadline_s: from the start of this process to the verdict.
        root: a folder that stands for ``/``.
        kmsg: the kernel's log device.
    """

    expected: Expected
    phase: Phase
    job: str
    folder: Path
    deadline_s: float
    root: Path = Path("/")
    kmsg: str = "/dev/kmsg"


def check_node(question: Question) -> Gate:
    """Look, judge, remember for the next look."""
    boot, up_s, started = machine.boot_id(question.root), time.clock_gettime(time.CLOCK_BOOTTIME), _age_s()
    name = state.name_of(question.phase, question.job)
    answers = _ask(question, boot, up_s, name, time.monotonic() + question.deadline_s - started - _RESERVE_S)
    remembered = answers.pop(_MEMORY, Look())
    looks = list(answers.values())
    kept = {part: look.kept for part, look in answers.items() if look.kept is not None}
    node = machine.hostname()
    found = [item for look in looks for item in look.items] + remembered.items
    items = _sorted([replace(item, action=item.action.replace(NODE, node)) for item in found])
    facts = {name: text for look in looks for name, text in look.facts.items()} | remembered.facts
    if why := _remember(question, name, Snapshot(time.time(), up_s, boot, kept)):
        facts["snapshot"] = why
    verdict = verdict_of(items)
    return Gate(
        node=node,
        boot_id=boot,
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        phase=question.phase,
        job=question.job,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        seconds=round(_age_s(), 3),
        reason=_reason(items),
        items=items,
        facts=facts,
        moved={name: values for look in looks for name, values in look.moved.items()},
    )


#: The part that says whether there was a snapshot to compare with.
_MEMORY = "snapshot"


def _ask(question: Question, boot: str, up_s: float, name: str, until: float) -> dict[str, Look]:
    questions = _questions(question, boot, up_s, name)
    found = ask_apart({part: partial(_answer, part, ask) for part, ask in questions.items()}, until)
    return {part: _look(part, answer) for part, answer in found.items()}


def _questions(question: Question, boot: str, up_s: float, name: str) -> dict[str, Callable[[], Look]]:
    expected = question.expected
    asked = Asked(expected, machine.hostname(), question.root, kmsg=question.kmsg)

    def with_past(part: str, look: Callable[[Asked], Look]) -> Look:
        # Read in the child: the folder may be on a disk that hangs.
        past = state.read_snapshot(question.folder, name, boot) if question.phase != "prolog" else None
        if past is None:
            return look(asked)
        return look(replace(asked, before=past.kept.get(part), elapsed_s=max(0.0, up_s - past.up_s)))

    def memory() -> Look:
        past = state.read_snapshot(question.folder, name, boot) if question.phase == "epilog" else None
        if question.phase != "epilog" or past is not None:
            return Look()
        return Look(facts={"snapshot": "none of before this job: what moved during it is not known"})

    parts = {part: partial(with_past, part, look) for part, look in PARTS.items()}
    mounts = {f"mount {at}": partial(storage.mount, asked, at, wanted) for at, wanted in expected.mounts.items()}
    disks = {f"disk {at}": partial(storage.disk, asked, at, wanted) for at, wanted in expected.disks.items()}
    deep = {deep_cache.PART: partial(deep_cache.look, asked, question.folder, time.time())}
    return {**parts, **mounts, **disks, **deep, _MEMORY: memory}


def _answer(part: str, ask: Callable[[], Look]) -> bytes:
    """In the child: what the part found, as JSON; what broke down is an ERROR item."""
    try:
        found = ask()
    except Exception as fault:  # noqa: BLE001 (the item says it, and no other part is lost)
        found = Look([broken(part, "look", fault)])
    return json.dumps(to_plain(found)).encode()


def _look(part: str, answer: bytes | Silent) -> Look:
    if isinstance(answer, Silent):
        code = FindingCode.MOUNT_SILENT if part.startswith("mount ") and answer.late else FindingCode.GATE_LATE
        return Look([not_run(part, "answer", f"{part}: {answer.why}", "", code)])
    plain: Mapping[str, Any] = loads(answer)
    return Look(
        [from_plain(item, Item) for item in plain["items"]],
        dict(plain["facts"]),
        plain["kept"],
        {name: tuple(values) for name, values in plain["moved"].items()},
    )


def _remember(question: Question, name: str, snapshot: Snapshot) -> str:
    """Keep what the next look compares with, in a child: that disk may hang too."""

    def write() -> bytes:
        if question.phase == "epilog":
            state.forget_snapshot(question.folder, name)
            return b""
        return state.write_snapshot(question.folder, name, snapshot).encode()

    answer = ask_apart({"write": write}, time.monotonic() + max(0.1, question.deadline_s - _age_s()))["write"]
    return answer.decode() if isinstance(answer, bytes) else f"the snapshot was not kept: {answer.why}"


def _sorted(items: list[Item]) -> tuple[Item, ...]:
    """Findings first, the worst of them at the top."""
    order = ("FAIL", "ERROR", "NOT_RUN", "PASS")
    return tuple(sorted(items, key=lambda item: order.index(item.outcome)))


def _reason(items: tuple[Item, ...]) -> str:
    """The findings in one line, for a drain's reason and a log."""
    worst = [item for item in items if item.outcome != "PASS"]
    text = "; ".join(f"{item.code}: {item.reason}" for item in worst)
    if not items:
        text = "nothing was looked at: nothing is expected of this node"
    return text if len(text) <= _MOST_REASON else f"{text[: _MOST_REASON - 2]} …"
