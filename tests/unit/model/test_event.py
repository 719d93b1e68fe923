"""What the driver says of a job has a sentence, whatever its kind."""

from __future__ import annotations

from typing import get_args

import pytest

from hpcaccept.model.event import Event, Kind


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_event_has_a_sentence(kind: Kind) -> None:
    said = Event(
        kind, "2026-11-30T12:00:00+00:00", step="03", nodes=("node1",), check="matmul", detail="why", remedy="do"
    )
    assert said.sentence.endswith("(node1): matmul: why → do")


def test_many_nodes_are_counted() -> None:
    said = Event("started", "2026-11-30T12:00:00+00:00", nodes=tuple(f"n{i}" for i in range(1000)))
    assert said.sentence == "the driver started (1,000 nodes)"
