"""The doctor's own job ends without being cancelled while what it has unpacked is being removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from hpcaccept import launch
from hpcaccept.app.doctor import probe_nodes
from hpcaccept.app.doctor.case import Case
from hpcaccept.launch.job.driver import LEAVE_S
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.plan import Image, Request

if TYPE_CHECKING:
    from hpcaccept.transport.conversation import Talk

IN_IMAGE = Case("slurm", Request(4), Image("pyxis", "/shared/x.sqsh"), Path("/shared/runs"))


@dataclass
class Slurm:
    """A scheduler whose job is completing: it says that it runs."""

    cancelled: list[str] = field(default_factory=list)

    def find_job(self, token: str) -> JobRef:
        return JobRef("slurm", token)

    def status(self, _: JobRef) -> JobStatus:
        return JobStatus("running")

    def cancel(self, job: JobRef) -> None:
        self.cancelled.append(job.id)


@pytest.mark.parametrize(("ended", "cancelled"), [(0, []), (1, []), (None, ["token"]), (-9, ["token"])])
def test_a_job_whose_srun_has_ended_is_left_to_end(
    monkeypatch: pytest.MonkeyPatch, ended: int | None, cancelled: list[str]
) -> None:
    slurm = Slurm()
    monkeypatch.setattr(launch, "load", lambda _: slurm)
    with probe_nodes._nothing_left(IN_IMAGE, "token", cast("Talk", SimpleNamespace(ended=ended))):
        pass
    assert slurm.cancelled == cancelled


def test_who_unpacks_an_image_has_the_time_to_remove_it() -> None:
    assert probe_nodes._removal_s(IN_IMAGE) == LEAVE_S
    assert probe_nodes._removal_s(Case("local", Request(1), Image("docker", "team/x:1"), Path("/runs"))) == 2.0
