"""The configuration of shell scripts, read and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    ],
)
def test_what_needs_a_shell_is_refused_with_its_line(line: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        tables_of(f"LOCATION=eastus2\n{line}\n", "c.env")
    assert says in str(refused.value)
    assert str(refused.value).startswith("c.env")
