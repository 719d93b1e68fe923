"""The nodes of a cluster, and the files by which ssh reaches them and nobody else.

Host keys come from the nodes through Azure's own agent (run command): the answer travels over the connection to Azure that is authenticated
already, so that no first contact has to be believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{60,80}={0,2}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MARK = "hpcaccept:"
_SIZE_URL = "http://169.254.169.254/metadata/instance/compute/vmSize?api-version=2021-02-01&format=text"
_POOL = "/var/lib/hyperv/.kvp_pool_3"
#: Sets ``physical`` in any POSIX shell. hv_kvp_daemon keeps pool 3 of Hyper-V's key-value exchange as records of a 512-byte key and a 2,048-byte value
#: (HV_KVP_EXCHANGE_MAX_KEY_SIZE and HV_KVP_EXCHANGE_MAX_VALUE_SIZE of linux/hyperv.h), each a text that ends with NUL; what stands after a NUL is
#: what an older text has left. A file that is torn, has more than 256 records, or names two hosts, and a name of other characters, give none.
PHYSICAL_HOST_SCRIPT = (
    'LC_ALL=C; export LC_ALL; physical=""; block=0',
    'field() { dd if="$pool" bs=512 skip="$1" count="$2" 2>/dev/null | tr "\\n\\0" "\\001\\n" | head -n 1; }',
    'if [ -f "$pool" ] && [ -r "$pool" ]; then size=$(($(wc -c <"$pool"))); else size=0; fi',
    'if [ "$((size % 2560))" -ne 0 ] || [ "$size" -gt 655360 ]; then size=0; fi',
    'while [ "$block" -lt "$((size / 512))" ]; do',
    '  if [ "$(field "$block" 1)" = PhysicalHostName ]; then',
    '    found=$(field "$((block + 1))" 4)',
    '    if [ -n "$physical" ] && [ "$physical" != "$found" ]; then found="?"; fi',
    '    physical=${found:-"?"}',
    "  fi",
    "  block=$((block + 5))",
    "done",
    'case $physical in *[!A-Za-z0-9._-]*) physical="" ;; esac',
)
#: Run as root on each node.
IDENTITY_SCRIPT = (
    f'printf "{_MARK}key %s\\n" "$(cat /etc/ssh/ssh_host_ed25519_key.pub)"',
    f"pool={_POOL}",
    *PHYSICAL_HOST_SCRIPT,
    f'printf "{_MARK}host %s\\n" "$physical"',
    f'size=$(curl -s -m 5 --noproxy "*" -H Metadata:true "{_SIZE_URL}" 2>/dev/null)',
    f'printf "{_MARK}size %s\\n" "$size"',
)


@dataclass(frozen=True)
class Node:
    """One VM.

    Attributes:
        name: its host name.
        vm: resource id of the VM or instance.
        vm_id: Azure's id of this very VM; another one of the same name has another.
        address: private IPv4 address.
        port: of the cluster's public address that leads to its ssh; 0 while it is not known.
        host_key: OpenSSH public key; empty while it is not known, and then ssh refuses it.
        physical_host: name of the machine below; empty where Hyper-V does not say.
        size: VM size that the instance metadata service says; empty where it does not answer.
    """

    name: str
    vm: str
    vm_id: str
    address: str
    port: int = 0
    host_key: str = ""
    physical_host: str = ""
    size: str = ""


@dataclass(frozen=True)
class Card:
    """The first network card of a VM.

    Attributes:
        vm: resource id of the VM, in lower case.
        address: private IPv4 address.
        ip_configuration: resource id of the address.
    """

    vm: str
    address: str
    ip_configuration: str


def cards_of(found: Iterable[Mapping[str, Any]]) -> dict[str, Card]:
    """Resource id of a VM in lower case → its card."""
    cards: dict[str, Card] = {}
    for each in found:
        properties = each.get("properties") or {}
        vm = str((properties.get("virtualMachine") or {}).get("id", "")).lower()
        for configuration in properties.get("ipConfigurations") or ():
            address = str((configuration.get("properties") or {}).get("privateIPAddress", ""))
            if vm and properties.get("primary", True) and _ADDRESS.fullmatch(address):
                cards.setdefault(vm, Card(vm, address, str(configuration.get("id", ""))))
    return cards


def node_of(instance: Mapping[str, Any], cards: Mapping[str, Card]) -> Node:
    """The node that a VM is, before its port and key are known.

    Raises:
        NotUnderstood: it has no name, or no address.
    """
    properties = instance.get("properties") or {}
    identity = str(instance.get("id", ""))
    name = str((properties.get("osProfile") or {}).get("computerName", ""))
    card = cards.get(identity.lower())
    if not _NAME.fullmatch(name) or card is None:
        raise NotUnderstood(
            f"Azure describes a VM without {'an address' if _NAME.fullmatch(name) else 'a host name'}: {identity[:200]!r}."
        )
    return Node(name, identity, str(properties.get("vmId", "")), card.address)


def port_of(answer: Any) -> int:
    """Port of the public address that leads to port 22 of a card; 0 where there is none."""
    for mapping in (answer or {}).get("inboundNatRulePortMappings") or ():
        if mapping.get("backendPort") == 22 and isinstance(mapping.get("frontendPort"), int):
            return int(mapping["frontendPort"])
    return 0


def identified(node: Node, answer: Any) -> Node:
    """The node with what ``IDENTITY_SCRIPT`` printed on it.

    Raises:
        NotUnderstood: there is no host key in the answer.
    """
    text = "\n".join(
        str(each.get("message", "")) for each in (answer or {}).get("value") or () if isinstance(each, dict)
    )
    said: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(_MARK):
            word, _, value = line.removeprefix(_MARK).partition(" ")
            said.setdefault(word, value.strip())
    key = " ".join(said.get("key", "").split()[:2])
    if not _KEY.fullmatch(key):
        raise NotUnderstood(f"{node.name} printed no ed25519 host key: {text[:200]!r}.")
    host, size = said.get("host", ""), said.get("size", "")
    return replace(
        node,
        host_key=key,
        physical_host=host if _WORD.fullmatch(host) else "",
        size=size if _WORD.fullmatch(size) else "",
    )


def host_files(nodes: Iterable[Node]) -> dict[str, bytes]:
    """``hostfile``, ``hostfile-ip`` and ``physical-hosts``: a line for each node, in one order."""
    nodes = list(nodes)
    return {
        "hostfile": _lines(node.name for node in nodes),
        "hostfile-ip": _lines(node.address for node in nodes),
        "physical-hosts": _lines(f"{node.name} {node.address} {node.physical_host or 'unknown'}" for node in nodes),
    }


def ssh_files(nodes: Iterable[Node], public_address: str, admin: str, key: Path, folder: Path) -> dict[str, bytes]:
    """``ssh_config`` and ``known_hosts`` of the client. A node whose key is not known is refused.

    Args:
        nodes: of the cluster.
        public_address: whose ports lead to them.
        admin: user there.
        key: private half that logs in.
        folder: absolute, where the files will be.
    """
    nodes = list(nodes)
    first = nodes[0].name if nodes else ""
    hosts = [
        f"Host {node.name}{' head' if node.name == first else ''}\n  HostName {public_address}\n  Port {node.port}\n  HostKeyAlias {node.name}"
        for node in nodes
        if node.port
    ]
    common = (
        f"Host *\n  User {admin}\n  IdentityFile {_quoted(key)}\n  IdentitiesOnly yes\n  UserKnownHostsFile {_quoted(folder / 'known_hosts')}\n"
        "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  UpdateHostKeys no\n  CheckHostIP no\n  ForwardAgent no\n"
        "  ForwardX11 no\n  ServerAliveInterval 15\n  ServerAliveCountMax 4"
    )
    keys = _lines(f"{node.name} {node.host_key}" for node in nodes if node.host_key)
    return {"ssh_config": ("\n".join([*hosts, common]) + "\n").encode(), "known_hosts": keys}


def _quoted(path: Path) -> str:
    """As ssh_config takes a path with blanks in it."""
    return f'"{path}"'


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
