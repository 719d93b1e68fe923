"""Sorts nodes into set up, failed and late. Nobody is waited for longer than the deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hpcaccept.app.azure.gather import gather
from hpcaccept.provider.azure.cloud_init import COMMAND, progress_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: Of one look at one node.
_LOOK_S = 30.0
_MOST_BYTES = 1024 * 1024


def wait_ready(
    names: Sequence[str],
    config: Path,
    deadline_s: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Wait until cloud-init has ended on every node; gives node → why it is not ready, empty when all are.

    Args:
        names: as the ssh configuration has them.
        config: of ssh.
        deadline_s: from now, for all of them together.
        say: is told how many are ready, when that changes.
        sleep: waits for seconds.
    """
    until, pause_s = time.monotonic() + deadline_s, 1.0
    pending: dict[str, str] = dict.fromkeys(names, "")
    failed: dict[str, str] = {}
    while True:
        before = len(pending)
        left_s = max(1.0, min(_LOOK_S, until - time.monotonic()))
        # Exit status 1 and 2 are answers too: what it printed counts.
        for each in gather(list(pending), f"{COMMAND}; true", config=config, deadline_s=left_s, most_bytes=_MOST_BYTES):
            if each.why:
                pending[each.node] = each.why
                continue
            found = progress_of(each.output.decode("utf-8", "replace"))
            if found.state == "running":
                pending[each.node] = "cloud-init is still running"
                continue
            del pending[each.node]
            if found.state != "done":
                failed[each.node] = found.why
        if len(pending) < before:
            say(f"{len(names) - len(pending) - len(failed)} of {len(names)} nodes are ready")
        if not pending or time.monotonic() + pause_s > until:
            late = {name: f"late after {deadline_s:g} s: {why}" for name, why in pending.items()}
            return {**failed, **late}
        sleep(pause_s)
        pause_s = min(pause_s * 1.5, 10.0)
