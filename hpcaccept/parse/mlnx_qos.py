"""What a port trusts, and for which priorities it pauses, as ``mlnx_qos -i INTERFACE`` prints it. Text in, a dataclass out.

Recorded from MLNX_OFED (tests/data/mlnx_qos). Its source: https://github.com/Mellanox/mlnx-tools/blob/master/python/mlnx_qos
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.errors import NotUnderstood


@dataclass(frozen=True)
class QosSettings:
    """Of one interface.

    Attributes:
        trust: by what a packet's priority is known: ``dscp``, ``pcp``, ``both``; empty where it is not said.
        paused: for each of the eight priorities, whether it is paused instead of dropped (PFC).
    """

    trust: str
    paused: tuple[bool, ...]


def parse_mlnx_qos(text: str) -> QosSettings:
    """The settings in a text.

    Raises:
        NotUnderstood: PFC is not said for each of the eight priorities.
    """
    trust = re.search(r"^\s*Priority trust state:\s*(\w+)", text, re.MULTILINE)
    table = re.search(
        r"^\s*PFC configuration:\s*\n\s*priority((?:\s+\d+)+)\s*\n\s*enabled((?:[^\S\n]+[01])+)\s*$", text, re.MULTILINE
    )
    if table is None or table[1].split() != list("01234567") or len(table[2].split()) != len(table[1].split()):
        raise NotUnderstood(f"No PFC configuration of eight priorities in {text.strip()[:200]!r}.")
    return QosSettings(trust[1] if trust else "", tuple(word == "1" for word in table[2].split()))
