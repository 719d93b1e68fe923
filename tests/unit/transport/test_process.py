"""What a step writes goes into its own log and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hpcaccept.transport.process import run_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_log_that_is_a_link_or_a_pipe_is_not_written_and_stops_nothing(tmp_path: Path, kind: str) -> None:
    other, log = tmp_path / "other", tmp_path / "step.out"
    other.write_text("somebody's")
    if kind == "link":
        log.symlink_to(other)
    else:
        os.mkfifo(log)
    code, late = run_until(["echo", "words"], out=log, err=tmp_path / "step.err", deadline_s=20.0, env=os.environ)
    assert (code, late) == (0, False)
    assert other.read_text() == "somebody's"
