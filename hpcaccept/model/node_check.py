"""The nouns of ``hpcaccept node-check``: what a node must have, what was found on it, and whether a job may run there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: ``hpcaccept node-check``'s JSON, docs/reference/node-check.schema.json.
SCHEMA = 1
#: The outcomes of ``model.verdict`` that a look at one node can have. WARN needs a comparison, and there is none here.
Outcome = Literal["PASS", "FAIL", "NOT_RUN", "ERROR"]
Verdict = Literal["FIT", "NOT_FIT", "UNKNOWN"]
#: What comes before the look: nothing in particular, a job that is about to start, a job that has ended.
Phase = Literal["health", "prolog", "epilog"]
PHASES: tuple[Phase, ...] = ("health", "prolog", "epilog")


@dataclass(frozen=True)
class ExpectedMount:
    """A file system that must be there.

    Attributes:
        kind: type of the file system (``nfs4``, ``lustre``); empty: any.
        source: what is mounted; empty: anything.
        writable: False where it may be read-only.
    """

    kind: str = ""
    source: str = ""
    writable: bool = True


@dataclass(frozen=True)
class ExpectedDisk:
    """A folder whose file system must have room.

    Attributes:
        free_bytes: at least so many bytes for ordinary users.
        free_inodes_share: at least this share of its inodes, where it counts them.
    """

    free_bytes: float = float(1 << 30)
    free_inodes_share: float = 0.01


@dataclass(frozen=True)
class Expected:
    """What this node has to have: the request that a gate judges by. None, or an empty value, asks for nothing.

    Attributes:
        gpus: healthy GPUs.
        gpu_model: the name that their driver gives all of them.
        nvlinks: active links of each GPU.
        cores: processors (hardware threads) that are online.
        memory_bytes: MemTotal of the kernel; one part in fifty may be missing, which is what kernels differ by.
        memory_available_share: of it, that must be available: set it where the gate runs on an empty node only.
        ports: RDMA ports that must be active (``mlx5_0/1``).
        rate_gbit: least rate of an active InfiniBand port in Gbit/s.
        interfaces: network interfaces that must be up.
        mounts: file systems, by their mount points.
        disks: folders with room.
        clock: the kernel must say that its clock is synchronised.
        clock_error_s: largest error of the clock that the kernel may state.
        deep: a result of ``node-check --deep`` must be there, fit, and fresh.
        deep_max_age_s: older results say nothing any more.
    """

    gpus: int | None = None
    gpu_model: str = ""
    nvlinks: int | None = None
    cores: int | None = None
    memory_bytes: float | None = None
    memory_available_share: float | None = None
    ports: tuple[str, ...] = ()
    rate_gbit: float = 0.0
    interfaces: tuple[str, ...] = ()
    mounts: dict[str, ExpectedMount] = field(default_factory=dict)
    disks: dict[str, ExpectedDisk] = field(default_factory=lambda: {"/": ExpectedDisk(), "/tmp": ExpectedDisk()})
    clock: bool = True
    clock_error_s: float = 1.0
    deep: bool = False
    deep_max_age_s: float = 7 * 86400.0


@dataclass(frozen=True)
class Item:
    """One thing that was looked at.

    Attributes:
        part: of the gate: ``gpus``, ``kernel log``, ``links``, ``host``, ``disk /``, ``mount /home``, ``deep``.
        what: metric and variant (``gpu_count``, ``faults[Xid 79 at 0000:18:00]``).
        outcome: PASS and FAIL have a value and a limit; NOT_RUN and ERROR say nothing of the hardware.
        code: of the finding; empty for a PASS.
        reason: one sentence with the evidence.
        action: what to do next; empty for a PASS.
        value: in ``unit``.
        unit: SI unit.
        lower: least allowed value.
        upper: largest allowed value.

    Raises:
        ValueError: a PASS that met no limit, or a finding without a code.
    """

    part: str
    what: str
    outcome: Outcome
    code: str = ""
    reason: str = ""
    action: str = ""
    value: float | None = None
    unit: str = ""
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if self.outcome in ("PASS", "FAIL"):
            if self.value is None or (self.lower is None and self.upper is None):
                raise ValueError(f"{self.outcome} of {self.part} {self.what} needs a value and a limit")
            if (self.outcome == "PASS") != self.met:
                raise ValueError(f"{self.outcome} of {self.part} {self.what} with {self.value}")
        if (self.outcome == "PASS") != (not self.code):
            raise ValueError(f"{self.outcome} of {self.part} {self.what} has the code {self.code!r}")

    @property
    def met(self) -> bool:
        """True when the value lies inside; NaN lies nowhere."""
        value = self.value
        if value is None or value != value:
            return False
        return (self.lower is None or value >= self.lower) and (self.upper is None or value <= self.upper)


@dataclass(frozen=True)
class Gate:
    """The verdict on a node.

    Attributes:
        node: its name.
        boot_id: of its kernel.
        at: when, ISO 8601 in UTC.
        phase: what it was asked for.
        job: Slurm's number of the job before or after which it was asked; empty: none.
        verdict: FIT where everything that is expected was looked at and met.
        exit_code: 0, 1 or 3, before ``--on-unknown``.
        seconds: from the start of the process to the verdict.
        reason: the findings in one line; empty when it is fit.
        items: what was looked at, findings first.
        facts: what the node is: GPUs with their serial numbers, versions.
        moved: counters that moved since the snapshot that was taken before the job: name → (before, after).
        schema: of this document.
    """

    node: str
    boot_id: str
    at: str
    phase: Phase
    job: str
    verdict: Verdict
    exit_code: int
    seconds: float
    reason: str
    items: tuple[Item, ...]
    facts: dict[str, str] = field(default_factory=dict)
    moved: dict[str, tuple[float, ...]] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True)
class Deep:
    """What ``node-check --deep`` has measured.

    Attributes:
        at: when it ended, seconds since 1970.
        boot_id: of the kernel it ran on.
        verdict: of the run.
        run: its folder.
        suite: that it measured.
        codes: of its FAILs.
        reason: in one line.
    """

    at: float
    boot_id: str
    verdict: Verdict
    run: str
    suite: str
    codes: tuple[str, ...] = ()
    reason: str = ""


def verdict_of(items: tuple[Item, ...]) -> Verdict:
    """NOT_FIT with one FAIL; FIT where something was judged and everything passed; else UNKNOWN."""
    outcomes = {item.outcome for item in items}
    if "FAIL" in outcomes:
        return "NOT_FIT"
    return "FIT" if outcomes == {"PASS"} else "UNKNOWN"


EXIT_CODES: dict[Verdict, int] = {"FIT": 0, "NOT_FIT": 1, "UNKNOWN": 3}
