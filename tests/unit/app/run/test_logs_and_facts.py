"""What `hpcaccept logs` and `facts` show of a run, and of one node of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import collect
from hpcaccept.app.run.facts import facts_of
from hpcaccept.app.run.logs import log_lines
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = gpu_run(tmp_path)
    (made.logs / "step-00.err").write_text("slurmstepd: error on node1: oom\nnode10 is well\x1b[31m\n")
    (made.outputs("00") / "matmul-r000001.txt").write_text("of rank one\n")
    (made.outputs("00") / "matmul-r000002.txt").write_text("of rank two\n")
    return made


def test_all_of_a_run_is_its_events_and_the_logs_of_its_steps(folder: RunFolder) -> None:
    text = "\n".join(log_lines(folder))
    assert "the driver started (node0, node1, node2, node3)" in text
    assert "step 00 started" in text
    assert "== logs/step-00.err" in text
    assert "\x1b" not in text
    assert "of rank one" not in text


def test_of_a_node_there_are_the_lines_that_name_it_and_the_outputs_of_its_ranks(folder: RunFolder) -> None:
    text = "\n".join(log_lines(folder, "node1"))
    assert "error on node1" in text
    assert "node10" not in text
    assert "of rank one" in text
    assert "of rank two" not in text


def test_an_unknown_node_is_refused_with_the_nearest_name(folder: RunFolder) -> None:
    with pytest.raises(UsageError, match="has no node 'nod1'"):
        list(log_lines(folder, "nod1"))
    with pytest.raises(UsageError, match="no record of 'nod1'"):
        facts_of(collect(folder), "nod1")


def test_a_fact_on_which_all_agree_has_one_text_and_every_place(folder: RunFolder) -> None:
    found = facts_of(collect(folder))
    assert found["identity", "driver"] == {"580.1": [f"node{n} cuda:0" for n in range(4)]}
    assert len(found["identity", "gpu_serial"]) == 4
    assert list(facts_of(collect(folder), "node2")["identity", "gpu_serial"]) == ["serial-of-GPU-2"]
