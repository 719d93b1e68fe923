from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.parse.kernel_log import AREAS, Line, events, kmsg_numbers, parse_dmesg, parse_journal, parse_kmsg

RECORDED = Path(__file__).parents[2] / "data/kernel_log"
QUIET, BAD_DAY = ((RECORDED / f"{name}.kmsg").read_text() for name in ("quiet", "bad_day"))


def of(text: str) -> list[tuple[str, str, str, str]]:
    return [(e.area, e.grade, e.what, e.where) for e in events([Line(1.0, text)])]


def test_records_have_their_number_and_their_time_in_seconds() -> None:
    lines = parse_kmsg(QUIET)
    assert lines[0] == Line(0.0, "Linux version 6.8.0-45-generic (buildd@lcy02) (gcc 13.2.0) #45-Ubuntu SMP", 0)
    assert lines[-1].at_s == pytest.approx(9.320431)
    assert kmsg_numbers(QUIET) == (0, 352)
    assert kmsg_numbers("") is None


def test_what_a_process_wrote_into_the_log_is_not_the_kernel_s_word() -> None:
    lines = parse_kmsg(QUIET)
    assert not [line for line in lines if "a user wrote" in line.text or "systemd" in line.text]
    assert not [event for event in events(lines) if event.area == "xid"]


def test_keys_of_a_record_are_no_lines() -> None:
    assert not [line for line in parse_kmsg(QUIET) if "SUBSYSTEM" in line.text]


@pytest.mark.parametrize(("parse", "file"), [(parse_dmesg, "dmesg.txt"), (parse_journal, "journal.txt")])
def test_dmesg_and_the_journal_say_the_same(parse: object, file: str) -> None:
    assert callable(parse)
    lines = parse((RECORDED / file).read_text())
    assert [line.at_s for line in lines] == [0.0, 9.120431, 11755.225259]
    found = events(lines)
    assert [(e.area, e.code, e.where) for e in found] == [("gpu", 0, ""), ("xid", 48, "0000:18:00")]


def test_a_healthy_boot_has_no_event_but_the_start_of_the_driver() -> None:
    assert [(e.grade, e.what) for e in events(parse_kmsg(QUIET))] == [("cleared", "driver loaded")]


def test_a_bad_day_is_read_event_by_event() -> None:
    found = events(parse_kmsg(BAD_DAY))
    assert Counter((e.area, e.grade) for e in found) == {
        ("xid", "xid"): 3,
        ("gpu", "fault"): 1,
        ("nvswitch", "fault"): 1,
        ("nvswitch", "noted"): 1,
        ("memory", "corrected"): 1,
        ("memory", "fault"): 1,
        ("machine check", "fault"): 2,
        ("machine check", "corrected"): 1,
        ("pcie", "corrected"): 1,
        ("pcie", "fault"): 1,
        ("disk", "fault"): 3,
        ("other", "noted"): 2,
        ("kernel", "fault"): 1,
        ("network", "fault"): 1,
    }
    assert {e.area for e in found} - {"other"} == set(AREAS)
    assert [(e.code, e.where, e.pid) for e in found if e.area == "xid"] == [
        (79, "0000:18:00", None),
        (31, "0000:3a:00", 4711),
        (63, "0000:3a:00", None),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NVRM: Xid (0000:18:00): 48, Double Bit ECC Error", ("xid", "xid", "Xid 48", "0000:18:00")),
        ("NVRM: Xid (PCI:0009:01:00): 119, pid=1, name=x", ("xid", "xid", "Xid 119", "0009:01:00")),
        ("NVRM: GPU 0000:18:00.0: RmInitAdapter failed! (0x24:0xffff:1220)", ("gpu", "fault", "cannot be initialised", "0000:18:00.0")),
        ("nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Non-fatal, Link 30 LTSSM Fault Up", ("nvswitch", "noted", "SXid 20034 (non-fatal)", "0000:c4:00.0")),
        ("EDAC MC0: 2 CE on DIMM_A1 (channel:0)", ("memory", "corrected", "corrected error", "DIMM_A1")),
        ("EDAC MC3: 1 UE (channel:0)", ("memory", "fault", "uncorrected error", "MC3")),
        ("pcieport 0000:15:01.0: AER: Uncorrected (Non-Fatal) error received: 0000:17:00.0", ("pcie", "fault", "uncorrected (non-fatal) error", "0000:17:00.0")),
        ("pcieport 0000:15:01.0: DPC: containment event, status:0x1f01 source:0x0000", ("pcie", "fault", "link contained (DPC)", "0000:15:01.0")),
        ("pcieport 0000:15:01.0: pciehp: Slot(12): Link Down", ("pcie", "fault", "link down", "0000:15:01.0")),
        ("mce: [Hardware Error]: Machine check events logged", ("machine check", "corrected", "logged", "")),
        ("Buffer I/O error on dev dm-0, logical block 3, async page read", ("disk", "fault", "I/O error", "dm-0")),
        ("XFS (nvme0n1p1): Metadata corruption detected at xfs_dinode_verify", ("disk", "fault", "file system error", "nvme0n1p1")),
        ("NETDEV WATCHDOG: eth0 (mlx5_core): transmit queue 3 timed out", ("network", "fault", "transmit queue timed out", "eth0")),
        ("watchdog: Watchdog detected hard LOCKUP on cpu 7", ("kernel", "fault", "hard lockup", "7")),
        ("INFO: task python:881 blocked for more than 120 seconds.", ("other", "noted", "blocked task", "python")),
    ],
)  # fmt: skip
def test_each_form_is_known_with_its_place(text: str, expected: tuple[str, str, str, str]) -> None:
    assert of(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "I/O error, dev fd0, sector 0",
        "blk_update_request: I/O error, dev sr0, sector 0",
        "I/O error, dev loop3, sector 88 op 0x0:(READ)",
        "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 24007, Severity 1 Engine instance 44",
        "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 24007, Data {0x1, 0x0}",
        "EDAC MC: Ver: 3.0.0",
        "mce: CPU0: Thermal monitoring enabled (TM1)",
        "pcieport 0000:15:01.0: AER: enabled with IRQ 34",
        "nvme nvme0: 8/0/0 default/read/poll queues",
        "EXT4-fs (vda): mounted filesystem with ordered data mode",
        "",
    ],
)
def test_what_is_no_fault_is_no_event(text: str) -> None:
    assert of(text) == []


def test_corrected_errors_are_counted_as_often_as_the_line_says() -> None:
    (event,) = events([Line(1.0, "EDAC MC0: 17 CE memory read error on DIMM_B2 (channel:0)")])
    assert event.count == 17


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_text_whatever_breaks_the_readers(text: str) -> None:
    for parse in (parse_kmsg, parse_dmesg, parse_journal):
        events(parse(text))
    events([Line(0.0, text)])
