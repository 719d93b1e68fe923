"""One rank of a step, and how it speaks of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcaccept import checks
from hpcaccept.measure.context import RankPlacement
from hpcaccept.model.plan import Step
from hpcaccept.model.record import Interruption, RankStopped, Record
from hpcaccept.model.suite import CheckSpec
from hpcaccept.rank.witness import testimony
from hpcaccept.store.journal import Journal


@dataclass
class Rank:
    """One rank of a step, from its first word to its last."""

    step: Step
    journal: Journal
    node: str
    number: int
    place: RankPlacement | None = None
    current: CheckSpec | None = None
    model: str = ""
    image: str = ""
    imported: dict[str, str] = field(default_factory=dict)
    outputs: Path = Path()
    queue: Any = None  # MPI communicator of the ranks on this kernel: those that measure in turn

    def record(self, spec: CheckSpec, outcome: str, **more: Any) -> Record:
        """A record of this rank."""
        return Record(
            check=spec.name,
            revision=kind.revision if (kind := checks.find(spec.name)) else 0,
            step=self.step.id,
            rank=self.number,
            node=self.node,
            device=self._device(),
            outcome=outcome,  # type: ignore[arg-type]
            device_model=self.model,
            image=self.image,
            **more,
        )

    def _device(self) -> str:
        """``cuda:3``; ``cpu``, or ``cpu:1`` where several CPU ranks share a node.

        The number is that of the place, which torch's is not where a GPU before it was lost.
        """
        if self.place is None:
            return self.step.device
        kind = self.place.device.partition(":")[0]
        return kind if kind == "cpu" and len(self.place.node_ranks) == 1 else f"{kind}:{self.place.local_rank}"

    def last_words(self, cause: str, by_peer: bool, beat: str, interruption: Interruption) -> None:
        """Called by the watch thread: what this rank was doing when it was ended."""
        if self.current is None:
            self.journal.write_last(RankStopped(cause, by_peer, beat))
        else:
            self.journal.write_last(
                self.record(
                    self.current,
                    "error",
                    cause=cause,
                    cut_short=True,
                    by_peer=by_peer,
                    beat=beat,
                    interruption=interruption,
                ),
                testimony(self.number, self.step.ranks, interruption),
            )
