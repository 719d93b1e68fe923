"""What one rank leaves behind for one check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["measured", "not_run", "error"]
#: What kept a rank from saying what it measured: ``stopped``, it saw a hole in its own time (SIGSTOP, a frozen virtual machine);
#: ``deadline``, it was overdue or waited in vain; ``terminated``, a SIGTERM ended it; ``stray``, it found itself in
#: another MPI world than the step's. Empty: something else, or nothing.
Interruption = Literal["", "stopped", "deadline", "terminated", "stray"]
#: The fact by which a check says that somebody else was using the device, and who.
DISTURBED = "disturbed"
#: Facts of the hour, which every rank states of every check: how the processors were used meanwhile, why the measurement had to share
#: them, and what a quota took away. The last two only where there is something to say.
CPU_USE, CONTENDED, CPU_QUOTA = "cpu_use", "contended", "cpu_quota"
#: Beside CONTENDED, a number: the largest share of a rate that this company can have cost. What lost more is slow by itself.
COMPANY_COST = "company_cost"
#: What CONTENDED says where the measurement was interrupted rather than shared.
STOPPED = "the rank was stopped meanwhile and let go on (SIGSTOP, SIGCONT: scontrol suspend, a debugger)"
OF_THE_HOUR = frozenset({CPU_USE, CONTENDED, COMPANY_COST, CPU_QUOTA})


@dataclass(frozen=True)
class Sample:
    """One measured number.

    Attributes:
        metric: name within its check (``rate_flops``).
        value: in the SI unit of the metric; never NaN.
        variant: what distinguishes it within the metric (``fp32``, ``nccl/64MiB``).
        repeat: index of the block or launch it was measured in.
    """

    metric: str
    value: float
    variant: str = ""
    repeat: int = 0


@dataclass(frozen=True)
class Record:
    """What one rank says of one check: what it measured, or why it could not.

    Attributes:
        check: name of the check.
        revision: of the check's method; numbers of different revisions are not compared.
        step: the step (one launch of all its ranks) in which it was measured.
        rank: MPI rank within the step.
        node: name of the node as the scheduler knows it.
        device: ``cuda:3``; ``cpu``, or ``cpu:1`` where several CPU ranks share a node.
        device_id: GPU UUID, or empty.
        device_model: name the driver gives the GPU, or model name of the CPU.
        image: digest of the container image it was measured in, or its name when nobody knows the digest; empty without one.
        outcome: ``measured``, ``not_run`` or ``error``.
        cause: why it was not measured; empty when it was.
        remedy: what to do about the cause.
        code: what the cause is called (``model.finding_code``), where the rank knows more than the outcome says.
        cut_short: True for the last words of a rank that was ended in the middle of the check.
        by_peer: True when another rank's death or hang cut this one short: it is a victim, not a suspect.
        interruption: what kept the rank from finishing, where it knows.
        beat: progress when it was cut short: phase and iteration.
        samples: every repeat.
        unsupported: variant → why this device cannot do it.
        facts: texts, not numbers (driver, kernel, transport …), and what would change the number.
        started_at: UTC, ISO 8601.
        duration_s: wall seconds of the measurement and of comparing the ranks; waiting for a turn and imports not counted.
    """

    check: str
    revision: int
    step: str
    rank: int
    node: str
    device: str
    outcome: Outcome
    device_id: str = ""
    device_model: str = ""
    image: str = ""
    cause: str = ""
    remedy: str = ""
    code: str = ""
    cut_short: bool = False
    by_peer: bool = False
    interruption: Interruption = ""
    beat: str = ""
    samples: tuple[Sample, ...] = ()
    unsupported: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    started_at: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True)
class RankStarted:
    """The first words of a rank: who and where it is.

    Attributes:
        rank: MPI rank within the step.
        size: number of ranks in its MPI world.
        node: name of the node as the scheduler knows it.
        pid: process number on its host.
        python: version of the interpreter inside the image.
        version: of hpcaccept inside the image.
        mpi: version text of the MPI library.
        boot_id: of the kernel it runs on: ranks with the same one share cores.
        cores: processors it may use, quota included.
        ranks_on_host: ranks of this step on the same kernel.
        in_turn: True when those outnumber the cores, so that they measure one after another.
        threads: compute threads it was given.
        host_cores: processors that those ranks have together, quotas included; 0 in records that do not say.
    """

    rank: int
    size: int
    node: str
    pid: int
    python: str
    version: str
    mpi: str
    boot_id: str
    cores: float
    ranks_on_host: int
    in_turn: bool
    threads: int
    host_cores: float = 0.0


@dataclass(frozen=True)
class CheckStarted:
    """A rank begins a check."""

    check: str


@dataclass(frozen=True)
class ModuleImported:
    """A rank has imported a module for the first time, in so many seconds."""

    module: str
    seconds: float


@dataclass(frozen=True)
class RankStopped:
    """The last words of a rank that was ended outside a check.

    Attributes:
        cause: why it ends.
        by_peer: True for a victim.
        beat: phase it was in.
    """

    cause: str
    by_peer: bool
    beat: str = ""


@dataclass(frozen=True)
class GroupProgress:
    """How far a rank has come in the collectives of one group of ranks.

    Attributes:
        group: its name, the same on all of its ranks.
        everyone: True for the group of all ranks of the step.
        entered: number of the last collective that the rank has entered, counted from 1; 0: none.
        operation: the last operation it has begun (``gloo:all_reduce``).
        waits: True while that one is not over.
    """

    group: str
    everyone: bool
    entered: int
    operation: str
    waits: bool


@dataclass(frozen=True)
class CollectivesSeen:
    """What torch's flight recorder says of a rank that is ended: how far it has come in each group that is open."""

    groups: tuple[GroupProgress, ...]


@dataclass(frozen=True)
class NcclRas:
    """What NCCL's RAS service answered a rank whose deadline had passed: text, as it came, of the whole job."""

    status: str


@dataclass(frozen=True)
class RankExited:
    """How the process of a rank ended, where it was not with exit code 0; written by its parent (``hpcaccept.rank.guard``).

    Attributes:
        status: exit code; negative: the signal that ended it.
        at: when its parent saw it, seconds since 1970 by the clock of its host.
    """

    status: int
    at: float


@dataclass(frozen=True)
class RankFinished:
    """A rank has said everything it had to say."""


@dataclass(frozen=True)
class UnreadableLine:
    """A line of a journal that cannot be read.

    Attributes:
        file: name of the journal.
        text: its raw beginning, or what is wrong with it.
        node: whose journal it is, where that is known.
        line: its number within the journal; 0 where it is not one line that is wrong.
    """

    file: str
    text: str
    node: str = ""
    line: int = 0
