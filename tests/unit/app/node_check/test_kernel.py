"""A file that grows stands for /dev/kmsg, as for the check ``kernel_log``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.builders import DATA

from hpcaccept.app.node_check import kernel
from hpcaccept.app.node_check.look import Asked, Look
from hpcaccept.model.node_check import Expected

if TYPE_CHECKING:
    from pathlib import Path

QUIET = (DATA / "kernel_log/quiet.kmsg").read_text()
XID_79 = (
    "4,353,20000000,-;NVRM: Xid (PCI:0000:18:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
)
IO_ERROR = "3,354,21000000,-;blk_update_request: I/O error, dev nvme1n1, sector 2048 op 0x0:(READ) flags 0x0\n"


def looked(tmp_path: Path, text: str, before: Any = None) -> Look:
    log = tmp_path / "kmsg"
    log.write_text(text)
    return kernel.look(Asked(Expected(), "node0", tmp_path, before, 60.0, str(log)))


def bad(look: Look) -> dict[str, str]:
    return {item.what: item.outcome for item in look.items if item.outcome != "PASS"}


def test_a_quiet_log_passes_with_a_value(tmp_path: Path) -> None:
    look = looked(tmp_path, QUIET)
    assert [(item.what, item.outcome, item.value) for item in look.items] == [("old_faults", "PASS", 0.0)]


def test_a_gpu_fault_since_boot_still_holds(tmp_path: Path) -> None:
    assert "old_faults[Xid 79 at 0000:18:00]" in bad(looked(tmp_path, QUIET + XID_79))


def test_a_fault_since_the_last_look_is_named_and_one_from_before_it_is_not_counted_again(tmp_path: Path) -> None:
    first = looked(tmp_path, QUIET)
    second = looked(tmp_path, QUIET + IO_ERROR, first.kept)
    assert bad(second) == {"faults[I/O error at nvme1n1]": "FAIL"}
    third = looked(tmp_path, QUIET + IO_ERROR, second.kept)
    assert bad(third) == {}


def test_a_log_that_was_overwritten_since_is_no_pass(tmp_path: Path) -> None:
    first = looked(tmp_path, QUIET)
    later = "6,9000,90000000,-;usb 1-1: new device\n"
    assert bad(looked(tmp_path, later, first.kept)) == {"faults": "NOT_RUN"}


def test_what_is_left_of_a_log_that_was_overwritten_is_judged_as_that(tmp_path: Path) -> None:
    look = looked(tmp_path, "6,9000,90000000,-;usb 1-1: new device\n")
    assert [(item.what, item.outcome) for item in look.items] == [("old_faults[in what is left of the log]", "PASS")]
    assert "does not go back to the boot" in look.facts["kernel log"]


def test_a_log_that_cannot_be_read_is_no_pass(tmp_path: Path) -> None:
    look = kernel.look(Asked(Expected(), "node0", tmp_path, None, 0.0, str(tmp_path / "none")))
    assert [(item.outcome, item.code) for item in look.items] == [("NOT_RUN", "check-not-run")]


def test_an_xid_that_no_table_knows_is_an_error(tmp_path: Path) -> None:
    assert bad(looked(tmp_path, QUIET + XID_79.replace("79,", "999,"))) == {"log": "ERROR"}


def test_a_memory_error_during_the_job_is_named_and_shown_as_moved(tmp_path: Path) -> None:
    folder = tmp_path / "sys/devices/system/edac/mc/mc0"
    folder.mkdir(parents=True)
    for name in ("ue_count", "ce_count"):
        (folder / name).write_text("0\n")
    first = looked(tmp_path, QUIET)
    (folder / "ue_count").write_text("1\n")
    second = looked(tmp_path, QUIET, first.kept)
    assert bad(second) == {"faults[uncorrected error, by EDAC at mc0]": "FAIL"}
    assert second.moved == {"uncorrected error, by EDAC at mc0": (0.0, 1.0)}
