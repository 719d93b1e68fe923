"""The host's configuration in trees of /sys and /proc: tests/support/pci_tree.py, and versions as drivers print them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.pci_tree import OFF, REDIRECTS, switch
from support.solo_context import SoloContext

from hpcaccept.checks.gpudirect import Gpudirect, no_dma_buffers
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

#: The first line of /proc/driver/nvidia/version in the form of both kinds of kernel modules.
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16-I3-B16-4-2)\n"
)
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"


@pytest.fixture(autouse=True)
def an_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"machine": "x86_64"})())


def host(
    root: Path, driver: str = OPEN, kernel: str = "5.15.0-1063-azure", modules: tuple[str, ...] = ()
) -> SoloContext:
    for file, text in (("proc/driver/nvidia/version", driver), ("proc/sys/kernel/osrelease", kernel)):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(f"{text}\n" if text else "")
    for name in modules:
        (root / "sys/module" / name).mkdir(parents=True)
    return SoloContext(Gpudirect(root=str(root)), gpus_asked=8).run()


def test_a_host_that_is_set_up_passes(tmp_path: Path) -> None:
    switch(tmp_path, acs=OFF, domain="identity")
    ctx = host(tmp_path, modules=("nvidia_peermem",))
    assert {key: values[0] for key, values in ctx.samples.items()} == {
        ("no_registration", ""): 0,
        ("redirecting_bridges", "0000:03:00.0"): 0,
        ("translated_devices", "0000:03:00.0"): 0,
        ("translated_devices", "mlx5_0"): 0,
    }
    assert ctx.facts["no_registration"] == "nvidia_peermem is loaded, DMA buffers can be used"
    assert ctx.refused == {}


@pytest.mark.parametrize(
    ("driver", "kernel", "modules", "missing"),
    [
        (OPEN, "5.15.0-1063-azure", (), ""),
        (CLOSED, "5.15.0-1063-azure", (), "the driver's kernel modules are the proprietary ones"),
        (OPEN, "4.18.0-513.el8.x86_64", (), "kernel 4.18.0-513.el8.x86_64 is older than 5.12"),
        ("", "6.8.0", (), "/proc/driver/nvidia/version cannot be read"),
        (CLOSED, "4.18.0", ("nv_peer_mem",), ""),
    ],
)
def test_without_peer_memory_and_dma_buffers_the_node_fails(
    tmp_path: Path, driver: str, kernel: str, modules: tuple[str, ...], missing: str
) -> None:
    switch(tmp_path)
    ctx = host(tmp_path, driver, kernel, modules)
    assert ctx.value("no_registration") == bool(missing)
    assert missing in ctx.facts["no_registration"]


def test_a_bridge_that_redirects_is_named_with_its_gpu_and_card(tmp_path: Path) -> None:
    switch(tmp_path, acs=REDIRECTS)
    ctx = host(tmp_path)
    assert ctx.value("redirecting_bridges", "0000:03:00.0") == 2
    assert ctx.facts["bridges[0000:03:00.0]"] == "0000:02:00.0, 0000:02:08.0 on the way to mlx5_0"


def test_what_may_not_be_read_is_not_run_and_never_passes(tmp_path: Path) -> None:
    switch(tmp_path, readable=False)
    ctx = host(tmp_path)
    assert not ctx.variants("redirecting_bridges")
    assert "root only" in ctx.refused["redirecting_bridges[0000:03:00.0]"]


def test_a_device_behind_a_translating_iommu_is_named(tmp_path: Path) -> None:
    switch(tmp_path, domain="DMA-FQ")
    ctx = host(tmp_path)
    assert {variant: ctx.value("translated_devices", variant) for variant in ctx.variants("translated_devices")} == {
        "0000:03:00.0": 1,
        "mlx5_0": 1,
    }
    assert ctx.facts["iommu"] == "DMA-FQ"


def test_on_arm_translation_is_by_design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"machine": "aarch64"})())
    switch(tmp_path, domain="DMA-FQ")
    assert set(host(tmp_path).refused) == {"translated_devices"}


def test_without_gpus_or_cards_there_is_nothing_to_judge(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no GPU is in /sys"):
        host(tmp_path)
    switch(tmp_path)
    (tmp_path / "sys/class/infiniband/mlx5_0/device").unlink()
    (tmp_path / "sys/class/infiniband/mlx5_0").rmdir()
    with pytest.raises(Unavailable, match="no RDMA adapter"):
        host(tmp_path)


def test_a_kernel_that_is_no_number_has_no_dma_buffers() -> None:
    assert "older" in no_dma_buffers(OPEN, "unknown")
