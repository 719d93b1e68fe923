"""How the GPUs of a known board are connected: a table with sources, ``boards.toml``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from hpcaccept.config.toml import read_toml

TABLE = Path(__file__).with_name("boards.toml")


@dataclass(frozen=True)
class Board:
    """What a healthy board shows.

    Attributes:
        name: for people.
        models: of its GPUs, as the driver names them.
        links: NVLinks between every two GPUs.
        card: the farthest way to the nearest card of a GPU: a word of ``nvidia-smi topo``.
        date: when the sources were read.
        source: where it comes from.
    """

    name: str
    models: tuple[str, ...]
    links: int
    card: str
    date: str
    source: str


@functools.cache
def boards() -> tuple[Board, ...]:
    """All of the table."""
    return tuple(Board(**{**entry, "models": tuple(entry["models"])}) for entry in read_toml(TABLE)["board"])


def board_of(model: str) -> Board | None:
    """The board that GPUs of this model are on; None for a model of several boards, or of none that is known."""
    return next((board for board in boards() if model in board.models), None)
