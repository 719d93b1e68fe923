"""Leaves from a file and from what the real Slurm says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import plan
from support.slurm_words import said

from hpcaccept.app.isolate import leaves
from hpcaccept.app.isolate.leaves import leaves_of
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from pathlib import Path

ON_SLURM = plan()
SIX = {f"node{number}": f"leaf{number // 2}" for number in range(6)}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Done(0, said("22.05", "tree", "scontrol", "show", "topology"), ""), SIX),
        (Done(0, "", ""), {}),
        (Done(1, "", "slurm_load_topo: Unable to contact slurm controller"), {}),
        (Done(0, "No topology information available\n", ""), {}),
    ],
)
def test_slurm_is_asked_where_it_is_the_launcher(
    monkeypatch: pytest.MonkeyPatch, answer: Done, found: dict[str, str]
) -> None:
    monkeypatch.setattr(leaves, "ask_slurm", lambda _words: answer)
    assert leaves_of(ON_SLURM) == found
    assert leaves_of(replace(plan(), launcher="local")) == {}


def test_away_from_the_cluster_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_words: object) -> Done:
        raise LaunchError("no scontrol")

    monkeypatch.setattr(leaves, "ask_slurm", nobody)
    assert leaves_of(ON_SLURM) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("topology.conf", "SwitchName=l1 Nodes=a[1-2]\nSwitchName=top Switches=l1\n"),
        (
            "topology.yaml",
            "- topology: one\n  cluster_default: true\n  tree:\n    switches:\n      - switch: top\n        children: l1\n      - switch: l1\n        nodes: a[1-2]\n",
        ),
    ],
)
def test_a_file_of_the_site_comes_first(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert leaves_of(ON_SLURM, str(tmp_path / name)) == {"a1": "l1", "a2": "l1"}


@pytest.mark.parametrize(("name", "text", "why"), [
    ("none.conf", None, "cannot read"), ("x.conf", "hello\n", "No switch and no block"), ("x.yaml", "[1, 2]\n", "a list of topologies"),
    ("x.yaml", "{", "is not YAML"), ("flat.conf", "SwitchName=top Switches=a\n", "names no leaf"),
])  # fmt: skip
def test_what_is_no_topology_is_refused_with_its_form(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=why):
        leaves_of(ON_SLURM, str(tmp_path / name))
