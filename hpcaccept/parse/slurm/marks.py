"""How does a mark of ours look in Slurm, and is what Slurm shows one of ours, to the last letter? Pure.

A drain has the reason ``hpcaccept drain 1a2b3c4d run=RUN code=CODE``; a quarantine is a reservation called
``hpcaccept_NODE_CODE_1a2b3c4d``. Whoever adds a word to the reason has made it theirs.
"""

from __future__ import annotations

import re

from hpcaccept.model.node_mark import Mark, Seen

_REASON = re.compile(r"hpcaccept drain (?P<id>[0-9a-f]{8}) run=(?P<run>[\w.:-]+) code=(?P<code>[\w-]+)", re.ASCII)
_NAME = re.compile(r"hpcaccept_(?P<node>[\w.-]+)_(?P<code>[a-z0-9-]+)_(?P<id>[0-9a-f]{8})", re.ASCII)
#: What stands for no run.
NO_RUN = "none"


def reason_of(mark: Mark) -> str:
    """The reason of a drain."""
    return f"hpcaccept drain {mark.id} run={mark.run or NO_RUN} code={mark.code}"


def reservation_of(mark: Mark) -> str:
    """The name of a reservation."""
    return f"hpcaccept_{mark.node}_{mark.code}_{mark.id}"


def parse_reason(node: str, reason: str) -> Seen | None:
    """Our drain of a node; None for anybody else's words."""
    found = _REASON.fullmatch(reason.strip())
    if not found:
        return None
    return Seen(found["id"], node, "drain", "" if found["run"] == NO_RUN else found["run"], found["code"])


def parse_reservation(name: str) -> Seen | None:
    """Our quarantine; None for any other reservation."""
    found = _NAME.fullmatch(name)
    return Seen(found["id"], found["node"], "quarantine", "", found["code"], name) if found else None
