"""What a launcher declares of itself, so that nobody need know it by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LauncherTraits:
    """What holds of a launcher wherever it is used. The defaults are those of one that starts its ranks itself.

    Attributes:
        provides: what a container runtime or a look of the doctor may need: ``sbatch`` (Slurm's commands), ``srun`` (steps with its
            options), ``mpiexec`` (one on this machine starts the ranks), ``ssh`` (named machines), ``container`` (ranks enter
            an image), ``one machine`` (all ranks of a step are here).
        priority: place in the order that ``--launcher auto`` tries, highest first; 0: only when it is named.
        summary: what ``--help`` says beside its name.
        virtual: True when its nodes are names for parts of this machine.
        names_nodes_late: True when the names of the nodes are known only inside the job.
        needs_nodelist: True when every node must be named, and none can be left out.
        enters_first: True when a step of its own asks which nodes can be entered, in a container; its lines begin with their task.
        relays_input: True when what is said to its command reaches the ranks of every node.
        try_by_hand: a command that starts anything the same way.
        look_at_node: a command that tells more of a node that says nothing, with NAME for its name; empty: there is none.
        chatter: how lines begin by which its command only tells what it does.
    """

    provides: frozenset[str] = frozenset()
    priority: int = 0
    summary: str = ""
    virtual: bool = False
    names_nodes_late: bool = False
    needs_nodelist: bool = False
    enters_first: bool = False
    relays_input: bool = False
    try_by_hand: str = "mpiexec -n 1 hostname"
    look_at_node: str = ""
    chatter: str = ""
