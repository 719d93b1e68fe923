"""What a scheduled run consists of: the content of ``.hpcaccept/run.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["min", "max"]
Format = Literal["text", "csv", "jsonl"]


@dataclass(frozen=True)
class MetricRule:
    """Stop when a number of the log has not improved for a while.

    Attributes:
        name: of the metric: a column of a CSV file, a key of JSON lines; in text it is only shown.
        file: relative to the run's folder of work; ``log``: what the command prints.
        format: of the file.
        pattern: of a line of text, with the groups ``value`` and, where lines have one, ``step``.
        step: column or key of the step; empty: readings are counted.
        mode: whether less or more is better.
        min_delta: smallest change that counts as an improvement.
        patience: steps without an improvement after which the run is stopped.
    """

    name: str
    file: str = "log"
    format: Format = "text"
    pattern: str = ""
    step: str = ""
    mode: Mode = "min"
    min_delta: float = 0.0
    patience: int = 50


@dataclass(frozen=True)
class StopRules:
    """When a run is stopped; its results are kept first.

    Attributes:
        deadline: ISO 8601 with offset; empty: none.
        max_hours: of running time, pauses not counted.
        max_usd: of the whole run.
        idle_gpu_minutes: minutes during which no GPU was used.
        metric: that must improve.
    """

    deadline: str = ""
    max_hours: float | None = None
    max_usd: float | None = None
    idle_gpu_minutes: float | None = None
    metric: MetricRule | None = None


@dataclass(frozen=True)
class Rental:
    """Which machine may be rented.

    Attributes:
        image: reference, with tag or digest.
        disk_gb: of the instance.
        filter: query as of ``hpcaccept vast search``.
        max_price: USD per hour.
        premium: how much dearer than the cheapest offer one may be, as a share; None: any.
        load_s: until the image runs and can be reached.
        key_file: with the key of the account; empty: as ``hpcaccept vast`` finds it.
        upload_mbit_s: of the link to rented machines, for the estimate; None: as the last upload was.
    """

    image: str = ""
    disk_gb: float = 40.0
    filter: str = ""
    max_price: float | None = None
    premium: float | None = None
    load_s: float = 1800.0
    key_file: str = ""
    upload_mbit_s: float | None = None


@dataclass(frozen=True)
class Recipe:
    """What is sent, what is run, and when it is stopped.

    Attributes:
        command: for bash, started in a copy of the working tree.
        send: ``.`` is the working tree as git sees it; others are folders and files beside it.
        exclude: patterns of rsync that are neither sent nor fetched.
        allow_secrets: files that look like secrets and are none.
        python: interpreter; its folder comes first in PATH. Empty: as the machine has it.
        requirements: frozen list that an environment is made from; empty: none is made.
        cuda: least version of CUDA that the driver must support; empty: any.
        cudnn: least version of cuDNN that torch must have; empty: any.
        grace_s: seconds between SIGTERM and SIGKILL, for the last checkpoint.
        latest_h: hours after its time until which a run may still begin.
        restart: goes on from the checkpoint, elsewhere where need be, when its machine is lost.
        slurm: options of sbatch.
        rental: which machine may be rented.
        stop: rules.
    """

    command: str
    send: tuple[str, ...] = (".",)
    exclude: tuple[str, ...] = ()
    allow_secrets: tuple[str, ...] = ()
    python: str = ""
    requirements: str = ""
    cuda: str = ""
    cudnn: str = ""
    grace_s: float = 30.0
    latest_h: float = 24.0
    restart: bool = False
    slurm: dict[str, str] = field(default_factory=dict)
    rental: Rental = field(default_factory=Rental)
    stop: StopRules = field(default_factory=StopRules)
