"""Hundreds of nodes by ssh: all of them are asked, and each is in the answer. How long it takes: docs/reference/performance.md."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from support.many_nodes import DEAD, many_nodes
from support.ssh_hosts import why_not

from hpcaccept.app.azure import node_health
from hpcaccept.app.azure.gather import gather
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


def test_each_of_300_nodes_is_accounted_for(tmp_path: Path) -> None:
    """Gathered and judged as ``health`` does; two are dead: an address where nobody is, and a host key that is another one."""
    with many_nodes(tmp_path, 300) as many:
        found = gather(many.names, many.health_command, config=many.config, deadline_s=300)
    assert tuple(one.node for one in found) == many.names
    assert tuple(one.node for one in found if one.why) == DEAD
    gathered = {one.node: node_health.unpack(one.output, one.why) for one in found}
    health = node_health.judge_nodes(gathered, gpus=8, now=dt.datetime.now(dt.timezone.utc))
    assert health.counts == {Outcome.PASS: 298, Outcome.ERROR: 2}
    assert tuple(row.node for row in health.rows if row.verdict.outcome is Outcome.ERROR) == DEAD
    assert all("cannot be reached" in row.verdict.reason for row in health.rows if row.node in DEAD)
