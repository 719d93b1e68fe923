"""What the doctor asks of a node, and what the node says of itself."""

from __future__ import annotations

from dataclasses import dataclass

#: What ``ProbeRequest.folder`` holds when the job starts: the login side's own words.
FROM_LOGIN = "from-login"


@dataclass(frozen=True)
class ProbeRequest:
    """Everything that a node is asked.

    Attributes:
        token: that stands in the files of this examination.
        folder: on the file system of the runs; empty: it is not looked at.
        gpus: that were asked for on each node; with 0 the driver is left alone.
        torch: who imports torch: ``all``; ``first``: rank 0 alone, where all ranks are on one machine; ``none``.
        timeout_s: for each question that may hang: torch, the driver, the start of MPI.
        seen_within_s: how long a file of another host may take to be seen: NFS asks at most once in three seconds by default for what
            a file holds (acregmin of nfs(5)).
    """

    token: str = ""
    folder: str = ""
    gpus: int = 0
    torch: str = "all"
    timeout_s: float = 60.0
    seen_within_s: float = 5.0


@dataclass(frozen=True)
class NodeFacts:
    """What one process on a node found there. Texts that begin with ``no_`` say why something is not known or does not work.

    Attributes:
        node: its name.
        rank: of the process in the job.
        version: of hpcaccept.
        done: True in its last words.
        python: version of the interpreter.
        system: name of the image's, or the host's, operating system.
        boot_id: names the running kernel.
        cores: processors' worth of time that may be used.
        cores_here: processors that the kernel runs.
        cores_given: that the scheduler says it gave; 0 where there is none.
        memlock_bytes: memory that may be locked; -1: without limit; None: not known.
        infiniband: adapters that the kernel has.
        shm_bytes: size of ``/dev/shm``; 0 where there is none.
        no_shm: why nothing can be written there.
        tmp: folder for temporary files.
        tmp_free_bytes: space in it.
        no_tmp: why nothing can be written there.
        no_locale: what is wrong with the character encoding.
        gpus: that the driver calls healthy, that the job may see and that the runtime can start; None: not asked.
        no_gpus: why there are fewer than asked for, in the driver's words.
        gpus_remedy: what to do when the driver cannot be asked at all.
        no_read: why the file of the login side is not seen; empty: it is.
        no_write: why a file cannot be left for the login side; empty: it was.
        torch: version; empty: not imported.
        torch_cuda: the CUDA it was built for; empty: for CPUs.
        torch_gpus: that torch sees.
        nccl: version that torch was built with.
        no_torch: why it cannot be imported.
        mpi4py: version.
        mpi: what the MPI library calls itself.
        world: ranks that found each other; 0: MPI has not started.
        met: different nodes whose words came through MPI.
        no_mpi: why it could not start.
        mpi_begun: True from the moment MPI was asked to start: whoever says no more after that, was ended by it.
        world_asked: ranks that the launcher says it started; 0 when it does not say.
        pmix_host: version of the PMIx server that started the process; empty when none did or it does not say.
        pmix_image: version of the PMIx library that MPI uses.
        pmix_misfit: why these two do not understand each other.
    """

    node: str = ""
    rank: int = 0
    version: str = ""
    done: bool = False
    python: str = ""
    system: str = ""
    boot_id: str = ""
    cores: float = 0.0
    cores_here: int = 0
    cores_given: int = 0
    memlock_bytes: int | None = None
    infiniband: int = 0
    shm_bytes: int = 0
    no_shm: str = ""
    tmp: str = ""
    tmp_free_bytes: int = 0
    no_tmp: str = ""
    no_locale: str = ""
    gpus: int | None = None
    no_gpus: str = ""
    gpus_remedy: str = ""
    no_read: str = ""
    no_write: str = ""
    torch: str = ""
    torch_cuda: str = ""
    torch_gpus: int = 0
    nccl: str = ""
    no_torch: str = ""
    mpi4py: str = ""
    mpi: str = ""
    world: int = 0
    met: int = 0
    no_mpi: str = ""
    mpi_begun: bool = False
    world_asked: int = 0
    pmix_host: str = ""
    pmix_image: str = ""
    pmix_misfit: str = ""


@dataclass(frozen=True)
class Clock:
    """How far the clock of a node is from that of the login node.

    Attributes:
        node: its name.
        ahead_s: at least how far, where question and answer bound it; negative: behind.
        bound_s: half of the way there and back: the truth is within ``ahead_s`` ± this.
    """

    node: str
    ahead_s: float
    bound_s: float


@dataclass(frozen=True)
class NoAnswer:
    """Nodes that did not speak, and why as far as it is known.

    Attributes:
        nodes: their names; empty when even these are not known.
        cause: a sentence.
        remedy: what to do.
    """

    nodes: tuple[str, ...]
    cause: str
    remedy: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """Everything that was heard of the nodes.

    Attributes:
        nodes: those that spoke.
        clocks: of those that answered quickly enough to tell.
        silent: those that did not, grouped by cause.
        waited_s: from the start of the job to its last word.
        begun: False when the job waited in the queue until it was taken back: nothing is known of its nodes then.
        asked: processes that were started: one for each node, or for each rank that stands for one.
        stderr: what launcher, containers and MPI wrote, where some were silent or MPI ended them.
    """

    nodes: tuple[NodeFacts, ...]
    clocks: tuple[Clock, ...] = ()
    silent: tuple[NoAnswer, ...] = ()
    waited_s: float = 0.0
    begun: bool = True
    asked: int = 1
    stderr: str = ""
