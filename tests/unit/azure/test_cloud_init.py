"""azure/cloud-init.yaml is made of the files of azure/node, and of nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcaccept.provider.azure.nodes import PHYSICAL_HOST_SCRIPT

AZURE = Path(__file__).parents[3] / "azure"
NODE = AZURE / "node"
CLOUD_INIT = AZURE / "cloud-init.yaml"
#: Decoded bytes of customData that Azure takes.
#: https://learn.microsoft.com/azure/virtual-machines/custom-data
MOST_BYTES = 65_535
SCRIPTS = sorted(NODE.rglob("*.sh"))


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CLOUD_INIT.read_text("utf-8"))
    return loaded


def test_it_holds_exactly_the_files_of_the_folder() -> None:
    files = {
        f"/{file.relative_to(NODE).as_posix()}": file.read_text("utf-8")
        for file in NODE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    written = {entry["path"]: entry["content"] for entry in document()["write_files"]}
    assert written == files, "run: python azure/build_cloud_init.py"


def test_it_is_what_the_builder_makes(tmp_path: Path) -> None:
    copy = tmp_path / "azure"
    shutil.copytree(AZURE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    left = copy / "node/opt/__pycache__/node-verdict.cpython-311.pyc"
    left.parent.mkdir()
    left.write_bytes(b"\xa7\r\r\n")  # byte code of an earlier test
    subprocess.run(["python3", str(copy / "build_cloud_init.py")], check=True, timeout=60)
    assert (copy / "cloud-init.yaml").read_text("utf-8") == CLOUD_INIT.read_text("utf-8")


def test_azure_takes_it() -> None:
    assert CLOUD_INIT.read_text("utf-8").startswith("#cloud-config\n")
    assert CLOUD_INIT.stat().st_size < MOST_BYTES


def test_what_runs_may_run_and_the_rest_may_not() -> None:
    modes = {entry["path"]: entry["permissions"] for entry in document()["write_files"]}
    assert {path for path, mode in modes.items() if mode == "0644"} == {
        "/opt/node-lib.sh",
        "/etc/systemd/system/hpcaccept-forget.service",
        "/etc/systemd/system/hpcaccept-nvme.service",
        "/etc/systemd/system/hpcaccept-persistence.service",
    }
    assert set(modes.values()) == {"0644", "0755"}


@pytest.mark.parametrize(
    "name",
    [
        *("node-info.sh", "run-aznhc.sh", "run-dcgmi.sh", "run-healthagent.sh", "check-node-health.sh"),
        *("run-health-checks.sh", "persistence-mode.sh", "setup-nvme.sh", "forget-health.sh", "first-start.sh"),
    ],
)
def test_every_script_of_the_run_book_is_there(name: str) -> None:
    assert f"/opt/{name}" in {entry["path"] for entry in document()["write_files"]}


def test_level_two_runs_while_a_node_is_set_up_and_the_modes_are_set_at_every_start() -> None:
    assert document()["runcmd"] == [["/opt/first-start.sh", "2"]]
    units = sorted((NODE / "etc/systemd/system").iterdir())
    started = (NODE / "opt/first-start.sh").read_text("utf-8")
    for unit in units:
        assert unit.stem in started
        text = unit.read_text("utf-8")
        assert "WantedBy=multi-user.target" in text
        script = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ExecStart="))
        assert (NODE / script.lstrip("/")).is_file()


def test_a_node_reads_hyperv_s_pool_by_the_lines_of_the_client() -> None:
    lines = "".join(f"  {line}\n" for line in PHYSICAL_HOST_SCRIPT)
    assert f"physical_host() {{\n  local pool=$1\n{lines}  printf" in (NODE / "opt/node-lib.sh").read_text("utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_every_script(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed (apt-get install shellcheck)")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        ["shellcheck", "-x", "--source-path=SCRIPTDIR", *map(str, SCRIPTS)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_nothing_in_it_is_secret_or_weakens_ssh() -> None:
    text = CLOUD_INIT.read_text("utf-8")
    for word in (
        "StrictHostKeyChecking",
        "PRIVATE KEY",
        "password",
        "--force",
        "wipefs",
        "zero-superblock",
        "mkfs.xfs -f",
    ):
        assert word not in text
