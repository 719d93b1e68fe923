"""What a node's own scripts say of it: status files and the line of node-info.log in, words with their time out.

Written by azure/node/opt: a status file has one line ``2026-11-29T13:59:20Z passed`` per run, and the last one counts; node-info.log is
one line ``hostname ip physicalhost``.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Collection

#: Of aznhc-health.log, healthagent.json and dcgmi-diag.log; and of node-health.log.
TOOL_WORDS = ("passed", "failed", "unknown")
NODE_WORDS = ("healthy", "unhealthy", "unknown")
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([a-z]+)")
#: Centuries of runs. check-node-health.sh has the same two limits.
_LONGEST = 1 << 20
_FOREIGN = re.compile(rb"[^\n -~]")
_INFO = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*) (unknown|[0-9a-fA-F.:]+) ([A-Za-z0-9._-]+)\n")


@dataclass(frozen=True)
class NodeStatus:
    """The last line of a status file.

    Attributes:
        when: it was written, in UTC.
        word: one of those that this file may have.
    """

    when: dt.datetime
    word: str


@dataclass(frozen=True)
class NodeInfo:
    """Who a node is.

    Attributes:
        host: its name.
        ip: its address; empty where it is not known.
        physical_host: name of the machine below it; empty where it is not known.
    """

    host: str
    ip: str
    physical_host: str


def last_status(content: bytes, words: Collection[str]) -> NodeStatus:
    """The last line of a status file.

    Args:
        content: of the file.
        words: that it may have.

    Raises:
        NotUnderstood: it is empty, too long, no text, its last line is torn, has another form, or a word that is none of them.
    """
    if len(content) > _LONGEST:
        raise NotUnderstood(f"the status file has {len(content):,} bytes, expected at most {_LONGEST:,}")
    if foreign := _FOREIGN.search(content):
        raise NotUnderstood(f"the status file holds the byte {foreign[0]!r}, expected times and words")
    text = content.decode("ascii")
    if not text:
        raise NotUnderstood("the status file is empty")
    if not text.endswith("\n"):
        raise NotUnderstood(f"the last line of the status file is torn: {text[-80:]!r}")
    line = text.removesuffix("\n").rpartition("\n")[2]
    match = _LINE.fullmatch(line)
    if not match or match[2] not in words:
        raise NotUnderstood(f"the status file ends with {line[:80]!r}, expected a time and {' or '.join(words)}")
    try:
        when = dt.datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.timezone.utc)
    except ValueError:
        raise NotUnderstood(f"the status file ends with the time {match[1]!r}, which does not exist") from None
    return NodeStatus(when, match[2])


def parse_node_info(content: bytes) -> NodeInfo:
    """The line of node-info.log.

    Raises:
        NotUnderstood: it is not exactly one line of three words.
    """
    text = content[:_LONGEST].decode("utf-8", "replace")
    match = _INFO.fullmatch(text)
    if not match:
        raise NotUnderstood(f"node-info.log is {text[:80]!r}, expected one line: hostname ip physicalhost")
    host, ip, physical_host = (word if word != "unknown" else "" for word in match.groups())
    return NodeInfo(host, ip, physical_host)
