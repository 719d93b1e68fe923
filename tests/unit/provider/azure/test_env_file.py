"""The configuration of shell scripts, read and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcaccept.app.azure.render import load_cluster
from hpcaccept.errors import UsageError
from hpcaccept.provider.azure.config import read_cluster
from hpcaccept.provider.azure.env_file import tables_of

WHOLE = """\
# a comment
export RESOURCE_GROUP="vmss-rg"
VMSS_NAME='vmss'
LOCATION=eastus2   # where
SKU="Standard_ND96isr_H100_v5"
IMAGE="microsoft-dsvm:ubuntu-hpc:2204:latest"
INSTANCE_COUNT=4
VM_NAME_PREFIX="vm-"
ADMIN="azureuser"
ORCH_MODE="Uniform"
SSH_PATH="$HOME/.ssh/id_rsa.pub"
CLOUD_INIT="cloud-init.yaml"
TAGS=(
  "purpose=acceptance"
  "team=hpc"  # who
)
ALLOW_SSH_FROM="203.0.113.7/32 198.51.100.0/24"
"""


def test_every_key_of_the_scripts_is_read() -> None:
    found = read_cluster(tables_of(WHOLE, "c.env"), Path("/site"))
    assert (found.name, found.resource_group, found.nodes, found.gpus) == ("vmss", "vmss-rg", 4, 8)
    assert found.mode == "uniform"
    assert found.tags == {"purpose": "acceptance", "team": "hpc"}
    assert found.ssh_public_key == Path("~/.ssh/id_rsa.pub").expanduser()
    assert found.cloud_init == Path("/site/cloud-init.yaml")
    assert found.network.allow_ssh_from == ("203.0.113.7/32", "198.51.100.0/24")


def test_defaults_are_those_of_the_scripts() -> None:
    found = read_cluster(tables_of("LOCATION=eastus2\nALLOW_SSH_FROM=203.0.113.7/32", "c.env"), Path("/site"))
    assert (found.name, found.resource_group, found.size, found.nodes) == (
        "vmss",
        "vmss-rg",
        "Standard_ND96isr_H200_v5",
        2,
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("SKU=$(touch /tmp/x)", "expected a plain value: this file is read, not run"),
        ("SKU=`id`", "this file is read, not run"),
        ("SKU=${OTHER}", "this file is read, not run"),
        ("SKU=a; rm -rf /", "this file is read, not run"),
        ("SKU='a", "expected a quoted value"),
        ("SKUU=a", "there is no key SKUU. Did you mean 'SKU'?"),
        ("echo hello", "expected KEY=VALUE"),
        ("INSTANCE_COUNT=two", "INSTANCE_COUNT: found 'two'"),
        ("TAGS=(x)", "TAGS: found 'x', expected KEY=VALUE"),
        ('TAGS=("a=b"', "expected ) at the end of the array"),
    ],
)
def test_what_needs_a_shell_is_refused_with_its_line(line: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        tables_of(f"LOCATION=eastus2\n{line}\n", "c.env")
    assert says in str(refused.value)
    assert str(refused.value).startswith("c.env")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ALLOW_SSH_FROM=203.0.113.7/32", "LOCATION is missing"),
        ("LOCATION=eastus2", "ALLOW_SSH_FROM is missing: ssh is opened to nobody by default"),
        ("LOCATION=eastus2\nALLOW_SSH_FROM=0.0.0.0/0", "ALLOW_SSH_FROM: 0.0.0.0/0 opens ssh to the internet"),
        ("LOCATION=eastus2\nALLOW_SSH_FROM=203.0.113.7/32\nINSTANCE_COUNT=0", "INSTANCE_COUNT: found 0"),
        ("LOCATION=eastus2\nALLOW_SSH_FROM=203.0.113.7/32\nORCH_MODE=Flex", "ORCH_MODE: found 'Flex'"),
    ],
)
def test_what_is_wrong_is_said_of_the_keys_of_this_file(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.env").write_text(text)
    with pytest.raises(UsageError) as refused:
        load_cluster(tmp_path / "c.env")
    assert says in str(refused.value)
    assert "cluster." not in str(refused.value)
    assert "allow_ssh_from" not in f"{refused.value} {refused.value.remedy}"
