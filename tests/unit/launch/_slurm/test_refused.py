"""Slurm's own words, and what it would have taken instead."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest
from support.slurm_words import VERSIONS, answers

from hpcaccept.launch._slurm import refused
from hpcaccept.launch._slurm.refused import what_there_is

if TYPE_CHECKING:
    from pathlib import Path

FAILED = "Batch job submission failed: "
SAYS = {
    "scontrol partition": "PartitionName=gpu State=UP\nPartitionName=old State=DOWN\nPartitionName=staff State=UP AllowGroups=wheel\n",
    "scontrol reservation": "ReservationName=night StartTime=1 Nodes=n1\nReservationName=maint StartTime=1 Nodes=n2\n",
    "sacctmgr format=account": "physics\nphysics\nacceptance\n",
    "sacctmgr format=qos": "normal,high\nnormal\n",
    "sinfo": "gpu* has gpu:h100:8\nold has gpu:a100:4\n",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that say what a site would, each asked by the last word that names its subject."""
    for name in ("scontrol", "sacctmgr", "sinfo"):
        cases = [(key.partition(" ")[2], text) for key, text in SAYS.items() if key.split()[0] == name]
        lines = "".join(f'*"{subject}"*) printf %s {shlex.quote(text)};;\n' for subject, text in cases)
        (tmp_path / name).write_text(f'#!/bin/sh\ncase "$*" in\n{lines}*) exit 1;;\nesac\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(refused, "users_groups", lambda: frozenset({"users"}))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


ACCOUNT = "--account NAME, one of yours: physics, acceptance."
QOS = "--slurm qos=NAME, one of yours: normal, high."
RESERVATION = "--slurm reservation=NAME, one that there is: night, maint."
PARTITION = "--partition NAME, one that is up and yours to use: gpu."
GPUS = "--gpus-per-node [TYPE:]N, or another --partition: gpu* has gpu:h100:8, old has gpu:a100:4."


@pytest.mark.parametrize(
    ("version", "case", "remedy"),
    [
        ("22.05", "strict_bad_account", ACCOUNT),
        ("22.05", "strict_partition_of_others", ACCOUNT),
        ("22.05", "strict_stranger", ACCOUNT),
        ("22.05", "strict_bad_qos", QOS),
        ("22.05", "strict_partition_of_staff", PARTITION),
        ("22.05", "strict_bad_slice", GPUS),
        ("22.05", "strict_too_many_slices", GPUS),
        *((version, "sbatch_bad_reservation", RESERVATION) for version in VERSIONS),
        *((version, "sbatch_bad_partition", PARTITION) for version in VERSIONS),
        *((version, "sbatch_bad_gpu_type", GPUS) for version in VERSIONS),
    ],
)
def test_what_was_refused_is_told_with_what_there_is(site: Path, version: str, case: str, remedy: str) -> None:
    (told,) = answers(version, case)
    assert told.status == 1
    assert what_there_is(told.err) == remedy


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        # Of Slurm's source: a site with federated or expired things is not at hand.
        ("Job's account not permitted to use this partition (gpu allows x not y)", ACCOUNT),
        ("Access denied to requested reservation", RESERVATION),
        ("Unable to contact slurm controller (connect failure)", ""),
    ],
)
def test_words_that_nobody_has_recorded_are_told_too(site: Path, words: str, remedy: str) -> None:
    assert what_there_is(FAILED + words) == remedy


def test_where_slurm_keeps_none_the_option_is_named_alone(site: Path) -> None:
    (site / "sacctmgr").write_text("#!/bin/sh\nexit 1\n")
    assert what_there_is(answers("22.05", "strict_bad_qos")[0].err) == "--slurm qos=NAME, one of yours."


def test_of_very_many_some_are_told(site: Path) -> None:
    (site / "sacctmgr").write_text("#!/bin/sh\nseq 30\n")
    assert what_there_is(answers("22.05", "strict_bad_account")[0].err).endswith("19, 20, ….")
