"""A mark of ours as Slurm shows it, and whether what Slurm shows is one of ours, to the last letter. Pure.

A drain has the reason ``hpcaccept drain 1a2b3c4d run=RUN code=CODE``; that of ``node-check`` has a sentence behind it, whose digest is the
id. A quarantine is a reservation called ``hpcaccept_NODE_CODE_1a2b3c4d``. Whoever adds a word to a reason has made it theirs.
"""

from __future__ import annotations

import re
from hashlib import sha256

from hpcaccept.model.node_mark import Mark, Seen

_REASON = re.compile(
    r"hpcaccept drain (?P<id>[0-9a-f]{8}) run=(?P<run>[\w.:-]+) code=(?P<code>[\w-]+)(?:: (?P<why>.*))?", re.ASCII
)
_NAME = re.compile(r"hpcaccept_(?P<node>[\w.-]+)_(?P<code>[a-z0-9-]+)_(?P<id>[0-9a-f]{8})", re.ASCII)
#: What stands for no run.
NO_RUN = "none"
#: What stands in the place of a run in a drain of ``node-check``.
GATE = "node-check"
#: Characters of its sentence: with what stands before it the reason stays within what ``parse.slurm.nodes`` keeps of one.
_MOST = 120


def reason_of(mark: Mark) -> str:
    """The reason of a drain."""
    return f"hpcaccept drain {mark.id} run={mark.run or NO_RUN} code={mark.code}"


def gate_reason(code: str, why: str) -> str:
    """The reason of a drain by ``node-check``, in which every letter counts."""
    sentence = " ".join("".join(c if c.isprintable() else " " for c in why).split())[:_MOST].strip() or "see its log"
    return f"hpcaccept drain {_digest(code, sentence)} run={GATE} code={code}: {sentence}"


def _digest(code: str, sentence: str) -> str:
    return sha256(f"{code} {sentence}".encode()).hexdigest()[:8]


def reservation_of(mark: Mark) -> str:
    """The name of a reservation."""
    return f"hpcaccept_{mark.node}_{mark.code}_{mark.id}"


def parse_reason(node: str, reason: str) -> Seen | None:
    """Our drain of a node; None for anybody else's words."""
    found = _REASON.fullmatch(reason.strip())
    if not found or (found["why"] is not None and found["id"] != _digest(found["code"], found["why"])):
        return None
    return Seen(found["id"], node, "drain", "" if found["run"] == NO_RUN else found["run"], found["code"])


def parse_reservation(name: str) -> Seen | None:
    """Our quarantine; None for any other reservation."""
    found = _NAME.fullmatch(name)
    return Seen(found["id"], found["node"], "quarantine", "", found["code"], name) if found else None
