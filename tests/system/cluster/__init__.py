"""A real Slurm on one machine: every daemon is Debian's own, every file is in one folder, `down` leaves nothing."""

from .daemons import ClusterError
from .slurm import VirtualSlurm

__all__ = ["ClusterError", "VirtualSlurm"]
