"""What happened in a run, in words: the driver's events, then the output of every step, all of it or what concerns one node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.app.run.wait import events_of
from hpcaccept.bounded import end_of
from hpcaccept.errors import UsageError, nearest
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder

#: Bytes of a log that are shown: its end, where it says why it ended.
_MOST = 64 * 1024


def log_lines(folder: RunFolder, node: str = "") -> Iterator[str]:
    """Lines of text without escape sequences.

    Args:
        folder: of the run.
        node: whose part is wanted; empty: everything.

    Raises:
        UsageError: the run has no such node.
    """
    events = events_of(folder)
    known = {name for event in events for name in event.nodes}
    if node and node not in known:
        raise UsageError(f"{folder.run_id} has no node {node!r}.", nearest(node, known) if known else "")
    for event in events:
        if not node or not event.nodes or node in event.nodes:
            yield safe(f"{event.at[11:19]} {event.sentence}")
    for file in _files(folder, node):
        lines = [safe(line) for line in end_of(file, _MOST).splitlines()]
        mine = lines if not node or _is_of(file, folder, node) else [line for line in lines if _names(line, node)]
        if mine:
            yield from ("", f"== {file.relative_to(folder.path)}", *mine)


def _files(folder: RunFolder, node: str) -> list[Path]:
    """Logs of the launcher, then the raw outputs of tools; of one node those of its ranks."""
    logs = sorted(path for path in folder.logs.glob("*") if path.is_file())
    if not node:
        return logs
    return [
        *logs,
        *sorted(path for path in folder.path.glob("outputs/*/*") if path.is_file() and _is_of(path, folder, node)),
    ]


def _is_of(file: Path, folder: RunFolder, node: str) -> bool:
    """Whether a raw output is of a rank on the node, as its name and the placement say."""
    rank = re.search(r"\br(\d{6})\b", file.name)
    if file.parent.parent.name != "outputs" or not rank:
        return False
    step = folder.read_step(file.parent.name)
    at = int(rank[1]) // step.ranks_per_node
    return at < len(step.nodes) and step.nodes[at] == node


def _names(line: str, node: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(node)}(?![\w-])", line) is not None
