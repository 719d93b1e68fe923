"""What mlnx_qos printed on real ports (tests/data/mlnx_qos)."""

from __future__ import annotations

import pytest
from support.builders import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.mlnx_qos import parse_mlnx_qos


@pytest.mark.parametrize(("name", "priority"), [("lossless_3", 3), ("lossless_5_cut", 5)])
def test_trust_and_the_paused_priority_of_real_ports(name: str, priority: int) -> None:
    found = parse_mlnx_qos((DATA / "mlnx_qos" / f"{name}.txt").read_text("utf-8"))
    assert found.trust == "dscp"
    assert [place for place, paused in enumerate(found.paused) if paused] == [priority]


@pytest.mark.parametrize(
    "cut",
    ["", "Priority trust state: dscp\n", "PFC configuration:\n   priority    0   1   2\n   enabled     0   0   0\n"],
)
def test_what_does_not_say_it_for_all_priorities_is_not_understood(cut: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_mlnx_qos(cut)
