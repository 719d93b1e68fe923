"""Bridges between devices, and what the configuration space of a real switch says; lspci reads the same spaces alike (tests/data/pci)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.pci_tree import OFF, REDIRECTS, config, device, switch

from hpcaccept.measure.host import pci

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("acs", "bits"), [(None, 0), (OFF, 0), (REDIRECTS, 0x1D)])
def test_access_control_is_found_at_the_end_of_a_real_chain_of_capabilities(acs: int | None, bits: int) -> None:
    assert pci.parse_acs_control(config(acs)) == bits


def test_a_chain_that_runs_in_a_circle_or_out_of_the_space_ends() -> None:
    circle = bytearray(config())
    circle[0xB72:0xB74] = (0x100 << 4 | 1).to_bytes(2, "little")
    assert pci.parse_acs_control(bytes(circle)) == 0
    assert pci.parse_acs_control(config(REDIRECTS)[:0x200]) == 0


def test_what_only_root_may_read_is_not_known(tmp_path: Path) -> None:
    switch(tmp_path, acs=REDIRECTS, readable=False)
    assert pci.acs_control("0000:02:00.0", tmp_path) is None
    assert pci.acs_control("0000:09:00.0", tmp_path) is None


def test_the_bridges_below_the_common_one_are_on_the_way(tmp_path: Path) -> None:
    switch(tmp_path)
    ways = [pci.bridges_above(tmp_path / "sys/bus/pci/devices" / end) for end in ("0000:03:00.0", "0000:04:00.0")]
    assert pci.ways_apart(*ways) == (2, ("0000:02:00.0", "0000:02:08.0"))
    assert pci.ways_apart(("a",), ("b",)) == (0, ("a", "b"))


def test_gpus_are_found_by_their_class_and_the_console_is_none(tmp_path: Path) -> None:
    switch(tmp_path)
    device(tmp_path, "0000:05:00.0", kind="0x030000", vendor="0x1a03")
    device(tmp_path, "0000:06:00.0", kind="0x030000", vendor="0x10de")
    assert pci.gpus(tmp_path) == ("0000:03:00.0", "0000:06:00.0")


@pytest.mark.parametrize(("domain", "said"), [("", "none"), ("DMA-FQ", "DMA-FQ"), ("identity", "identity")])
def test_the_domain_of_a_device(tmp_path: Path, domain: str, said: str) -> None:
    switch(tmp_path, domain=domain)
    assert pci.iommu_domain(tmp_path / "sys/bus/pci/devices/0000:03:00.0") == said
