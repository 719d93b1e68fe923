"""The nodes that exist now and how to reach them: host files and ssh configuration, renewed when VMs have changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.app.azure import lookup
from hpcaccept.app.azure.key_pair import PRIVATE
from hpcaccept.bounded import read_bytes
from hpcaccept.errors import HpcacceptError, RunError
from hpcaccept.provider.azure import nodes as shapes
from hpcaccept.provider.azure import requests
from hpcaccept.provider.azure.nodes import Node
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import replace_files

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.azure.session import Session
    from hpcaccept.provider.azure.config import Cluster

#: Requests at once: Azure allows a subscription some 1,200 in a burst.
_AT_ONCE = 32
#: Of a script that Azure's agent runs on a node; the agent itself takes up to a minute.
_IDENTIFY_S = 300.0
_FILE = "nodes.json"


@dataclass(frozen=True)
class Hosts:
    """The nodes of a cluster.

    Attributes:
        nodes: by host name.
        unidentified: node → why its port or key is not known; ssh refuses it.
        gone: names that an earlier call had and that are there no more.
    """

    nodes: tuple[Node, ...]
    unidentified: dict[str, str]
    gone: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """``nodes.json``."""

    nodes: tuple[Node, ...]


def refresh(session: Session, cluster: Cluster, folder: Path) -> Hosts:
    """Ask Azure for the nodes and write ``hostfile``, ``hostfile-ip``, ``physical-hosts``, ``ssh_config`` and ``known_hosts``.

    A VM that an earlier call has identified is not asked again, unless its physical host or size was not known then; one that replaced another is,
    whatever its name.

    Raises:
        RunError: there is no VM, or a file cannot be written.
    """
    asked = requests.Nodes(session.subscription, cluster)
    instances = lookup.running_nodes(session, cluster)
    if not instances:
        raise RunError(f"The cluster {cluster.name} has no VM.", "Bring it up: hpcaccept azure up CONFIG --max-hours H")
    cards = shapes.cards_of(session.every(asked.cards()))
    found = sorted((shapes.node_of(each, cards) for each in instances), key=lambda node: node.name)
    before = read_nodes(folder)
    known = {node.vm_id: node for node in before if node.host_key and node.port and node.vm_id}
    failed: dict[str, str] = {}

    def identify(node: Node) -> Node:
        earlier = known.get(node.vm_id)
        if earlier and earlier.address != node.address:
            earlier = None
        if earlier and earlier.physical_host and earlier.size:
            return earlier
        try:
            configuration = cards[node.vm.lower()].ip_configuration
            port = shapes.port_of(session.finish(asked.port(configuration), _IDENTIFY_S).body)
            if not port:
                raise RunError("no port of the public address leads to it")
            answer = session.finish(requests.run_script(node.vm, shapes.IDENTITY_SCRIPT), _IDENTIFY_S)
            return shapes.identified(replace(node, port=port), answer.body)
        except HpcacceptError as fault:
            if earlier:  # its key and port hold; the next call asks again
                return earlier
            failed[node.name] = fault.message
            return node

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        nodes = tuple(pool.map(identify, found))
    _write(session, cluster, folder, asked, nodes)
    names = {node.name for node in nodes}
    return Hosts(nodes, failed, tuple(node.name for node in before if node.name not in names))


def _write(session: Session, cluster: Cluster, folder: Path, asked: requests.Nodes, nodes: tuple[Node, ...]) -> None:
    address = session.find(asked.address()) or {}
    public = str((address.get("properties") or {}).get("ipAddress", ""))
    key = cluster.ssh_public_key.with_suffix("") if cluster.ssh_public_key else folder.absolute() / PRIVATE
    ssh = shapes.ssh_files(nodes, public, cluster.admin, key, folder.absolute())
    kept = {_FILE: dumps(_Kept(nodes)).encode()}
    replace_files({**shapes.host_files(nodes), **ssh, **kept}, folder)


def read_nodes(folder: Path) -> tuple[Node, ...]:
    """What the last ``refresh`` found; empty where there was none, or where its file is not understood."""
    try:
        return from_plain(loads(read_bytes(folder / _FILE)), _Kept).nodes
    except (OSError, ValueError):
        return ()
