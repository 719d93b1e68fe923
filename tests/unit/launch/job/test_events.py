"""What the first event of a job says of it: number, user and cluster, from the job's own environment."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from hpcaccept.launch.job.events import job_of

if TYPE_CHECKING:
    import pytest


def test_slurm_says_whose_job_it_is_and_on_which_cluster() -> None:
    environ = {"SLURM_JOB_ID": "48121", "SLURM_JOB_USER": "alice", "SLURM_CLUSTER_NAME": "alps"}
    assert job_of(environ) == {"job": "48121", "user": "alice", "cluster": "alps"}


def test_without_slurm_the_user_is_that_of_the_process() -> None:
    assert job_of({}) == {"job": "", "user": pwd.getpwuid(os.getuid()).pw_name, "cluster": ""}


def test_a_user_without_a_name_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert job_of({})["user"] == ""
