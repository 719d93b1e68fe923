"""How Slurm is asked for GPUs of a type, and for what was typed rather than what the shell has set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import plan

from hpcaccept.app.run.sbatch_steps import ScriptInput, begin
from hpcaccept.errors import UsageError
from hpcaccept.launch import slurm
from hpcaccept.launch._slurm.sbatch import Sbatch
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICES: dict[str, Any] = {"gpus_per_node": 28, "ranks_per_node": 28, "gpu_type": "1g.10gb"}
ASKED = "--gpus-per-node=1g.10gb:28"


@pytest.fixture(autouse=True)
def some_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit renders nothing where there is no srun."""
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_job_and_every_step_ask_for_the_type(tmp_path: Path) -> None:
    sliced = plan(**SLICES)
    rendered = slurm.render(sliced, RunFolder(tmp_path / "RUN"))
    assert any(
        ASKED in line for text in rendered.files.values() for line in text.splitlines() if line.startswith("#SBATCH")
    )
    steps = [command for what, command in rendered.commands if what.startswith("step")]
    assert steps
    assert all(ASKED in command for command in steps)
    assert ASKED in slurm.as_job(("srun",), sliced, "word", 60.0)
    assert "--gpus-per-node=8" in slurm.as_job(("srun",), plan(gpus_per_node=8, ranks_per_node=8), "word", 60.0)


def test_a_step_does_not_wait_for_an_earlier_one_that_never_ends(tmp_path: Path) -> None:
    """Slurm keeps a step whose slurmstepd was killed on one node, and what it had, until the job ends."""
    asked = plan()
    first = asked.first_step(("node0", "node1"))
    folder = RunFolder(tmp_path / "RUN")
    assert "--overlap" not in slurm.step_command(asked, first, folder)
    assert "--overlap" in slurm.step_command(asked, replace(first, id="01", nodes=("node0",)), folder)
    assert "--overlap" in slurm.everywhere(asked, ("node0",), ("true",))


def told(gres: str) -> ScriptInput:
    return ScriptInput(nodes="node0", gres=gres, mpi="pmix", left="1:00:00")


def test_a_script_on_nodes_with_slices_is_told_which_are_meant(tmp_path: Path) -> None:
    mixed, environ = told("gpu:ampere:6(S:0-1),gpu:1g.10gb:28(S:0-1)"), {"HOME": str(tmp_path)}
    for number in ({}, {"HPCACCEPT_GPUS_PER_NODE": "6"}):
        with pytest.raises(UsageError, match=r"ampere:6, 1g\.10gb:28") as refused:
            begin(str(tmp_path / "run"), mixed, {"suite": "quick"}, {}, {**environ, **number})
        assert "HPCACCEPT_GPUS_PER_NODE=ampere:6 or HPCACCEPT_GPUS_PER_NODE=1g.10gb:28" in refused.value.remedy
    begin(str(tmp_path / "run"), mixed, {"suite": "quick", "gpus_per_node": "1g.10gb:28"}, {}, environ)
    assert ASKED in (tmp_path / "run" / "next").read_text().split("\0")


def submission(folder: Path, **options: Any) -> Iterator[str]:
    executor = Sbatch(folder=folder, python="python3")
    executor.update_parameters(**options)
    command = executor._make_submission_command(Path("submission.sh"))
    return (word for word in command if word.startswith("--unset=SBATCH_"))


def test_a_variable_of_sbatch_does_not_win_over_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Seen with Slurm 22.05: SBATCH_PARTITION=small wins over '#SBATCH --partition=gpu'.
    for name in ("PARTITION", "ACCOUNT", "QOS", "RESERVATION"):
        monkeypatch.setenv(f"SBATCH_{name}", "of-the-shell")
    assert list(submission(tmp_path)) == []
    typed = submission(tmp_path, partition="gpu", additional_parameters={"qos": "high"})
    assert list(typed) == ["--unset=SBATCH_PARTITION", "--unset=SBATCH_QOS"]
