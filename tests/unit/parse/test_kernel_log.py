from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.parse.kernel_log import AREAS, Line, events, kmsg_numbers, parse_dmesg, parse_journal, parse_kmsg
from hpcaccept.parse.kernel_messages import TABLES

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


EXAMPLES = [
    "BUG: workqueue lockup - pool cpus=3 node=0 flags=0x0 nice=0 stuck for 38s!",
    "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because the skew is too large:",
    "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP PTI",
    "Kernel panic - not syncing: Fatal local machine check",
    "kernel BUG at mm/slub.c:448!",
    "Kernel panic - not syncing: Fatal hardware error!",
    "Oops: 0002 [#1] SMP",
    "watchdog: Watchdog detected hard LOCKUP on cpu 7",
    "Out of memory and no killable processes...",
    "Memory error not recovered",
    "mce: Uncorrected hardware memory error in user-access at 1f7a3c0",
    "RAS: Soft-offlining pfn: 0x1f7a3c",
    "SError Interrupt on CPU3, code 0x00000000be000011 -- SError",
    "pcieport 0000:15:01.0: DPC: containment event, status:0x1f01 source:0x0000",
    "pcieport 0000:15:01.0: pciehp: Slot(12): Link Down",
    "pci 0000:15:01.0: broken device, retraining non-functional downstream link at 2.5GT/s",
    "DMAR: [DMA Read NO_PASID] Request device [18:00.0] fault addr 0xfe000000 [fault reason 0x06] PTE Read access is not set",
    "nvidia 0000:18:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0013 address=0xfe000000 flags=0x0020]",
    "sd 0:0:0:0: [sda] tag#2 device offline or changed",
    "device-mapper: verity: 253:1: data block 12 is corrupted",
    "Lustre: scratch-OST0003-osc-ffff8807: Connection to scratch-OST0003 (at 10.0.0.3@o2ib) was lost; in progress operations will wait",
    "LustreError: 167-0: scratch-MDT0000-mdc-ffff8807: This client was evicted by scratch-MDT0000; in progress operations using 10.0.0.2@o2ib fail",
    "mlx5_core 0000:5d:00.0: print_health_info:441:(pid 0): Health issue observed, fan, severity(4) WARNING:",
    "mlx5_core 0000:5d:00.0 ens1f0np0: Link down",
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


RECORDED_LINES = [line.split("\t") for line in (RECORDED / "messages.tsv").read_text().splitlines()[1:]]


@pytest.mark.parametrize("row", RECORDED_LINES, ids=[row[-1][:60] for row in RECORDED_LINES])
def test_every_message_has_the_verdict_of_its_table(row: list[str]) -> None:
    area, grade, what, where, _, message = row
    expected = [] if area == "-" else [(area, grade, what, where)]
    assert of(message.replace("\\n", "\n")) == expected


def test_every_row_of_the_tables_is_tested_by_a_line_and_by_the_hint_that_is_in_it() -> None:
    texts = [row[-1].replace("\\n", "\n") for row in RECORDED_LINES]
    texts += [line.text for file in (QUIET, BAD_DAY) for line in parse_kmsg(file)] + EXAMPLES
    for area, rows in TABLES:
        for hint, pattern, _, what in rows:
            told = [text for text in texts if re.search(pattern, text)]
            assert told, f"{area}: no line for {what!r}: {pattern}"
            assert all(hint in text for text in told), f"{hint!r} is not in a line of its pattern"


LOST_GPU = (
    "NVRM: The NVIDIA GPU 0000:5d:00.0",
    "NVRM: (PCI ID: 10de:2330) installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
)
LOST = [("gpu", "fault", "fell off the bus", "0000:5d:00.0")]


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_dmesg, f"[14387.209961] {LOST_GPU[0]}\n               {LOST_GPU[1]}\n               {LOST_GPU[2]}\n"),
        (parse_dmesg, "".join(f"[14387.209961] {line}\n" for line in LOST_GPU)),
        (
            parse_journal,
            f"[14387.209961] n1 kernel: {LOST_GPU[0]}\n" + "".join(f"{'':26}{line}\n" for line in LOST_GPU[1:]),
        ),
        (parse_journal, "".join(f"[14387.209961] n1 kernel: {line}\n" for line in LOST_GPU)),
        (parse_kmsg, "3,400,14387209961,-;" + "\\x0a".join(LOST_GPU) + "\n"),
    ],
    ids=["dmesg", "dmesg, old kernel", "journal", "journal, old kernel", "kmsg"],
)
def test_a_lost_gpu_that_tells_it_over_three_lines_is_one_event_with_its_address(parse: object, text: str) -> None:
    assert callable(parse)
    more = "[14387.210134] nvidia: probe of 0000:5d:00.0 failed with error -1\n"
    lines = parse(text + more if parse is parse_dmesg else text)
    assert [(e.area, e.grade, e.what, e.where) for e in events(lines)] == LOST


def test_a_gpu_that_a_driver_does_not_support_is_not_lost() -> None:
    texts = (LOST_GPU[0], LOST_GPU[1], "NVRM: requires use of the NVIDIA open kernel modules.")
    assert events(Line(1.0, text) for text in texts) == ()


def test_the_caller_behind_the_time_is_no_part_of_the_text() -> None:
    """CONFIG_PRINTK_CALLER, as the linux-kernel list shows it."""
    lines = parse_dmesg(
        "[ 1419.670692][    C1] {57}[Hardware Error]:    00000020: 00000000 00000000 00000000 00000000  ................\n"
        "[ 1419.783606][T54990] Memory failure: 0x1000093: recovery action for free buddy page: Recovered\n"
        "[ 1419.919580][ T9955] EDAC MC0: 1 UE Multi-bit ECC on unknown memory (node:0 card:1 module:71 bank:7 row:0)\n"
    )
    assert [line.at_s for line in lines] == [1419.670692, 1419.783606, 1419.919580]
    assert [(e.what, e.where) for e in events(lines)] == [("page lost", "0x1000093"), ("uncorrected error", "MC0")]


def test_indented_lines_of_another_program_belong_to_no_line_of_the_kernel() -> None:
    lines = parse_journal(
        "[ 1.000000] n1 systemd[1]: started\n       NVRM: fallen off the bus\n[ 2.000000] n1 kernel: fine\n"
    )
    assert [line.text for line in lines] == ["fine"]


def test_corrected_errors_are_counted_as_often_as_the_line_says() -> None:
    (event,) = events([Line(1.0, "EDAC MC0: 17 CE memory read error on DIMM_B2 (channel:0)")])
    assert event.count == 17


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), min_size=1))
def test_no_text_whatever_breaks_the_readers(texts: list[str]) -> None:
    kmsg = parse_kmsg("\n".join(f"6,{number},{1_000_000 * number},-;{text}" for number, text in enumerate(texts)))
    dmesg = parse_dmesg("\n".join(f"[    {number}.000000] {text}" for number, text in enumerate(texts)))
    journal = parse_journal(
        "\n".join(f"[    {number}.000000] node0 kernel: {text}" for number, text in enumerate(texts))
    )
    for lines in (kmsg, dmesg, journal):
        assert [(line.at_s, line.text) for line in lines] == [(float(at), text) for at, text in enumerate(texts)]
    events(kmsg)
