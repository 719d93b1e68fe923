"""May the cluster's folder be there, and what is put into it before the first daemon starts?"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from . import slurm_conf
from .daemons import ClusterError

if TYPE_CHECKING:
    from .slurm_conf import Layout


def check(folder: Path) -> None:
    """Refuse, with a sentence, what would fail later in a daemon's log."""
    if os.geteuid() != 0:
        raise ClusterError("the virtual Slurm needs root: its nodes are mount namespaces of their own")
    if not all(character.isalnum() or character in "/-_." for character in str(folder)):
        raise ClusterError(f'"{folder}": only letters, digits and "/-_." can stand in slurm.conf')
    if len(os.fsencode(folder)) > 60:
        raise ClusterError(f'"{folder}" is too long: UNIX sockets below it must end by byte 107; use one under /run')
    if folder.exists() and any(folder.iterdir()):
        raise ClusterError(f'"{folder}" is not empty; is a cluster up? "make cluster-down" ends the default one')
    if not folder.parent.is_dir():
        raise ClusterError(f'"{folder.parent}" is no folder; make it first, or use one under /run')
    for parent in folder.parents:
        found = parent.stat()
        shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid != 0 or shared or not found.st_mode & stat.S_IXOTH:
            raise ClusterError(
                f'"{parent}" must be owned by root, not writable by others and open to all, or munged refuses to put'
                " its socket below it; use a folder under /run"
            )


def fill(layout: Layout, environment: dict[str, str]) -> None:
    """Write every file that the daemons and the login shell read; the folder exists and is empty but for the state."""
    folder = layout.folder
    parts = [f"{node}/{part}" for node in layout.node_names for part in ("spool", "tmp")]
    for name in ["munge", "controller", "log", "devices", "database", *layout.node_names, *parts]:
        (folder / name).mkdir()
        (folder / name).chmod(0o755)  # whatever the umask: munged wants its socket reachable
    for index in range(layout.gpus + (slurm_conf.SLICES if layout.strict else 0)):
        # slurmd wants a device; a link to one needs no right to make devices.
        (folder / "devices" / f"nvidia{index}").symlink_to("/dev/null")
    if layout.pyxis:
        (folder / "pyxis").mkdir()
        _write(folder / "plugstack.conf", slurm_conf.plugstack_conf(layout))
        for node in layout.node_names:
            for name in ("pyxis", "enroot"):
                (folder / node / name).mkdir()
                (folder / node / name).chmod(0o1777)
            _write(folder / node / "enroot.conf", slurm_conf.enroot_conf(layout, node))
    _write(folder / "slurm.conf", slurm_conf.slurm_conf(layout))
    _write(folder / "gres.conf", slurm_conf.gres_conf(layout))
    if layout.leaf_nodes:
        _write(folder / "topology.conf", slurm_conf.topology_conf(layout))
    _write(folder / "cgroup.conf", slurm_conf.cgroup_conf())
    _write(folder / "slurmdbd.conf", slurm_conf.slurmdbd_conf(layout), mode=0o600)
    _write(folder / "hosts", slurm_conf.hosts(layout, Path("/etc/hosts").read_text()))
    _write(folder / "env.sh", slurm_conf.env_sh(environment))
    _write(folder / "munge" / "key", os.urandom(128), mode=0o400)


def _write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a new file that never had another mode than this one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
