"""The virtual Slurm from a shell: `python3 tests/system/cluster/virtual_slurm.py up|down|status|env`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: let "from .slurm" mean the file beside this one (PEP 366)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = "cluster"

from .daemons import ClusterError
from .slurm import VirtualSlurm

__all__ = ["ClusterError", "VirtualSlurm", "main"]

DEFAULT_FOLDER = Path("/run/hpcaccept-virtual-slurm")


def main(arguments: list[str] | None = None) -> int:
    """0: done. 1: it could not be done, or `status` found a dead daemon; a sentence says why."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    if options.command == "up":
        if (folder / "state.json").exists() and not VirtualSlurm.load(folder).dead():
            print(f"It is up already, as it was asked for then.\n{_usage(VirtualSlurm.load(folder))}")
            return 0
        print(_usage(VirtualSlurm.up(folder, nodes=options.nodes, accounting=options.accounting, pyxis=options.pyxis)))
        return 0
    if options.command == "down":
        if not folder.exists():  # so that "make cluster-down" can be typed at any time
            print(f'no virtual Slurm in "{folder}": nothing to do')
            return 0
        VirtualSlurm.load(folder).down()
        print(f'the virtual Slurm has ended and "{folder}" is removed')
        return 0
    cluster = VirtualSlurm.load(folder)
    if options.command == "env":
        print((cluster.folder / "env.sh").read_text(), end="")
        return 0
    dead = cluster.dead()
    health = f"dead: {', '.join(dead)}" if dead else "all daemons run"
    print(f"{len(cluster.node_names)} nodes in {cluster.folder}: {health}")
    return 1 if dead else 0


def _usage(cluster: VirtualSlurm) -> str:
    nodes = len(cluster.node_names)
    return f"""\
{nodes} virtual nodes are up: {", ".join(cluster.node_names)}. Type:

  source {cluster.folder}/env.sh
  srun -N{nodes} hostname
  python -m hpcaccept submit --nodes {nodes}
  make cluster-down"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="virtual_slurm.py", description="A real Slurm on this machine, by hand.")
    parser.add_argument("command", choices=["up", "down", "status", "env"])
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where all its files are (%(default)s)")
    parser.add_argument("--nodes", type=int, default=4, help="up: number of nodes (%(default)s)")
    parser.add_argument("--accounting", action="store_true", help="up: MariaDB and slurmdbd too, so that sacct works")
    parser.add_argument(
        "--pyxis", action="store_true", help="up: srun --container-image, where Pyxis and Enroot are installed"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
