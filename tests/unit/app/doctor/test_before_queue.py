"""What can be seen from the login node to be impossible is refused before the queue, and what only takes time is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import plan

from hpcaccept.app.doctor.before_queue import must_fit
from hpcaccept.errors import LaunchError
from hpcaccept.model.plan import Image
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = "PartitionName=gpu Default=YES State=UP AllowGroups=ALL\nPartitionName=old State=UP AllowGroups=ALL\n"
NODE = "NodeName=node{} Gres=gpu:h100:8 State={} Partitions=gpu{}\n"
NODES = "".join(NODE.format(i, "IDLE", "") for i in range(3))
DRAINED = NODE.format(3, "IDLE+DRAIN", " Reason=bad DIMM [root@1795944475]")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose scontrol says what stands in files, and whose srun knows no container."""
    for name in ("sh", "cat"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\ncat "{tmp_path}/said-$3"\n')
    (tmp_path / "srun").write_text('#!/bin/sh\ncat "$0.help"\n')
    for name in ("scontrol", "srun"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    says(tmp_path)
    return tmp_path


def says(
    folder: Path, nodes: str = NODES + NODE.format(3, "ALLOCATED", ""), reservations: str = "", srun: str = ""
) -> None:
    for name, text in (("partition", PARTITIONS), ("node", nodes), ("reservation", reservations)):
        (folder / f"said-{name}").write_text(text)
    (folder / "srun.help").write_text(srun)


def refusal(folder: Path, image: Image | None = None, **request: Any) -> LaunchError:
    many = {"gpus_per_node": 8, "ranks_per_node": 8, **request}
    one = plan(None, **many)
    with pytest.raises(LaunchError) as refused:
        must_fit(replace(one, image=image or one.image), RunFolder(folder / "run"))
    return refused.value


def test_four_good_nodes_pass_busy_ones_included(folder: Path) -> None:
    must_fit(plan(gpus_per_node=8, ranks_per_node=8), RunFolder(folder / "run"))
    assert not (folder / "run").exists()


def test_a_drained_node_is_told_with_why_and_what_fits(folder: Path) -> None:
    says(folder, NODES + DRAINED)
    fault = refusal(folder)
    assert fault.message == (
        "Nothing was submitted. nodes: 3 of 4 nodes can be used, 3 idle; node3 drain: bad DIMM (root, 2026-11-29 09:27 UTC), "
        "expected 4."
    )
    assert fault.remedy.startswith("--nodes 3; with the others, once they are in service again:")
    must_fit(plan(nodes=3, gpus_per_node=8, ranks_per_node=8), RunFolder(folder / "run"))


def test_a_partition_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    assert refusal(folder, partition="gpus").message.endswith(
        "partition: there is no 'gpus', expected one of gpu, old."
    )


def test_a_reservation_of_others_ends_by_itself(folder: Path) -> None:
    says(folder, NODES + NODE.format(3, "IDLE+MAINTENANCE+RESERVED", ""))
    must_fit(plan(gpus_per_node=8, ranks_per_node=8), RunFolder(folder / "run"))
    assert "there is no 'night'" in refusal(folder, slurm={"reservation": "night"}).message


def test_gpus_that_there_are_not_are_told_with_those_that_there_are(folder: Path) -> None:
    fault = refusal(folder, gpus_per_node=4, ranks_per_node=4, gpu_type="a100")
    assert "node[0-3]: h100:8, expected a100:4" in fault.message


def test_an_image_that_is_not_there_and_a_slurm_without_pyxis_are_refused(folder: Path) -> None:
    absent = Image("pyxis", str(folder / "absent.sqsh"))
    assert "srun --help knows no --container-image" in refusal(folder, absent).message
    says(folder, srun="  --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH\n")
    fault = refusal(folder, absent)
    assert "absent.sqsh: No such file or directory" in fault.message
    assert "--container-image" in fault.remedy


def test_what_cannot_be_looked_at_is_left_to_slurm(folder: Path) -> None:
    (folder / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    must_fit(plan(partition="gpus"), RunFolder(folder / "run"))


def test_another_cluster_is_not_measured_by_the_nodes_of_this_one(folder: Path) -> None:
    must_fit(plan(partition="theirs", slurm={"clusters": "far"}), RunFolder(folder / "run"))
