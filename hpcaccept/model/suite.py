"""A suite: a named list of checks with parameters and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hpcaccept.model.metric import Limit


@dataclass(frozen=True)
class CheckSpec:
    """One check with its parameters, ready to be measured.

    Attributes:
        name: module name of the check.
        params: field of the check → value as TOML gives it; what is absent keeps its default.
        deadline_s: seconds one rank may take, waiting for its turn not counted.
        required: False: shown, but without effect on the exit code.
        origin: the installed package that brings it, as in ``site-checks 1.2``; empty for a check of hpcaccept.
        variants: what its parameters name one by one (number formats, operations): each must get a number, or be called unsupported.
        origins: key of its table → the file of the site (or ``command line``) that has set it; what is absent is the suite's, or a default.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    deadline_s: float = 120.0
    required: bool = True
    origin: str = ""
    variants: tuple[str, ...] = ()
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerRule:
    """How subjects are compared with their peers in the run.

    Attributes:
        enabled: False switches the question off.
        min_subjects: fewer comparable subjects than this cannot say who is slow.
        false_alarm_rate: chance that a run in which all is well blames anybody (the cut follows from the number of
            comparisons).
        floor: smallest relative loss that may be blamed; None: each metric's own floor.
        retests: how often the checks of suspects are launched again, on them and some good nodes; capability is the best launch.
        shared_host_floor: the same where several nodes share one kernel and its cores (virtual nodes).
    """

    FORMER: ClassVar[dict[str, str]] = {"min_units": "min_subjects"}

    enabled: bool = True
    min_subjects: int = 3
    false_alarm_rate: float = 0.01
    floor: float | None = None
    shared_host_floor: float = 0.5
    retests: int = 2


@dataclass(frozen=True)
class Suite:
    """A named list of checks with parameters and limits.

    Attributes:
        name: of the file without ``.toml``.
        about: one sentence.
        checks: in the order in which they run.
        limits: metric key, or the key without its variant → limit.
        baseline: ``required``: a rate without a baseline leaves the run unjudged (exit 3); ``optional``: it is shown.
        peers: the rule for comparisons in the run.
        peer_origins: field of that rule → the file of the site that has set it.
        source: path of the file.
    """

    name: str
    about: str
    checks: tuple[CheckSpec, ...]
    limits: dict[str, Limit] = field(default_factory=dict)
    baseline: Literal["required", "optional"] = "optional"
    peers: PeerRule = PeerRule()
    source: str = ""
    peer_origins: dict[str, str] = field(default_factory=dict)
