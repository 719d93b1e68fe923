"""The name of the physical machine is read as the shell on an Azure node reads it, from every pool that the shell is tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.hyperv import HOST, POOLS

from hpcaccept.measure.host.hyperv import parse_pool, physical_host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("content", "host"), POOLS.values(), ids=POOLS)
def test_a_pool_names_the_host_or_nobody(content: bytes, host: str) -> None:
    assert parse_pool(content) == host


def test_a_machine_without_a_pool_has_no_host(tmp_path: Path) -> None:
    assert physical_host(tmp_path) == ""
    pool = tmp_path / "var/lib/hyperv/.kvp_pool_3"
    pool.mkdir(parents=True)
    assert physical_host(tmp_path) == ""
    pool.rmdir()
    pool.write_bytes(HOST)
    assert physical_host(tmp_path) == "BN9300-1"
