"""The key that logs in to the nodes: the user's own, or one made for this cluster that never leaves this machine."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hpcaccept.app.azure.render import read_public_key
from hpcaccept.errors import RunError
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.provider.azure.config import Cluster

PRIVATE = "id_ed25519"


def public_key_of(cluster: Cluster, folder: Path) -> str:
    """The public half of the key that the nodes let in; a pair is made where neither the user nor an earlier call has one.

    Raises:
        RunError: the folder cannot be written, others may read the private half, or ssh-keygen fails.
    """
    if cluster.ssh_public_key is not None:
        return read_public_key(cluster.ssh_public_key)
    make_pair(folder / PRIVATE, f"hpcaccept-{cluster.name}")
    return read_public_key(folder / f"{PRIVATE}.pub")


def make_pair(private: Path, comment: str) -> None:
    """Make an ed25519 pair unless it is there.

    Raises:
        RunError: as ``public_key_of``.
    """
    try:
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not private.exists():
            # Both halves or none: a kill between the two would leave a private key without its public half.
            beside = private.with_name(f".{private.name}.{os.getpid()}")
            done = ask(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(beside)])
            if not done.ok:
                raise RunError(f"ssh-keygen made no key in {private.parent}: {done.stderr.strip()[-200:]}")
            beside.with_name(f"{beside.name}.pub").replace(private.with_name(f"{private.name}.pub"))
            beside.replace(private)
        mode = stat.S_IMODE(private.stat().st_mode)
    except OSError as fault:
        raise RunError(f"Cannot write a key into {private.parent}: {fault.strerror}.") from None
    if mode & 0o077:
        raise RunError(f"{private} is a private key that others may read (mode {mode:o}).", f"chmod 600 {private}")
