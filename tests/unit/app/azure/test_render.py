"""``hpcaccept azure render``: three files, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import arm_schemas
from support.azure_fixtures import HOST_KEY, config_text

from hpcaccept.cli import main

ROOT = Path(__file__).parents[4]
KEY = f"{HOST_KEY} site"
CONFIG = config_text(cluster='ssh_public_key = "key.pub"', cloud_init="ci.yaml")


def site(folder: Path) -> Path:
    (folder / "key.pub").write_text(f"{KEY}\n")
    (folder / "ci.yaml").write_text("#cloud-config\n")
    config = folder / "c.toml"
    config.write_text(CONFIG)
    return config


@pytest.mark.parametrize("file", sorted([*(ROOT / "azure").glob("*.toml"), *(ROOT / "azure").glob("*.env")]), ids=str)
def test_each_example_can_be_rendered_and_deployed(file: Path, tmp_path: Path) -> None:
    assert main(["azure", "render", str(file), "-o", str(tmp_path)]) == 0
    template = json.loads((tmp_path / "template.json").read_text())
    assert arm_schemas.template_errors(template) == []


def test_the_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = site(tmp_path)
    assert main(["azure", "render", str(config), "-o", str(tmp_path / "out")]) == 0
    parameters = json.loads((tmp_path / "out/parameters.json").read_text())["parameters"]
    assert parameters["sshPublicKey"]["value"] == KEY
    assert (tmp_path / "out/cloud-init.yaml").read_bytes() == b"#cloud-config\n"
    said = capsys.readouterr().out
    assert "az group create --name hpcaccept-t1 --location eastus2 --tags hpcaccept-run=t1" in said
    assert "lacks sshPublicKey" not in said


def test_rendered_twice_it_is_the_same(tmp_path: Path) -> None:
    config = site(tmp_path)
    for name in ("a", "b"):
        assert main(["azure", "render", str(config), "-o", str(tmp_path / name)]) == 0
    for name in ("template.json", "parameters.json", "cloud-init.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_private_key_is_refused_and_not_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = site(tmp_path)
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"
    (tmp_path / "key.pub").write_text(secret)
    assert main(["azure", "render", str(config), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "is not an OpenSSH public key" in said
    assert "b3Blbn" not in said


def test_what_cloud_init_would_ignore_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = site(tmp_path)
    (tmp_path / "ci.yaml").write_text("packages: [tree]\n")
    assert main(["azure", "render", str(config)]) == 2
    assert "cloud-init would ignore it" in capsys.readouterr().err


def test_the_command_line_says_who_may_reach_ssh(tmp_path: Path) -> None:
    config = site(tmp_path)
    command = ["azure", "render", str(config), "--allow-ssh-from", "198.51.100.4/32", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert "198.51.100.4/32" in (tmp_path / "out/template.json").read_text()


def test_a_fault_names_file_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = site(tmp_path)
    config.write_text(CONFIG.replace("nodes = 2", "nodes = 0"))
    assert main(["azure", "render", str(config)]) == 2
    assert f"{config}: cluster.nodes: found 0" in capsys.readouterr().err


def test_rendering_loads_nothing_of_azure() -> None:
    code = (
        "import sys; from hpcaccept.app.azure import render; "
        "sys.exit(any(name == 'azure' or name.startswith(('azure.', 'msal', 'requests')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd="/", check=False).returncode == 0
