"""enroot/hooks.d/72-rank-apart.sh: real ranks, each in a user namespace of its own as Enroot makes them, exchange large messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcaccept.launch.job.this_machine import mpiexec

pytestmark = pytest.mark.mpi
HOOK = Path(__file__).parents[2] / "enroot" / "hooks.d" / "72-rank-apart.sh"
# As root, on one core, without asking a scheduler: Open MPI 4, then 5.
ANYWHERE = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_plm": "isolated",
    "OMPI_MCA_pml": "ob1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
# Open MPI 4.1.4 without the hook: 1 MB arrives, 4 MB and more never do.
EXCHANGE = """
from mpi4py import MPI
world, message = MPI.COMM_WORLD, bytearray(8_000_000)
if world.rank == 0:
    world.Send(b"x" * len(message), 1)
else:
    world.Recv(message, 0)
    print(world.size, message.count(b"x"))
"""
# Fills the environment of a rank as Enroot does: the hook writes it into a file.
RANK = """
set -euo pipefail
export ENROOT_ENVIRON=$1.$$
: >"$ENROOT_ENVIRON"
"$2"
while read -r line; do export "$line"; done <"$ENROOT_ENVIRON"
exec unshare --user --map-root-user "${@:3}"
"""


def test_ranks_in_containers_of_their_own_exchange_large_messages(tmp_path: Path) -> None:
    try:
        tried = subprocess.run(
            ["unshare", "--user", "--map-root-user", "true"], capture_output=True, text=True, timeout=10, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if tried.returncode:
        pytest.skip(f"needs user namespaces: {tried.stderr.strip()}")
    rank = ["bash", "-c", RANK, "bash", str(tmp_path / "environ"), str(HOOK), sys.executable, "-c", EXCHANGE]
    ended = subprocess.run(
        [mpiexec(), "-n", "2", *rank],
        env={**os.environ, **ANYWHERE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "2 8000000\n"
