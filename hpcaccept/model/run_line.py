"""A run as one line of a list."""

from __future__ import annotations

from dataclasses import dataclass

#: State of a run that nobody can be asked about: its job may be waiting or running.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunLine:
    """A run in a list.

    Attributes:
        run: name of the run.
        created_at: UTC, ISO 8601; empty where the plan cannot be read.
        suite: name of the suite.
        nodes: how many were asked for.
        state: ``queued``, ``running``, ``cancelled``, ``ended``, another state of the launcher's, or ``unknown``.
        verdict: ``ACCEPTED``, ``NOT ACCEPTED`` or ``NOT JUDGED`` of the last report; empty: there is none.
        exit_code: of the last report.
        bad_nodes: those that failed, folded; empty: none, or no report.
        duration_s: from the start of its driver to its end, or until now; None: it has not started.
    """

    run: str
    created_at: str = ""
    suite: str = ""
    nodes: int = 0
    state: str = UNKNOWN
    verdict: str = ""
    exit_code: int | None = None
    bad_nodes: str = ""
    duration_s: float | None = None

    @property
    def over(self) -> bool:
        """True when no job of this run is left that could write into its folder."""
        return self.state not in ("queued", "running", UNKNOWN)
