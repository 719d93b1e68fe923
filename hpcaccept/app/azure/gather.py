"""Runs one command on all nodes at once: each is accounted for, and a slow or dead one delays nobody."""

from __future__ import annotations

import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_text
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.parse.ssh_errors import explain_ssh
from hpcaccept.store.replaced_files import OWNER_ONLY, replace_files
from hpcaccept.transport.ssh import run_there

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcaccept.transport.ssh import SshDone

#: Each is a process of this machine.
AT_ONCE = 64
MOST_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
#: What ssh ends with when it did not get through.
_SSH_FAILED = 255


@dataclass(frozen=True)
class Gathered:
    """One node's answer.

    Attributes:
        node: its name.
        output: what the command printed; what there was until then where ``why`` is not empty.
        why: empty for a command that ended with 0; else what was the matter.
    """

    node: str
    output: bytes
    why: str = ""


def read_hostfile(file: Path) -> tuple[str, ...]:
    """Names in a host file, one a line; what follows the name (slots) and comments are left out.

    Raises:
        UsageError: it cannot be read, names nobody, or a line is not a host name: ssh would take it for an option.
    """
    try:
        text = read_text(file, follow=True, most=1024 * 1024)
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"Cannot read {file}: {getattr(fault, 'strerror', None) or fault}.") from None
    names = [line.split()[0] for line in (each.partition("#")[0].strip() for each in text.splitlines()) if line]
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{file}: {name[:80]!r} is not a host name.")
    if not names:
        raise UsageError(f"{file} names no host.")
    return tuple(dict.fromkeys(names))


def command_for_file(path: str, sudo: bool = False) -> str:
    """The shell command that prints a file of a node."""
    return f"{'sudo -n ' if sudo else ''}cat -- {shlex.quote(path)}"


def gather(
    nodes: Sequence[str],
    command: str,
    *,
    config: Path | None,
    deadline_s: float,
    given: bytes = b"",
    at_once: int = AT_ONCE,
    most_bytes: int = MOST_BYTES,
) -> tuple[Gathered, ...]:
    """Run a shell command on every node; every node is in the result, in the order that was given.

    Args:
        nodes: as the ssh configuration names them.
        command: for the shell there.
        config: of ssh; None: the user's own.
        deadline_s: for each node.
        given: standard input of the command.
        at_once: nodes that are asked at the same time.
        most_bytes: of one node's output; more is an error of that node.
    """

    def one(node: str) -> Gathered:
        try:
            done = run_there(config, node, command, deadline_s=deadline_s, most_bytes=most_bytes, given=given)
        except LaunchError as fault:
            return Gathered(node, b"", fault.message)
        return Gathered(node, done.stdout, _why(done, deadline_s, most_bytes))

    with ThreadPoolExecutor(min(at_once, max(1, len(nodes)))) as pool:
        return tuple(pool.map(one, nodes))


def _why(done: SshDone, deadline_s: float, most_bytes: int) -> str:
    if done.cut:
        return f"printed more than {most_bytes:,} bytes"
    if done.late:
        return f"did not end within {deadline_s:g} s"
    if done.returncode == 0:
        return ""
    if done.returncode == _SSH_FAILED and (told := explain_ssh(done.stderr)):
        return f"cannot be reached: {told[0]}"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return f"ended with {done.returncode}" + (f": {last[:200]}" if last else "")


def keep(found: Sequence[Gathered], folder: Path) -> None:
    """Write each node's output into a file of its name, for its owner alone since root may have read it; of a node that failed there is none, also not that of an earlier call."""
    replace_files({each.node: each.output for each in found if not each.why}, folder, OWNER_ONLY)
    for each in found:
        if each.why:
            (folder / each.node).unlink(missing_ok=True)
