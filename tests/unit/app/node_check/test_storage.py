from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcaccept.app.node_check import storage
from hpcaccept.app.node_check.look import Asked
from hpcaccept.model.node_check import Expected, ExpectedDisk, ExpectedMount, Item

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HERE = Asked(Expected(), "node0")


def outcomes(items: list[Item]) -> dict[str, tuple[str, str]]:
    return {item.what: (item.outcome, item.code) for item in items}


def test_a_file_system_that_is_not_mounted_is_found(tmp_path: Path) -> None:
    assert outcomes(storage.mount(HERE, str(tmp_path), ExpectedMount()).items) == {"missing": ("FAIL", "mount-missing")}


def test_another_file_system_in_its_place_is_found_with_both() -> None:
    (item,) = storage.mount(HERE, "/proc", ExpectedMount(kind="lustre")).items
    assert item.code == "mount-missing"
    assert "it is proc of proc, expected lustre" in item.reason


def test_a_file_system_that_is_there_and_answers_passes() -> None:
    found = outcomes(storage.mount(HERE, "/proc", ExpectedMount(kind="proc", writable=False)).items)
    assert found == {"missing": ("PASS", ""), "no_answer": ("PASS", "")}


def test_a_folder_without_room_is_found(tmp_path: Path) -> None:
    found = outcomes(
        storage.disk(HERE, str(tmp_path), ExpectedDisk(free_bytes=float(1 << 60), free_inodes_share=0.0)).items
    )
    assert found["free_bytes"] == ("FAIL", "disk-full")
    assert found["no_answer"] == ("PASS", "")


def test_a_folder_that_does_not_answer_is_found(tmp_path: Path) -> None:
    found = outcomes(storage.disk(HERE, str(tmp_path / "gone"), ExpectedDisk()).items)
    assert found == {"no_answer": ("FAIL", "mount-silent")}


def test_a_file_system_that_became_read_only_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    answer = os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _place: answer)
    found = outcomes(storage.disk(HERE, str(tmp_path), ExpectedDisk(0.0, 0.0)).items)
    assert found["read_only"] == ("FAIL", "disk-failed")
