"""The leaf switch or block of each node, so that an isolation can blame a leaf: from a file of the site, or else from Slurm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept import launch
from hpcaccept.bounded import read_text
from hpcaccept.errors import LaunchError, NotUnderstood, UsageError, install_hint
from hpcaccept.parse.slurm.topology import parse_topology, parse_topology_file
from hpcaccept.transport.slurm import ask_slurm

if TYPE_CHECKING:
    from hpcaccept.model.plan import Plan

_FORM = "Write a topology.conf (SwitchName=leaf1 Nodes=node[01-16]; BlockName=…) or a topology.yaml of Slurm."
_MOST_BYTES = 16 * 1024 * 1024


def leaves_of(plan: Plan, file: str = "") -> dict[str, str]:
    """Node → leaf; empty where nobody knows: then no leaf is ever blamed.

    Args:
        plan: of the isolation; its launcher says whether there is a Slurm to ask.
        file: of the site, in place of what Slurm says.

    Raises:
        UsageError: the file cannot be read, or is no topology.
    """
    if file:
        return _from_file(Path(file))
    if "sbatch" not in launch.load(plan.launcher).TRAITS.provides:
        return {}
    try:
        done = ask_slurm(["scontrol", "show", "topology"])
        return parse_topology(done.stdout) if done.ok else {}
    except (LaunchError, NotUnderstood):
        return {}  # a flat network, or a dry run away from the cluster


def _from_file(file: Path) -> dict[str, str]:
    try:
        text = read_text(file, follow=True, most=_MOST_BYTES)
    except OSError as fault:
        raise UsageError(f"--topology: cannot read {file}: {fault.strerror}.", _FORM) from None
    except UnicodeDecodeError as fault:
        raise UsageError(f"--topology: {file} is not a text: {fault}.", _FORM) from None
    try:
        found = parse_topology_file(_yaml(text, file)) if file.suffix in (".yaml", ".yml") else parse_topology(text)
    except NotUnderstood as fault:
        raise UsageError(f"--topology: {file}: {fault.message}", _FORM) from None
    if not found:
        raise UsageError(f"--topology: {file} names no leaf of any node.", _FORM)
    return found


def _yaml(text: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise UsageError(f"--topology: {file} is YAML, and PyYAML is missing.", install_hint("k8s")) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as fault:
        raise UsageError(f"--topology: {file} is not YAML: {str(fault)[:300]}.", _FORM) from None
