from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.matrix.on_machine import environment
from hpcaccept.app.matrix.order import INSIDE, NO_MODULE, order_in, order_of, prepare
from hpcaccept.app.matrix.queue import sbatch_command
from hpcaccept.errors import UsageError
from hpcaccept.model.matrix.matrix import Cell, CellTest, ImageSpec, MachineSpec

if TYPE_CHECKING:
    from pathlib import Path

IMPORTS = CellTest("imports", imports=("json",), limit_s=60)


def cell(image: ImageSpec, machine: MachineSpec | None = None, *tests: CellTest, **factors: str) -> Cell:
    return Cell(image, machine or MachineSpec("m"), factors, tests or (IMPORTS,))


def test_an_image_is_entered_by_a_step_of_its_job_where_the_runtime_is_a_plugin_of_srun(tmp_path: Path) -> None:
    image = ImageSpec("i", container="reg#a/b:1", runtime="pyxis", mounts=("/data:/data:ro",), env={"A": "1"})
    order = order_of(tmp_path / "r/cells/c/1", cell(image, None, python="3.12"), 1, "", {"srun", "container"})
    words = order.command
    assert words[0] == "srun"
    assert "--container-image=reg#a/b:1" in words
    assert f"--container-mounts={tmp_path}/r/cells/c/1:{tmp_path}/r/cells/c/1,/data:/data:ro" in words
    assert words[-3:] == ("python3", f"{tmp_path}/r/cells/c/1/inside.py", f"{tmp_path}/r/cells/c/1")
    assert order.env["A"] == "1"
    assert order.env["HPCACCEPT_MATRIX_PYTHON"] == "3.12"
    assert order.leave[:2] == ("enroot", "remove")


def test_a_runtime_that_the_place_cannot_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pyxis cannot be used on m"):
        order_of(tmp_path / "r/cells/c/1", cell(ImageSpec("i", container="a#b", runtime="pyxis")), 1, "", {"container"})


def test_a_virtual_environment_comes_first_on_the_path_and_ours_does_not_come_along(tmp_path: Path) -> None:
    order = order_of(tmp_path, cell(ImageSpec("i", venv="/envs/a")), 1, "", ())
    env = environment(order, {"PATH": "/bin", "PYTHONPATH": "/ours", "HF_TOKEN": "secret", "VIRTUAL_ENV": "/ours"})
    assert env == {"PATH": "/envs/a/bin:/bin", "VIRTUAL_ENV": "/envs/a"}
    assert order.command[0] == "/envs/a/bin/python"


def with_modules(folder: Path, *modules: str) -> subprocess.CompletedProcess[str]:
    """A cell with modules where the login shell has a function of that name, as sites have."""
    (folder / ".bash_profile").write_text('module() { [ "$2" != absent ] && export LOADED="$LOADED $2"; }\n')
    run = folder / "m/run/cells/c/1"
    test = CellTest("t", command=("sh", "-c", "echo loaded: $LOADED"), output="loaded: a/1 b c")
    prepare(run, cell(ImageSpec("i", modules=modules, python=sys.executable), None, test), 1, "", ())
    env = {**os.environ, "HOME": str(folder)}
    return subprocess.run(order_in(run).command, env=env, check=False, timeout=60, capture_output=True, text=True)


def test_modules_are_loaded_in_their_order_and_no_name_is_a_command(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    done = with_modules(tmp_path, "a/1", "b c", "$(touch x)")
    assert done.returncode == 0, done.stderr
    assert '"outcome": "PASS"' in (tmp_path / "m/run/cells/c/1/results.jsonl").read_text()
    assert not (tmp_path / "x").exists()


def test_a_missing_module_has_a_status_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert with_modules(tmp_path, "a/1", "absent").returncode == NO_MODULE


def test_a_job_asks_for_one_node_and_is_never_put_back(tmp_path: Path) -> None:
    machine = MachineSpec(
        "m", partition="gpu", features=("a100", "ib"), gpus=2, gpu_type="a100", account="x", slurm={"qos": "low"}
    )
    words = sbatch_command(cell(ImageSpec("i"), machine), tmp_path / "100%", "word")
    for expected in ("--no-requeue", "--nodes=1", "--comment=word", "--partition=gpu", "--constraint=a100&ib", "--qos=low",
                     "--gpus-per-node=a100:2", "--account=x", "--time=7", f"--output={tmp_path}/100%%/job.log"):  # fmt: skip
        assert expected in words


def test_what_goes_to_a_rented_machine_has_the_texts_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("print(1)\n")
    machine = MachineSpec("m", gpu_model="H100 SXM", usd_per_hour=2.0)
    test = CellTest("t", script=str(tmp_path / "t.py"), limit_s=60)
    order = order_of(tmp_path, cell(ImageSpec("i", container="a/b:{cuda}"), machine, test), 1, "", {INSIDE})
    assert order.rent is not None
    assert (order.rent.gpus, order.rent.test_s, order.rent.files) == (1, 60, {"t.py": "print(1)\n"})
    assert order.inner["tests"][0]["script"] == "t.py"
    assert not order.rent.more


def test_a_branch_and_long_files_go_to_a_rented_machine_as_an_archive(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "t.py").write_bytes(os.urandom(3000).hex().encode())
    machine = MachineSpec("m", gpu_model="H100 SXM", usd_per_hour=2.0)
    long = CellTest("long", script=str(tmp_path / "t.py"))
    branch = CellTest("t", script="deep/x.py", from_content=True)
    for tests, scripts in (([long], ["long.py"]), ([branch, long], ["deep/x.py", "long.py"])):
        there = cell(ImageSpec("i", container="a/b"), machine, *tests)
        order = order_of(tmp_path, there, 1, str(tmp_path / "content"), {INSIDE})
        assert order.rent is not None
        assert (order.rent.more, order.rent.files) == (True, {})
        assert [each["script"] for each in order.inner["tests"]] == scripts


def test_what_is_too_much_for_a_rented_machine_is_refused_before_anything_is_rented(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc/passwd")
    machine = MachineSpec("m", gpu_model="H100 SXM", usd_per_hour=2.0)
    branch = CellTest("t", script="x.py", from_content=True)
    with pytest.raises(UsageError, match="nothing else is sent to rented machines"):
        order_of(tmp_path, cell(ImageSpec("i", container="a/b"), machine, branch), 1, str(tmp_path), {INSIDE})
    many = CellTest("t", command=("echo", os.urandom(3000).hex()))
    with pytest.raises(UsageError, match="characters packed, a rented machine is sent 3,348 at most"):
        order_of(tmp_path, cell(ImageSpec("i", container="a/b"), machine, many), 1, "", {INSIDE})
