"""What Azure's node health checks (AzNHC) found: the log of ``run-health-checks.sh -v`` in, its *last* run out.

Read in Azure/azurehpc-health-checks, commit 0e0a1ac (2026-05-01), with NHC 1.4.3 inside, and recorded with both
(tests/data/aznhc/recorded).

Traps:
    * ``-v`` gives NHC ``-v -d``, and with ``-d`` each line of NHC begins with ``[1795902352] - ``. What its check scripts
      print themselves does not, and neither do the further lines of an error.
    * The log is appended to: the last block counts, and a block that begins need not end.
    * A size that it does not know is one sentence and exit status 0.
    * Without ``-v`` most checks print nothing when they pass, so nothing says that a check ran. A configuration with no
      line for this host ends with status 0 and "completed successfully".
    * Without ``-a`` the first failure ends the run; with it the exit status is the number of failed checks.
    * Failures inside a background process are printed and not counted: a slow InfiniBand port is an ERROR line in a run
      that "completed successfully" with status 0.
    * A tool that is missing prints "command not found", and the check passes. So does a bandwidth test whose tool
      printed no figure.
    * An Xid that an earlier run reported is logged and not failed; throttling is logged and not failed; without a
      kernel log the checks that need it are skipped, and pass.
    * A limit that a size can never meet (``WRONG_LIMITS``) is a failure on every node of it, and hides a real one: such a check has looked
      at nothing.
    * Errors go over several lines (NVLinks), and "FaultCode" is spelled in four ways. NHCNA is a fault of the set-up,
      not of the node.

The node's own short verdict (azure/node/opt/node-verdict.py) decides by the same rules; a test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.plain_text import plain

Blame = Literal["node", "setup", "limit"]


@dataclass(frozen=True)
class FaultCode:
    """What one code of AzNHC means.

    Attributes:
        name: the impact category that Azure's guest health reporting knows it by.
        remedy: what to do.
    """

    name: str
    remedy: str


_REPORT = "Take it out of use and report it to Azure (guest health reporting) with the physical host's name."
#: https://github.com/Azure/azurehpc-health-checks/blob/0e0a1ac/triggerGHR/config/nhc_fault_dictionary.cfg (read
#: 2026-11-22)
FAULT_CODES = {
    "NHC2001": FaultCode("HpcGenericFailure", f"Read its text. {_REPORT}"),
    "NHC2002": FaultCode("MissingIB", f"An InfiniBand device is missing: lspci -d 15b3:. {_REPORT}"),
    "NHC2003": FaultCode("IBPerformance", f"InfiniBand is slow: run rdma_bandwidth to see which rail. {_REPORT}"),
    "NHC2004": FaultCode("IBPortDown", f"A port is down: ibstat. {_REPORT}"),
    "NHC2005": FaultCode("IBPortFlapping", f"A link goes up and down: dmesg | grep -i 'lost carrier'. {_REPORT}"),
    "NHC2007": FaultCode("HpcRowRemapFailure", f"Row remap: nvidia-smi -q -d ROW_REMAPPER; pending: reset the GPU, else {_REPORT}"),
    "NHC2008": FaultCode("HpcInforomCorruption", f"The GPU's inforom is corrupt: reboot; if it comes again: {_REPORT}"),
    "NHC2009": FaultCode("HpcMissingGpu", f"A GPU is missing: lspci -d 10de:, dmesg | grep -i xid; reboot. {_REPORT}"),
    "NHC2010": FaultCode("ManualInvestigation", "Read its text: topology, NCCL bandwidth, or a GPU off the bus."),
    "NHC2011": FaultCode("XID95UncontainedECCError", f"Xid 95: reset the GPU. {_REPORT}"),
    "NHC2012": FaultCode("XID94ContainedECCError", "Xid 94: one program lost; restart it, reset the GPU soon."),
    "NHC2013": FaultCode("XID79FallenOffBus", f"Xid 79: reboot. {_REPORT}"),
    "NHC2014": FaultCode("XID48DoubleBitECC", f"Xid 48: reset the GPU. {_REPORT}"),
    "NHC2015": FaultCode("UnhealthyGPUNvidiasmi", f"nvidia-smi fails or hangs: dmesg | grep -i xid; reboot. {_REPORT}"),
    "NHC2016": FaultCode("NvLink", f"NVLinks are down: nvidia-smi nvlink -s; is the fabric manager running? {_REPORT}"),
    "NHC2017": FaultCode("HpcDcgmiThermalReport", _REPORT),
    "NHC2018": FaultCode("ECCPageRetirementTableFull", _REPORT),
    "NHC2019": FaultCode("DBEOverLimit", f"ECC errors: nvidia-smi -q -d ECC. {_REPORT}"),
    "NHC2020": FaultCode("HpcGpuDcgmDiagFailure", f"GPU bandwidth below its limit: run nvbandwidth or transfers. {_REPORT}"),
    "NHC2021": FaultCode("GPUMemoryBWFailure", f"GPU memory is slow: run memory_bandwidth. {_REPORT}"),
    "NHC2022": FaultCode("CPUPerformance", _REPORT),
    "NHC2023": FaultCode("HpcGenericFailure", f"An NVMe disk is missing: lsblk. {_REPORT}"),
}  # fmt: skip
#: The check itself is not set up: never the node's fault.
NOT_SET_UP = "NHCNA"


@dataclass(frozen=True)
class WrongLimit:
    """A limit of AzNHC that a size can never meet.

    Attributes:
        size: pattern of the VM size.
        text: pattern of the error.
        why: the sentence for people.
        source: where it is known from.
    """

    size: str
    text: str
    why: str
    source: str


#: Read 2026-11-22; take an entry out when its issue is closed and the fixed version is required.
WRONG_LIMITS = (
    WrongLimit(
        r"nc\d+ad\w+_h100_v5", r"check_gpu_bw: P2P .* is less than 335\b",
        "this size links its GPUs by 12 of 18 NVLinks and reaches about 256 GB/s; AzNHC asks for 335",
        "https://github.com/Azure/azurehpc-health-checks/issues/162",
    ),
    WrongLimit(
        r"nc\d+ad\w+_h100_v5", r"check_nvlink_status: .*nvlinks inactive",
        "links that this size does not use are inactive by design",
        "https://github.com/Azure/azurehpc-health-checks/issues/162",
    ),
)  # fmt: skip

#: NHC's watchdog and signal handlers: the check that ran then was not done.
_ENDED = re.compile(r"timed out|[Ww]atchdog|Terminated by signal")
_BLOCK = re.compile(r"^\s*------ VM Meta Data ------\s*$", re.M)
#: ``date +%s`` of NHC's debugging output (nhc 1.4.3, dbg(), log()).
_STAMP = re.compile(r"^\[\d+\] - ")
_META = re.compile(
    r"^\s*(VM NAME|COMPUTER NAME|VM HOST NAME|VM ID|VM SKU|PHYSICAL HOST NAME|Kernel Version):[ \t]*(.*)$"
)
_BEGINS = re.compile(r"^Node Health Check starting\.")
_UNSUPPORTED = re.compile(r"The vm SKU '(?:standard_)?([^']*)' is currently not supported")
_RUNNING = re.compile(r'^Running check:\s+"(.*)"\s*$')
_ERROR = re.compile(r"^ERROR:\s+\w+:\s+Health check failed:\s+(?:-e )?(?:\\t\s*)?(.*)$")
_COUNT = re.compile(r"^ERROR:\s+\w+:\s+(\d{1,9}) health checks? failed")
_OTHER_ERROR = re.compile(r"^ERROR:\s+\w+:\s+(.*)$")
_WARNING = re.compile(r"^WARNING:\s+\w+:\s+(?:Nearing a failure threshold:\s+)?(.*)$")
_MARK = re.compile(r"^(?:ERROR|SUCCESS|WARNING|DEBUG|Running check|Node Health|Health checks completed|nhc\b)")
_CODE = re.compile(r"\b[Ff]aul\w?e?[Cc]ode:\s*(NHC\w+)")
_END = re.compile(r"^Health checks completed with exit code: (-?\d{1,9})\.")
_SKIPPED = re.compile(
    r"(Skipping GPU Xid error test|IB Link flapping test skipped|throttle check test failed to run|NVLINK is not enabled)"
)
#: What bash says of a line of a script: never a part of an error's text.
_OF_BASH = re.compile(r"^/\S+: line \d+: (.*)$")
_NO_TOOL = re.compile(r"^/\S*/scripts/\S+\.nhc: line \d+: (\S+: command not found)$")
_OLD_XID = re.compile(r"^Xid older than \d+ hours")
#: Checks that measure, and how the figures begin that they print with ``-v``.
_MEASURES = {
    "check_gpu_bw": ("H2D_", "D2H_", "P2P_"),
    "check_nccl_allreduce": ("nccl_all_red",),
    "check_nccl_allreduce_ib_loopback": ("nccl_all_red_lb",),
    "check_ib_bw_gdr": ("ib_write_lb_",),
    "check_ib_bw_non_gdr": ("ib_write_lb_",),
}
_SEEN_BEFORE = re.compile(r"This XID has been reported before:")
_THROTTLED = re.compile(r"GPU (\d+) throttled, reason=(0x[0-9a-fA-F]+)")
_FIGURE = re.compile(r"^DEBUG:\s+(\w+):\s+(\d+\.?\d*|\.\d+)\s+(GB/s|Gbps|MB/s)\s*$")
_TO_BYTES = {"GB/s": 1e9, "MB/s": 1e6, "Gbps": 1e9 / 8}
_RATES = tuple(_TO_BYTES)
#: HW slow-down, HW thermal, power brake: faults whatever the load. https://docs.nvidia.com/deploy/nvml-api/
#: (NvmlClocksEventReasons)
_HARD_THROTTLE = 0x8 | 0x40 | 0x80


@dataclass(frozen=True)
class Fault:
    """One failed check.

    Attributes:
        text: its words in one line.
        code: ``NHC2009``; empty where it has none (checks of NHC itself).
        counted: False for what AzNHC only logs.
    """

    text: str
    code: str = ""
    counted: bool = True

    def blame(self, size: str) -> Blame:
        """Whom it speaks of, on a VM of this size."""
        if self.code == NOT_SET_UP:
            return "setup"
        return "limit" if self.wrong_limit(size) else "node"

    def wrong_limit(self, size: str) -> WrongLimit | None:
        """The limit that this size can never meet, if that is what it missed."""
        return next((w for w in WRONG_LIMITS if re.search(w.size, size) and re.search(w.text, self.text)), None)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return FAULT_CODES[self.code].remedy if self.code in FAULT_CODES else "Read its text; run the check by hand."


@dataclass
class Checked:
    """One check that began.

    Attributes:
        name: as it stands in the configuration, with its arguments.
        faults: what failed.
        skipped: why it did not look; empty when it did.
        warnings: near a limit, or a soft throttle.
    """

    name: str
    faults: list[Fault] = field(default_factory=list)
    skipped: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass
class NodeRun:
    """The last run in a log.

    Attributes:
        about: ``VM SKU``, ``VM HOST NAME``, ``PHYSICAL HOST NAME`` …
        checks: in their order.
        exit_code: None when the run did not end.
        failed: how many checks failed by its own count, None where it does not say.
        figures: ``H2D_GPU_0`` → bytes per second.
        troubles: errors that are no failed check (a time-out, a lock).
        unsupported_size: the size that it does not know; empty otherwise.
        verbose: True when it says which checks it runs: without that nobody knows that one ran.
        debug: True when it prints what it measured.
        after: a line that stands after its end; empty where none does.
    """

    about: dict[str, str] = field(default_factory=dict)
    checks: list[Checked] = field(default_factory=list)
    exit_code: int | None = None
    failed: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    unsupported_size: str = ""
    verbose: bool = False
    debug: bool = False
    after: str = ""

    @property
    def errors(self) -> int:
        """Failed checks by its own lines."""
        return sum(fault.counted for check in self.checks for fault in check.faults)

    @property
    def size(self) -> str:
        """VM size in lower case, without ``standard_``."""
        return self.about.get("VM SKU", "").lower().replace("standard_", "")

    def contradictions(self, status: int | None = None) -> list[str]:
        """Why its silence, its count or its exit status cannot be trusted.

        Args:
            status: that the script ended with; None where nobody has kept it.
        """
        found_wrong = []
        if self.exit_code is None:
            found_wrong.append(
                f"the run did not end (exit status {status})" if status is not None else "the run did not end"
            )
        elif not 0 <= self.exit_code < 128:
            found_wrong.append(f"the run was ended by a signal or its watchdog ({self.exit_code})")
        elif self.exit_code and not self.errors:
            found_wrong.append(f"exit status {self.exit_code}, and no check says why")
        if self.after:
            found_wrong.append(f"the log goes on after its end: {self.after}")
        if not self.verbose:
            found_wrong.append("it was run without -v: nothing says that a check ran")
        elif not self.checks:
            found_wrong.append("its configuration has no check for this host")
        # Failures in background processes are printed and not counted; fewer lines than it counts are lost lines.
        if self.failed is not None and self.failed > self.errors:
            found_wrong.append(f"it counts {self.failed} failed checks, its lines report {self.errors}")
        if status is not None and self.exit_code is not None and status != self.exit_code:
            found_wrong.append(f"the script ended with {status}, the checks with {self.exit_code}")
        return found_wrong


def parse_aznhc(log: str) -> NodeRun:
    """The last run of a log of AzNHC.

    Raises:
        NotUnderstood: there is no run in it, or it is no text.
    """
    log = plain(log, "the log of AzNHC")
    starts = [match.end() for match in _BLOCK.finditer(log)]
    last = log[starts[-1] :] if starts else log
    refused = list(_UNSUPPORTED.finditer(last))
    if refused:
        return NodeRun(unsupported_size=refused[-1][1])
    if not starts:
        raise NotUnderstood("the log has no run of Azure's health checks in it", "It needs the block 'VM Meta Data'.")
    run = NodeRun()
    reader = _Reader(run)
    for line in last.splitlines():
        reader.add(line.rstrip())
    reader.close()
    _unmeasured(run)
    _unmeetable(run)
    return run


def _unmeetable(run: NodeRun) -> None:
    """A check that no node of this size can pass says nothing of this one: beside its limit a real fault cannot be seen."""
    for check in run.checks:
        limits = [fault.wrong_limit(run.size) for fault in check.faults]
        if check.faults and limits[0] and all(fault.blame(run.size) == "limit" for fault in check.faults):
            check.skipped = (
                check.skipped or f"a limit that this size can never meet: {limits[0].why} ({limits[0].source})"
            )


def _unmeasured(run: NodeRun) -> None:
    """A check that measures and printed no figure did not measure."""
    for check in run.checks if run.debug else ():
        begins = _MEASURES.get(check.name.partition(" ")[0])
        said = check.faults or check.skipped or check.warnings
        if begins and not said and not any(figure.startswith(begins) for figure in run.figures):
            check.skipped = "its tool printed no figure"


class _Reader:
    """Line by line; an error stays open, because it may go on in the next line."""

    def __init__(self, run: NodeRun) -> None:
        self.run = run
        self.open: list[str] = []

    def add(self, line: str) -> None:
        if line and self.run.exit_code is not None:
            self.run.after = line
        # Most lines of a log are debugging output: only its figures are of interest.
        begin = line.find("] - ") + 4 if line.startswith("[") else 0
        if line.startswith("DEBUG:", begin) and not line.endswith(_RATES):
            self.run.debug = True
            self.close()
            return
        stamp = _STAMP.match(line)
        text = line[stamp.end() :] if stamp else line
        if text.startswith("/") and _OF_BASH.match(text):
            self.missing(text)
        elif self.open and text and not stamp and not _MARK.match(text):
            self.open.append(text)
        elif text:
            self.close()
            self.line(text)

    def missing(self, text: str) -> None:
        """What bash says, which is of interest where a check had no tool."""
        if self.run.checks and (match := _NO_TOOL.match(text)):
            self.run.checks[-1].skipped = match[1]

    def line(self, text: str) -> None:
        """The first line of something."""
        if match := _FIGURE.match(text):
            self.run.debug = True
            self.run.figures[match[1]] = float(match[2]) * _TO_BYTES[match[3]]
        elif _BEGINS.match(text):
            self.run.verbose = True
        elif match := _RUNNING.match(text):
            self.run.verbose = True
            self.run.checks.append(Checked(match[1]))
        elif match := _ERROR.match(text):
            self.open = [match[1]]
        elif match := _COUNT.match(text):
            self.run.failed = int(match[1])
        elif match := _OTHER_ERROR.match(text):
            self.run.troubles.append(match[1])
        elif match := _END.match(text):
            self.run.exit_code = int(match[1])
        elif not self.run.checks and (match := _META.match(text)):
            self.run.about[match[1]] = match[2].strip()
        else:
            self.remark(text)

    def remark(self, line: str) -> None:
        """What AzNHC logs and does not fail."""
        if _SKIPPED.search(line):
            self.current(line).skipped = line
        elif _SEEN_BEFORE.search(line):
            self.current("check_gpu_xid").faults.append(Fault(line, "NHC2001", counted=False))
        elif match := _THROTTLED.search(line):
            check = self.current("check_gpu_clock_throttling")
            if int(match[2], 16) & _HARD_THROTTLE:
                check.faults.append(Fault(line, counted=False))
            else:
                check.warnings.append(line)
        elif _OLD_XID.match(line):
            self.current("check_gpu_xid").warnings.append(line)
        elif match := _WARNING.match(line):
            self.current(match[1]).warnings.append(match[1])

    def close(self) -> None:
        """An error is whole."""
        if self.open:
            text = " ".join(" ".join(self.open).split())
            code = _CODE.search(text)
            if _ENDED.search(text):
                self.current(text).skipped = text
                self.run.troubles.append(text)
            else:
                self.current(text).faults.append(Fault(text, code[1] if code else ""))
            self.open = []

    def current(self, text: str) -> Checked:
        """The check that runs; without -v a new one, by the name that the line begins with."""
        if not self.run.verbose or not self.run.checks:
            self.run.checks.append(Checked(text.partition(":")[0].strip() or "unnamed"))
        return self.run.checks[-1]
