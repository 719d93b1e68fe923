"""A matrix: images tried on machines by tests. One file states it; a cell is one image on one machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

#: Where a machine is: this one, a partition or feature of Slurm, a node selector of Kubernetes, a rented GPU model.
Where = Literal["here", "queue", "pods", "rented"]
#: What a test does.
Kind = Literal["imports", "suite", "command", "script", "notebook"]


@dataclass(frozen=True)
class ImageSpec:
    """What is tried: a container image, a virtual environment, modules, or the machine's own Python.

    Attributes:
        name: unique in the file.
        container: reference or path, as ``submit --container-image`` takes it.
        runtime: module name in hpcaccept.container; empty: the usual one.
        venv: folder of a virtual environment that the machine sees.
        modules: of the site, loaded in this order.
        python: interpreter inside; empty: that of the virtual environment, else ``python3``.
        mounts: ``SRC:DST`` for a container.
        env: variables that are set inside.
        cuda: version of CUDA that is in it; empty: none, or not known.
        compute_capabilities: that its GPU code was built for; empty: not known.
        arch: of its processor code (``x86_64``); empty: not known.
        memory_gb: that it needs.
        gpu_memory_gb: that it needs on each GPU.
        gpus: that it needs.
    """

    name: str
    container: str = ""
    runtime: str = ""
    venv: str = ""
    modules: tuple[str, ...] = ()
    python: str = ""
    mounts: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    cuda: str = ""
    compute_capabilities: tuple[str, ...] = ()
    arch: str = ""
    memory_gb: float = 0.0
    gpu_memory_gb: float = 0.0
    gpus: int = 0


@dataclass(frozen=True)
class MachineSpec:
    """Where it is tried.

    Attributes:
        name: unique in the file.
        partition: of Slurm.
        features: of its nodes, all of which are asked for.
        nodelist: names of nodes to choose from.
        account: of Slurm.
        slurm: further options of sbatch.
        node_selector: labels of Kubernetes nodes.
        pvc: claim that pods mount where the runs' folder is.
        namespace: of the pods; empty: the default one.
        gpu_model: to rent, as the marketplace names it.
        gpus: that a cell gets.
        gpu_type: of them, where the scheduler has several.
        driver: version of the GPU driver; empty: not known.
        compute_capability: of its GPUs; empty: not known.
        arch: of its processors; empty: not known.
        memory_gb: that it has; 0: not known.
        gpu_memory_gb: of each GPU; 0: not known.
        usd_per_hour: what an hour of a cell costs; of a rented machine, the most that is paid.
        parallel: cells at the same time; 0: as many as the run allows.
        limit_s: seconds that a cell may take here; 0: the sum of its tests' limits.
    """

    name: str
    partition: str = ""
    features: tuple[str, ...] = ()
    nodelist: str = ""
    account: str = ""
    slurm: dict[str, str] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    pvc: str = ""
    namespace: str = ""
    gpu_model: str = ""
    gpus: int = 0
    gpu_type: str = ""
    driver: str = ""
    compute_capability: str = ""
    arch: str = ""
    memory_gb: float = 0.0
    gpu_memory_gb: float = 0.0
    usd_per_hour: float = 0.0
    parallel: int = 0
    limit_s: float = 0.0

    @property
    def where(self) -> Where:
        """By what was given."""
        if self.gpu_model:
            return "rented"
        if self.node_selector:
            return "pods"
        return "queue" if self.partition or self.features or self.nodelist or self.slurm else "here"


@dataclass(frozen=True)
class CellTest:
    """One thing that is tried in a cell.

    Attributes:
        name: unique in the file.
        imports: modules that must import.
        versions: distribution → what its version must meet (``>=2.5,<3``).
        suite: of hpcaccept, run inside the image.
        command: program and arguments.
        script: of Python.
        notebook: executed by nbclient, no error allowed.
        arguments: of the script.
        output: regular expression that the output must have somewhere.
        limit_s: seconds that the test may take.
        cell_s: seconds that a cell of the notebook may take.
        from_content: True where script, notebook or command are in the content's branch.
        images: patterns of images that it is for; empty: all.
        machines: patterns of machines that it is for; empty: all.
    """

    name: str
    imports: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    suite: str = ""
    command: tuple[str, ...] = ()
    script: str = ""
    notebook: str = ""
    arguments: tuple[str, ...] = ()
    output: str = ""
    limit_s: float = 600.0
    cell_s: float = 120.0
    from_content: bool = False
    images: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """By what was given."""
        return (
            "suite" if self.suite else "command" if self.command
            else "script" if self.script else "notebook" if self.notebook else "imports"
        )  # fmt: skip

    def is_for(self, image: str, machine: str) -> bool:
        """Whether a cell has this test."""
        return matches(image, self.images) and matches(machine, self.machines)


@dataclass(frozen=True)
class Exclusion:
    """Cells that somebody knows to be impossible.

    Attributes:
        why: in words.
        image: pattern.
        machine: pattern.
    """

    why: str
    image: str = "*"
    machine: str = "*"


@dataclass(frozen=True)
class Content:
    """A branch of a repository whose files the tests run.

    Attributes:
        repository: as git takes it.
        branch: branch or tag.
    """

    repository: str
    branch: str


@dataclass(frozen=True)
class Matrix:
    """The whole file.

    Attributes:
        name: of the matrix; earlier runs are found by it.
        images: in the order of the file.
        machines: in the order of the file.
        tests: in the order of the file.
        impossible: by somebody's knowledge.
        content: branch with the tests' files.
        factors: further dimensions: name → values, put into the texts of images and machines where they have ``{name}``.
        parallel: cells at the same time.
        reruns: times that a cell that failed is tried again.
        queue_timeout_s: after which a cell that has not begun is taken back; 0: never.
        nights: within which covering runs cover every pair.
    """

    name: str
    images: tuple[ImageSpec, ...]
    machines: tuple[MachineSpec, ...]
    tests: tuple[CellTest, ...]
    impossible: tuple[Exclusion, ...] = ()
    content: Content | None = None
    factors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parallel: int = 4
    reruns: int = 1
    queue_timeout_s: float = 0.0
    nights: int = 7


@dataclass(frozen=True)
class Cell:
    """One image on one machine.

    Attributes:
        image: with the factors' values filled in.
        machine: with the factors' values filled in.
        factors: name → value.
        tests: that it has.
        impossible: why it cannot be; empty: it can.
    """

    image: ImageSpec
    machine: MachineSpec
    factors: dict[str, str]
    tests: tuple[CellTest, ...]
    impossible: str = ""

    @property
    def row(self) -> str:
        """Its image, and the values of further factors."""
        return " · ".join([self.image.name, *(f"{name}={value}" for name, value in self.factors.items())])

    @property
    def id(self) -> str:
        """``image@machine``, or ``image@machine@python=3.12``; the name of its folder too."""
        values = ",".join(f"{name}={value}" for name, value in self.factors.items())
        return "@".join([self.image.name, self.machine.name, *([values] if values else [])])

    @property
    def test_s(self) -> float:
        """Seconds that its tests may take."""
        return self.machine.limit_s or sum(test.limit_s for test in self.tests)

    @property
    def limit_s(self) -> float:
        """Seconds that it may take, its beginning and end included."""
        if self.machine.where == "rented":
            return self.test_s + RENTING_S
        return self.test_s if self.machine.limit_s else self.test_s + STARTING_S

    @property
    def most_usd(self) -> float:
        """What it costs at most."""
        return self.limit_s / 3600 * self.machine.usd_per_hour


#: Seconds beside the tests: unpacking an image, loading modules, facts.
STARTING_S = 300.0
#: The same of a rented machine: loading the image (2000 s), its proof (180 s), connecting and destroying (180 s).
RENTING_S = 2360.0


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is meant; no patterns mean every one."""
    return not patterns or any(fnmatchcase(name, each) for each in patterns)
