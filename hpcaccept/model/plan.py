"""What will be run: suite × nodes × image, as jobs and their steps. Pure, printable, and what the dry run shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcaccept.model.suite import CheckSpec, Suite

#: As many nodes as a Slurm controller takes (MAX_SLURM_NODES, 65,533), and more ranks than any node has GPUs or cores.
MOST_NODES, MOST_RANKS = 65_533, 4096


def _must_be_possible(**numbers: int) -> None:
    """Raises ValueError for more than there can be: a plan is a file, and what reads it counts up to these."""
    for name, number in numbers.items():
        most = MOST_NODES if name == "nodes" else MOST_RANKS
        if not 0 <= number <= most:
            raise ValueError(f"{name} is {number:,}, expected 0 to {most:,}")


@dataclass(frozen=True)
class Image:
    """The container that the ranks enter.

    Attributes:
        runtime: module name in hpcaccept.container (``none``, ``pyxis`` …).
        reference: image name, digest or path of a ``.sqsh``; empty without a container.
        mounts: ``SRC:DST[:FLAGS]``.
        python: interpreter to start inside.
        digest: ``sha256:…`` of the image's manifest, or of the bytes of a ``.sqsh``; empty when nobody could tell.
        env: variables that win over those of the image. Their values travel in the environment, never on a command line.
        workdir: where commands start inside; empty: where the image says.
        writable: True when commands may write into the image's file system, for as long as the container lives.
        entrypoint: True when the image's own entry point is run first.
        name: of the container that the steps of one job share; no two jobs may, or one would measure in the other's image.
    """

    runtime: str = "none"
    reference: str = ""
    mounts: tuple[str, ...] = ()
    python: str = "python3"
    digest: str = ""
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = ""
    writable: bool = False
    entrypoint: bool = False
    name: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What launchers start commands with for this image: what was asked for, and which image it is."""
        named = {"HPCACCEPT_IMAGE": self.reference, "HPCACCEPT_IMAGE_DIGEST": self.digest}
        return {**self.env, **named} if self.reference else {}


def gpus_in_words(count: int, gpu_type: str) -> str:
    """As ``--gpus-per-node`` takes it, of hpcaccept and of Slurm: ``8``, ``h100:8``."""
    return f"{gpu_type}:{count}" if gpu_type else str(count)


@dataclass(frozen=True)
class Request:
    """What was asked for. What is expected comes from here, never from what happens to be visible.

    Attributes:
        nodes: how many nodes.
        gpus_per_node: GPUs that each node must have; 0 asks for none.
        gpu_type: which of them, as the scheduler calls it (``h100``, a slice ``1g.10gb``); empty: any.
        ranks_per_node: MPI ranks per node: one per GPU, else one.
        nodelist: names in ClusterShell or Slurm notation, empty: the scheduler chooses.
        exclude: names that must not be used.
        partition: of the scheduler.
        account: of the scheduler.
        time_s: time limit of the job, 0: the plan's own estimate.
        slurm: options of sbatch by their long name, without the dashes.
        mpi: ``srun --mpi=`` type; empty: the launcher starts MPI by itself.
        keep_variables: names that the job sees although they look like secrets (``config.private_variables``).
    """

    nodes: int
    gpus_per_node: int = 0
    ranks_per_node: int = 1
    nodelist: str = ""
    exclude: str = ""
    partition: str = ""
    account: str = ""
    time_s: float = 0.0
    slurm: dict[str, str] = field(default_factory=dict)
    mpi: str = "pmix"
    keep_variables: tuple[str, ...] = ()
    gpu_type: str = ""

    @property
    def gpus(self) -> str:
        """As ``--gpus-per-node`` takes it; empty when none were asked for."""
        return gpus_in_words(self.gpus_per_node, self.gpu_type) if self.gpus_per_node else ""

    def __post_init__(self) -> None:
        _must_be_possible(nodes=self.nodes, gpus_per_node=self.gpus_per_node, ranks_per_node=self.ranks_per_node)

    @property
    def device(self) -> str:
        """``cuda`` when GPUs were asked for, else ``cpu``."""
        return "cuda" if self.gpus_per_node else "cpu"


@dataclass(frozen=True)
class Step:
    """One launch: a group of checks that share their processes.

    Attributes:
        id: two digits, in the order of launching.
        nodes: names, in the order in which the launcher places ranks (block distribution).
        ranks_per_node: MPI ranks on each.
        gpus_per_node: GPUs that each node must have.
        checks: in the order in which they run. A step without checks asks only whether every node can be entered.
        start_deadline_s: seconds from the launch until MPI has started on all nodes (image pull included).
        gpu_type: see Request.
        virtual: True when nodes are groups of ranks on one machine (rank ``r`` belongs to ``nodes[r // ranks_per_node]``);
            False when each node says its own name.
    """

    id: str
    nodes: tuple[str, ...]
    ranks_per_node: int
    gpus_per_node: int
    checks: tuple[CheckSpec, ...]
    start_deadline_s: float
    virtual: bool = False
    gpu_type: str = ""

    def __post_init__(self) -> None:
        _must_be_possible(gpus_per_node=self.gpus_per_node, ranks_per_node=self.ranks_per_node)

    @property
    def ranks(self) -> int:
        """Ranks of the whole step."""
        return len(self.nodes) * self.ranks_per_node

    @property
    def gpus(self) -> str:
        """As ``--gpus-per-node`` takes it; empty when none were asked for."""
        return gpus_in_words(self.gpus_per_node, self.gpu_type) if self.gpus_per_node else ""

    @property
    def device(self) -> str:
        """``cuda`` when GPUs were asked for, else ``cpu``."""
        return "cuda" if self.gpus_per_node else "cpu"


@dataclass(frozen=True)
class Plan:
    """One run: one job whose steps follow from its suite.

    Attributes:
        run_id: name of the run folder.
        created_at: UTC, ISO 8601.
        version: of hpcaccept on the login side.
        commit: commit of hpcaccept, with ``-dirty`` when the tree was changed; empty when nobody knows.
        launcher: module name in hpcaccept.launch.
        request: what was asked for.
        suite: resolved, overrides included.
        image: the container.
        start_deadline_s: see Step.
        left_out: checks that the suite has and the run does without, to fit a budget.
    """

    run_id: str
    created_at: str
    version: str
    commit: str
    launcher: str
    request: Request
    suite: Suite
    image: Image
    start_deadline_s: float
    left_out: tuple[str, ...] = ()

    def first_step(self, nodes: tuple[str, ...], *, virtual: bool = False) -> Step:
        """All checks of the suite in one step: torch is imported once per rank for the whole run."""
        return Step(
            id="00",
            nodes=nodes,
            ranks_per_node=self.request.ranks_per_node,
            gpus_per_node=self.request.gpus_per_node,
            checks=self.suite.checks,
            start_deadline_s=self.start_deadline_s,
            virtual=virtual,
            gpu_type=self.request.gpu_type,
        )
