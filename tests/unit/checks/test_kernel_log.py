"""A file that grows stands for /dev/kmsg; the last tests ask the kernel that runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks.kernel_log import KernelLog
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.model.check import Unavailable

RECORDED = Path(__file__).parents[2] / "data/kernel_log"
QUIET, BAD_DAY = ((RECORDED / f"{name}.kmsg").read_text() for name in ("quiet", "bad_day"))
XID_79 = "NVRM: Xid (PCI:0000:18:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def record(number: int, at_s: float, text: str) -> str:
    return f"4,{number},{int(at_s * 1e6)},-;{text}\n"


def run(tmp_path: Path, before: str, during: str = "", **params: Any) -> SoloContext:
    """A run in whose course the log grows by ``during``."""
    log = tmp_path / "kmsg"
    log.write_text(before)
    check = KernelLog(source="kmsg", kmsg=str(log), **params)
    ctx = SoloContext(check)
    ctx.begun = check.begin(ctx)
    log.write_text(before + during)
    check.measure(ctx)
    return ctx


def counted(ctx: SoloContext, metric: str) -> dict[str, float]:
    return {variant: sum(values) for (name, variant), values in ctx.samples.items() if name == metric and any(values)}


def test_a_quiet_run_is_zero_in_every_area(tmp_path: Path) -> None:
    ctx = run(tmp_path, QUIET, record(353, 20, "usb 1-1: new device"), root=str(tmp_path))
    assert counted(ctx, "faults") == counted(ctx, "old_faults") == counted(ctx, "corrected") == {}
    assert len(ctx.variants("faults")) == 9
    assert ctx.value("old_faults") == 0
    assert ctx.refused == {}


def test_every_fault_of_a_bad_day_is_named_with_its_place(tmp_path: Path) -> None:
    ctx = run(tmp_path, QUIET, BAD_DAY.replace("4,400,", "4,353,", 1))
    assert counted(ctx, "faults") == {
        "Xid 79 at 0000:18:00": 1,
        "fell off the bus at 0000:18:00.0": 1,
        "SXid 24007 (fatal) at 0000:c4:00.0": 1,
        "uncorrected error at CPU_SrcID#1_MC#2_Chan#0_DIMM#0": 1,
        "machine check, uncorrected at CPU 12 bank 0": 1,
        "fatal error (firmware) (machine check)": 1,
        "uncorrected (fatal) error at 0000:17:00.0": 1,
        "I/O error at nvme1n1": 1,
        "I/O error at sda": 1,
        "no answer at nvme1": 1,
        "soft lockup at 3": 1,
        "adapter failed at 0000:5d:00.0": 1,
    }
    assert counted(ctx, "corrected") == {
        "corrected error at CPU_SrcID#0_MC#0_Chan#1_DIMM#0": 3,
        "corrected error (firmware) (machine check)": 1,
        "corrected error at 0000:17:00.0": 1,
    }
    assert counted(ctx, "noted") == {
        "Xid 31 at 0000:3a:00": 1,
        "Xid 63 at 0000:3a:00": 1,
        "SXid 12028 (non-fatal) at 0000:86:00.0": 1,
        "killed for memory at python3": 1,
        "too hot at CPU3": 1,
    }
    assert "GPU has fallen off the bus" in ctx.kept["events"]
    assert all("]" not in variant for _, variant in ctx.samples)


def test_a_fault_of_before_the_run_is_told_and_is_no_fault_of_the_run(tmp_path: Path) -> None:
    before = QUIET + record(353, 100, "I/O error, dev nvme1n1, sector 2048") + record(354, 3700, "usb 1-1: new device")
    ctx = run(tmp_path, before)
    assert counted(ctx, "faults") == counted(ctx, "old_faults") == {}
    assert ctx.facts["older[I/O error at nvme1n1]"].startswith("at least 1 h 0 min before the run, does not count: ")


def test_an_old_xid_79_still_holds(tmp_path: Path) -> None:
    """AzNHC looks at two hours and calls such a GPU healthy."""
    ctx = run(tmp_path, QUIET + record(353, 100, XID_79) + record(354, 100_000, "usb 1-1: new device"))
    assert counted(ctx, "old_faults") == {"Xid 79 at 0000:18:00": 1}
    assert counted(ctx, "faults") == {}
    assert "at least 27 h 45 min before the run: " in ctx.facts["older[Xid 79 at 0000:18:00]"]


def test_a_driver_that_was_loaded_since_clears_what_was_before(tmp_path: Path) -> None:
    loaded = record(354, 200, "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15")
    ctx = run(tmp_path, QUIET + record(353, 100, XID_79) + loaded)
    assert counted(ctx, "old_faults") == {}
    assert "does not count" in ctx.facts["older[Xid 79 at 0000:18:00]"]


def test_an_old_xid_of_a_program_holds_nothing(tmp_path: Path) -> None:
    ctx = run(tmp_path, QUIET + record(353, 100, "NVRM: Xid (PCI:0000:18:00): 31, pid=7, name=python, MMU Fault"))
    assert counted(ctx, "old_faults") == {}


def test_a_log_that_does_not_go_back_to_the_boot_is_no_pass_for_the_past(tmp_path: Path) -> None:
    ctx = run(tmp_path, record(9000, 500_000, "usb 1-1: new device"))
    assert "old_faults" in ctx.refused
    assert ctx.variants("old_faults") == set()
    assert ctx.value("faults", "xid") == 0


def test_lines_that_were_overwritten_during_the_run_are_no_pass(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(QUIET)
    check = KernelLog(source="kmsg", kmsg=str(log))
    ctx = SoloContext(check)
    ctx.begun = check.begin(ctx)
    log.write_text(record(900, 50, "a flood") + record(901, 51, XID_79))
    check.measure(ctx)
    assert "overwrote" in ctx.refused["faults"]
    assert ctx.variants("faults") == {"Xid 79 at 0000:18:00"}


def test_an_unknown_xid_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(NotUnderstood, match="Xid 998 at 0000:18:00"):
        run(tmp_path, QUIET, record(353, 20, "NVRM: Xid (PCI:0000:18:00): 998, pid=1, name=x, something new"))


def test_what_a_process_writes_into_the_log_is_not_counted(tmp_path: Path) -> None:
    ctx = run(tmp_path, QUIET, f"12,353,20000000,-;{XID_79}\n")
    assert counted(ctx, "faults") == {}


# --- what is counted beside it ----------------------------------------------------------------------------------------


def machine(root: Path, *, ue: int = 0, ce: int = 0, dimm_ce: int = 0, mce: int = 0) -> Path:
    """The counters of a node with one memory controller, as sysfs and /proc have them on Linux 6.1."""
    controller = root / "sys/devices/system/edac/mc/mc0"
    module = controller / "dimm3"
    module.mkdir(parents=True, exist_ok=True)
    for file, count in (("ue_count", ue), ("ce_count", ce)):
        (controller / file).write_text(f"{count}\n")
    for file, text in (
        ("dimm_ue_count", str(ue)),
        ("dimm_ce_count", str(dimm_ce)),
        ("dimm_label", "CPU_SrcID#0_MC#0_Chan#1_DIMM#0"),
    ):
        (module / file).write_text(f"{text}\n")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/interrupts").write_text(
        "            CPU0       CPU1\n"
        " THR:          0          0   Threshold APIC interrupts\n"
        f" MCE:          {mce}          0   Machine check exceptions\n"
        " MCP:         83         83   Machine check polls\n"
    )
    return root


def counted_run(tmp_path: Path, before: dict[str, int], after: dict[str, int], kmsg: str = "kmsg") -> SoloContext:
    (tmp_path / "kmsg").write_text(QUIET)
    check = KernelLog(source="kmsg", kmsg=str(tmp_path / kmsg), root=str(machine(tmp_path, **before)))
    ctx = SoloContext(check)
    ctx.begun = check.begin(ctx)
    machine(tmp_path, **after)
    check.measure(ctx)
    return ctx


def test_counters_are_judged_by_what_the_run_added(tmp_path: Path) -> None:
    ctx = counted_run(
        tmp_path, {"ue": 4, "ce": 900, "dimm_ce": 880, "mce": 2}, {"ue": 4, "ce": 912, "dimm_ce": 891, "mce": 2}
    )
    assert counted(ctx, "faults") == {}
    assert counted(ctx, "corrected") == {
        "corrected error, by EDAC at mc0 dimm3 CPU_SrcID#0_MC#0_Chan#1_DIMM#0": 11,
        "corrected error, by EDAC at mc0": 1,
    }
    assert ctx.facts["before[machine check exceptions]"].startswith("2 since boot")


def test_an_uncorrected_error_that_only_the_counters_know_is_a_fault(tmp_path: Path) -> None:
    ctx = counted_run(tmp_path, {}, {"ue": 1, "mce": 3})
    assert counted(ctx, "faults") == {
        "uncorrected error, by EDAC at mc0 dimm3 CPU_SrcID#0_MC#0_Chan#1_DIMM#0": 1,
        "machine check exceptions": 3,
    }


def test_a_counter_that_was_set_to_zero_meanwhile_counts_what_came_since(tmp_path: Path) -> None:
    ctx = counted_run(tmp_path, {"ue": 7}, {"ue": 2})
    assert counted(ctx, "faults") == {"uncorrected error, by EDAC at mc0 dimm3 CPU_SrcID#0_MC#0_Chan#1_DIMM#0": 2}


def test_where_the_log_is_closed_the_counters_are_judged_and_the_log_is_not(tmp_path: Path) -> None:
    ctx = counted_run(tmp_path, {}, {"ue": 1}, kmsg="nothing")
    assert set(counted(ctx, "faults").values()) == {1}
    assert "only the counters" in ctx.refused["faults"]
    assert ctx.variants("old_faults") == set()


def test_a_node_without_counters_is_not_judged_by_them(tmp_path: Path) -> None:
    ctx = run(tmp_path, QUIET, root=str(tmp_path))
    assert not [variant for _, variant in ctx.samples if "EDAC" in variant or "machine check e" in variant]


# --- where it comes from ----------------------------------------------------------------------------------------------


def tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of its own, in which only what a test makes is found."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def test_a_log_that_nobody_lets_read_is_not_run_with_what_each_source_said(tmp_path: Path, path: Path) -> None:
    tool(path, "dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    tool(path, "journalctl", "echo '-- No entries --'")
    with pytest.raises(Unavailable, match="Operation not permitted") as caught:
        SoloContext(KernelLog(kmsg=str(tmp_path / "none"))).run()
    assert "kmsg: No such file" in caught.value.cause
    assert "journal: it is empty" in caught.value.cause
    assert "dmesg_restrict" in caught.value.remedy


def test_dmesg_is_asked_where_the_device_is_closed(tmp_path: Path, path: Path) -> None:
    tool(path, "dmesg", f"exec /bin/cat {RECORDED / 'dmesg.txt'}")
    ctx = SoloContext(KernelLog(kmsg=str(tmp_path / "none"))).run()
    assert ctx.facts["source"].startswith("dmesg")
    assert set(ctx.kept) == {"events"}, "the whole log is nobody else's business"
    assert counted(ctx, "old_faults") == {"Xid 48 at 0000:18:00": 1}


def test_the_journal_is_asked_last(tmp_path: Path, path: Path) -> None:
    tool(path, "journalctl", f"exec /bin/cat {RECORDED / 'journal.txt'}")
    ctx = SoloContext(KernelLog(kmsg=str(tmp_path / "none"))).run()
    assert ctx.facts["source"].startswith("journal")


def test_new_lines_of_dmesg_are_those_after_the_last_one_seen(path: Path) -> None:
    shown = path.parent / "log"
    shown.write_text((RECORDED / "dmesg.txt").read_text())
    tool(path, "dmesg", f"exec /bin/cat {shown}")
    check = KernelLog(source="dmesg")
    ctx = SoloContext(check)
    ctx.begun = check.begin(ctx)
    shown.write_text(shown.read_text() + "[11760.000001] I/O error, dev nvme0n1, sector 8\n")
    check.measure(ctx)
    assert counted(ctx, "faults") == {"I/O error at nvme0n1": 1}


def test_a_log_that_closes_during_the_run_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(QUIET)
    check = KernelLog(source="kmsg", kmsg=str(log))
    ctx = SoloContext(check)
    ctx.begun = check.begin(ctx)
    log.unlink()
    with pytest.raises(ToolError, match="not any more"):
        check.measure(ctx)


def test_only_the_first_rank_of_a_node_reads(tmp_path: Path) -> None:
    ctx = SoloContext(KernelLog(kmsg=str(tmp_path / "none"), source="kmsg"), local_rank=1)
    ctx.run()
    assert ctx.samples == {}


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(UsageError, match="'source' of check 'kernel_log' is 'syslog', expected one of"):
        checks.build("kernel_log", {"source": "syslog"})


@pytest.mark.parametrize("source", ["kmsg", "dmesg"])
def test_the_kernel_of_this_machine_is_read(source: str) -> None:
    device = Path("/dev/kmsg")
    if source == "kmsg" and not device.is_char_device():
        pytest.skip("no /dev/kmsg here")
    try:
        ctx = SoloContext(KernelLog(source=source)).run()
    except Unavailable as why:
        pytest.skip(why.cause)
    assert ctx.facts["source"].startswith(source)
    assert ctx.variants("faults") or ctx.refused
