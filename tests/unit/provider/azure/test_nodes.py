"""Nodes out of Azure's answers, and the files by which ssh reaches them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.azure_fixtures import HOST_KEY as KEY
from support.hyperv import HOST, POOLS

from hpcaccept.errors import NotUnderstood
from hpcaccept.provider.azure import nodes
from hpcaccept.provider.azure.cloud_init import Progress, progress_of
from hpcaccept.provider.azure.nodes import Card, Node

if TYPE_CHECKING:
    from pathlib import Path

NODE = Node("vm-000000", "/vm/0", "id-0", "10.0.0.4", 50000, KEY, "BN9300")


def said(text: str) -> Any:
    return {"value": [{"message": f"Enable succeeded: \n[stdout]\n{text}\n[stderr]\n"}]}


def test_a_node_says_its_key_its_physical_host_and_its_size() -> None:
    text = f"hpcaccept:key {KEY} root@x\nhpcaccept:host BN9300\nhpcaccept:size Standard_ND96isr_H200_v5"
    found = nodes.identified(Node("n", "/vm", "id", "10.0.0.4"), said(text))
    assert (found.host_key, found.physical_host, found.size) == (KEY, "BN9300", "Standard_ND96isr_H200_v5")


@pytest.mark.parametrize(
    "text",
    ["", "hpcaccept:key ", "hpcaccept:key ssh-rsa AAAA", f"hpcaccept:key {KEY[:-9]}\u202e", "hpcaccept:key * @cert"],
)
def test_what_is_no_host_key_is_not_believed(text: str) -> None:
    with pytest.raises(NotUnderstood, match="printed no ed25519 host key"):
        nodes.identified(NODE, said(text))


@pytest.mark.parametrize("answer", [None, {}, {"value": None}, {"value": ["x"]}])
def test_an_answer_of_another_form_is_no_host_key(answer: Any) -> None:
    with pytest.raises(NotUnderstood):
        nodes.identified(NODE, answer)


def test_a_physical_host_with_other_signs_is_unknown() -> None:
    found = nodes.identified(NODE, said(f"hpcaccept:key {KEY}\nhpcaccept:host x; rm -rf /\nhpcaccept:size \x1b[2J"))
    assert (found.physical_host, found.size) == ("", "")


def physical_host(pool: Path, shell: tuple[str, ...] = ("sh",)) -> str:
    """What the whole script of the agent says of a pool, in a real shell that ends at the first error."""
    key = pool.with_name("key.pub")
    key.write_text(f"{KEY} root@vm\n")
    script = "\n".join(nodes.IDENTITY_SCRIPT[:-2])
    script = script.replace("/var/lib/hyperv/.kvp_pool_3", str(pool)).replace(
        "/etc/ssh/ssh_host_ed25519_key.pub", str(key)
    )
    done = subprocess.run([*shell, "-eu", "-c", script], capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2, done.stdout
    found = nodes.identified(NODE, said(done.stdout))
    assert f"hpcaccept:host {found.physical_host}" == done.stdout.splitlines()[1]
    return found.physical_host


@pytest.mark.parametrize("shell", [("sh",), ("bash", "--posix")])
@pytest.mark.parametrize(("content", "host"), POOLS.values(), ids=POOLS)
def test_the_script_of_the_agent_reads_hyperv_s_pool(
    tmp_path: Path, content: bytes, host: str, shell: tuple[str, ...]
) -> None:
    (tmp_path / "pool").write_bytes(content)
    assert physical_host(tmp_path / "pool", shell) == host


@pytest.mark.parametrize("there", ["nothing", "folder", "pipe", "device", "enormous"])
def test_what_is_no_pool_names_nobody_and_holds_nobody_up(tmp_path: Path, there: str) -> None:
    pool = tmp_path / "pool"
    if there == "folder":
        pool.mkdir()
    elif there == "pipe":
        os.mkfifo(pool)
    elif there == "device":
        pool.symlink_to("/dev/zero")
    elif there == "enormous":
        with pool.open("wb") as file:
            file.write(HOST)
            file.truncate(2560 * 10**9)
    assert physical_host(pool) == ""


def test_host_files_are_in_one_order() -> None:
    other = Node("vm-000001", "/vm/1", "id-1", "10.0.0.5")
    files = nodes.host_files([NODE, other])
    assert files["hostfile"] == b"vm-000000\nvm-000001\n"
    assert files["hostfile-ip"] == b"10.0.0.4\n10.0.0.5\n"
    assert files["physical-hosts"] == b"vm-000000 10.0.0.4 BN9300\nvm-000001 10.0.0.5 unknown\n"


def test_ssh_is_told_to_verify_and_to_forward_nothing(tmp_path: Path) -> None:
    other = Node("vm-000001", "/vm/1", "id-1", "10.0.0.5", 50001)
    files = nodes.ssh_files([NODE, other], "192.0.2.1", "azureuser", tmp_path / "my key", tmp_path)
    assert files["known_hosts"] == f"vm-000000 {KEY}\n".encode()
    (tmp_path / "ssh_config").write_bytes(files["ssh_config"])
    done = subprocess.run(
        ["ssh", "-F", str(tmp_path / "ssh_config"), "-G", "head"], capture_output=True, text=True, check=True
    )
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert (told["hostname"], told["port"], told["user"]) == ("192.0.2.1", "50000", "azureuser")
    assert (told["hostkeyalias"], told["stricthostkeychecking"], told["forwardagent"]) == ("vm-000000", "true", "no")
    assert told["identityfile"] == str(tmp_path / "my key")


def card(vm: str, address: str, primary: bool = True) -> dict[str, Any]:
    configuration = {"id": f"{vm}/ip", "properties": {"privateIPAddress": address}}
    return {"properties": {"primary": primary, "virtualMachine": {"id": vm}, "ipConfigurations": [configuration]}}


def test_the_primary_card_of_a_vm_counts() -> None:
    found = nodes.cards_of([card("/VM/0", "10.1.0.9", primary=False), card("/VM/0", "10.0.0.4"), {"properties": None}])
    assert found == {"/vm/0": Card("/vm/0", "10.0.0.4", "/VM/0/ip")}


@pytest.mark.parametrize("name", ["", "-oProxyCommand=x", "a b", "x" * 64])
def test_a_vm_without_a_name_of_a_host_is_refused(name: str) -> None:
    vm = {"id": "/vm/0", "properties": {"osProfile": {"computerName": name}}}
    with pytest.raises(NotUnderstood, match="without a host name"):
        nodes.node_of(vm, {"/vm/0": Card("/vm/0", "10.0.0.4", "")})


def test_the_port_is_the_one_that_leads_to_ssh() -> None:
    mappings = [{"frontendPort": 1, "backendPort": 80}, {"frontendPort": 50003, "backendPort": 22}]
    assert nodes.port_of({"inboundNatRulePortMappings": mappings}) == 50003
    assert nodes.port_of(None) == 0


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ('{"status": "done", "errors": [], "recoverable_errors": {}}', Progress("done")),
        ('{"status": "done", "recoverable_errors": {"WARNING": ["old key"]}}', Progress("done")),
        ('{"status": "running"}', Progress("running")),
        ('{"status": "not started"}', Progress("running")),
        ('banner\n{"status": "error", "errors": ["no\\nraid"]}', Progress("failed", "cloud-init: no raid")),
        ('{"status": "done", "recoverable_errors": {"ERROR": ["script"]}}', Progress("failed", "cloud-init: script")),
        ('{"status": "disabled"}', Progress("failed", "cloud-init: disabled")),
        ("sh: cloud-init: not found", Progress("unknown", "cloud-init said 'sh: cloud-init: not found'")),
        ("{", Progress("unknown", "cloud-init said '{'")),
        ("[1]", Progress("unknown", "cloud-init said '[1]'")),
    ],
)
def test_cloud_init_is_done_only_when_it_says_so(text: str, progress: Progress) -> None:
    assert progress_of(text) == progress
