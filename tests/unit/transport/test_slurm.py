"""Slurm is asked for everything, whatever the shell has set for somebody's own convenience."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from support.submission import ROOT

from hpcaccept.transport.slurm import ask_slurm, questions_environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

#: A command that begins with one of Slurm's programs.
_PROGRAM = re.compile(r'[\[(]"(squeue|sinfo|scontrol|sacct|scancel|sacctmgr)"')
#: What starts a program with the shell's own environment.
_STARTS = re.compile(
    r"^from hpcaccept\.transport\.process import (?:\([^)]*\b(?:ask|run)\b|[^\n]*\b(?:ask|run)\b)|\bprocess\.(?:ask|run)\(",
    re.MULTILINE,
)
#: Each was seen to take a node, a partition or a job out of what Slurm 22.05 answers.
CONVENIENT = {"SQUEUE_STATES": "PD", "SQUEUE_PARTITION": "small", "SQUEUE_USERS": "ada", "SINFO_PARTITION": "small"}


def test_a_question_takes_no_option_from_the_shell_and_nothing_is_hidden() -> None:
    asked = questions_environment(
        {**CONVENIENT, "SLURM_TIME_FORMAT": "relative", "SLURM_CONF": "/etc/x", "PATH": "/bin"}
    )
    assert asked == {"SLURM_CONF": "/etc/x", "PATH": "/bin", "SQUEUE_ALL": "1", "SINFO_ALL": "1", "SCONTROL_ALL": "1"}
    assert questions_environment({}, seconds=True)["SLURM_TIME_FORMAT"] == "%s"


def test_the_programs_are_started_with_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sinfo").write_text('#!/bin/sh\necho "$SINFO_PARTITION|$SINFO_ALL|$SLURM_TIME_FORMAT"\n')
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SINFO_PARTITION", "small")
    assert ask_slurm(["sinfo"], seconds=True).stdout == "|1|%s\n"


def test_nobody_asks_slurm_otherwise() -> None:
    asking = [file for file in sorted((ROOT / "hpcaccept").rglob("*.py")) if _PROGRAM.search(file.read_text("utf-8"))]
    assert len(asking) > 4
    assert [file.name for file in asking if _STARTS.search(file.read_text("utf-8"))] == []
