"""Runs Azure's own node health checks on this virtual machine."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hpcaccept.errors import ToolError
from hpcaccept.measure.host import host
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, WEEK_S, param
from hpcaccept.parse.aznhc import Checked, NodeRun, parse_aznhc
from hpcaccept.transport.tool import found, run_tool

_SOURCE = "https://github.com/Azure/azurehpc-health-checks"
_INSTALL = f"Clone {_SOURCE} to the nodes and name its run-health-checks.sh with 'script', or give a 'log'."
_ON_HOST = (
    "Run it on the host as root and give its log with 'log' (/…/{node}.log); inside a container there is no docker."
)


@dataclass(frozen=True)
class Aznhc(Check):
    """Runs Azure's node health checks (AzNHC) on the node, or reads a log of them, and judges every check by itself.

    How: the first rank of the node runs ``run-health-checks.sh -a -v -t … -o …`` (short options: of the long ones some
    swallow the next word) or reads ``log``. Only the last run of a log counts. ``failures[check_gpu_count 8]`` is 0
    for a check that ran and found nothing. Its code (NHC2001 to NHC2023) and what to do stand in the fact
    ``found[…]``. Bandwidths that it measured are ``rate_bytes``, judged against the other nodes.

    Where AzNHC passes and this does not: an Xid that an earlier run reported (it is logged only), a GPU that a hardware
    limit slows down (logged only), an InfiniBand port below its limit (printed by a background process and not
    counted). NOT_RUN: a VM size it does not know (exit status 0), checks that were skipped for want of a kernel log,
    checks whose tool is missing or printed no figure, limits that a size can never meet (issue 162), and a log that is
    too old. ERROR: NHCNA (the
    check is not set up), a run that did not end, a time-out (its watchdog ends it with 129, 130 or 143), a count or an
    exit status that contradicts its lines, a log without ``-v`` (nothing says that a check ran), of a configuration
    without a check for this host, or of another machine.

    It needs root (or sudo without a password), docker and Azure's metadata service; without them it is NOT_RUN. The
    script itself adds a line to its configuration where it finds accelerated networking. When the time-out ends it, its
    container ``aznhc`` may go on for a while: docker's daemon runs it.

    Parameters:
        script: run-health-checks.sh, by path or on PATH.
        log: read this instead of running; ``{node}`` stands for the name of the node.
        conf: its configuration; empty: by VM size.
        check_timeout_s: for its option -t.
        timeout_s: of the whole run.
        max_age_s: a log that was written longer ago is not read.
    """

    name: ClassVar = "aznhc"
    revision: ClassVar = 1
    about: ClassVar = "Azure's node health checks: run, or their log read; every check by itself, with its fault code."
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "failures", "failures", "lower", "Faults that a check of AzNHC found; the fact 'found[…]' has its words and what to do.", title="AzNHC faults ({})",
            formula="failed lines of the check, and Xids and throttling that it only logs", source=_SOURCE, scope="node",
            statistic="worst", limit=at_most(0, "failures", "Azure's limits for the VM size"), required=False,
            code=FindingCode.TOOL_FAULT,
        ),
        Metric(
            "rate_bytes", "B/s", "higher", "A bandwidth that AzNHC measured (host and peer copies, NCCL, InfiniBand).", title="AzNHC bandwidth ({})",
            formula="as AzNHC prints it; Gbps / 8", source=_SOURCE, scope="node", peer_floor=0.05, required=False,
            headline=False,
        ),
    )  # fmt: skip

    script: str = "run-health-checks.sh"
    log: str = ""
    conf: str = ""
    check_timeout_s: int = param(500, at_least=1, at_most=WEEK_S, unit="s")
    timeout_s: float = param(1800.0, above=0, at_most=WEEK_S, unit="s")
    max_age_s: float = param(86400.0, above=0, at_most=366 * 24 * HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Run or read it on the first rank of the node; see the class."""
        if ctx.local_rank:
            return
        status: int | None = None
        if self.log:
            text, said = self._read(ctx), ""
        else:
            status, text, said = self._run(ctx)
        run = parse_aznhc(text)
        if run.unsupported_size:
            raise Unavailable(
                f"AzNHC does not support the VM size {run.unsupported_size!r}, and says so with exit status 0",
                "Leave aznhc out of the suite, or give it a 'conf'.",
            )
        if self.log:
            _same_machine(run, ctx.node)
        for name, fact in run.about.items():
            if fact:
                ctx.fact(name.lower().replace(" ", "_"), fact)
        _judge(ctx, run, status, said)

    def _read(self, ctx: CheckContext) -> str:
        file = Path(self.log.replace("{node}", ctx.node))
        try:
            age_s = time.time() - file.stat().st_mtime
            text = file.read_text("utf-8", errors="replace")
        except OSError as fault:
            raise Unavailable(
                f"the log {file} cannot be read: {fault.strerror}", "Is it on the node? Correct 'log'."
            ) from None
        if age_s > self.max_age_s:
            raise Unavailable(
                f"the log {file} is {age_s / 3600:.0f} h old, at most {self.max_age_s / 3600:.0f} h are allowed",
                "Run AzNHC again.",
            )
        ctx.keep("aznhc.log", text)
        return text

    def _run(self, ctx: CheckContext) -> tuple[int, str, str]:
        """Exit status, log, and what was printed. The log is a new one: an old one would be appended to."""
        found(self.script, _INSTALL)
        found("docker", _ON_HOST)
        if os.geteuid() and run_tool(ctx, ["sudo", "-n", "true"], timeout_s=20, remedy=_ON_HOST).returncode:
            raise Unavailable("AzNHC needs root, and sudo asks for a password here", _ON_HOST)
        file = ctx.folder.resolve() / f"aznhc.r{ctx.rank:06d}.log"
        command = [self.script, "-a", "-v", "-t", str(self.check_timeout_s), "-o", str(file)]
        done = run_tool(
            ctx, command + (["-c", self.conf] if self.conf else []), timeout_s=self.timeout_s, remedy=_INSTALL
        )
        text = file.read_text("utf-8", errors="replace") if file.exists() else ""
        return done.returncode, text or done.stdout, " ".join(f"{done.stdout} {done.stderr}".split())[-400:]


def _same_machine(run: NodeRun, node: str) -> None:
    there = run.about.get("VM HOST NAME", "").partition(".")[0].lower()
    # In a container the host's name is the scheduler's only.
    here = [name.partition(".")[0].lower() for name in (node, host.hostname())]
    if there and there not in here:
        raise ToolError(
            f"the log of AzNHC is of the machine {there!r}, this is {here[0]!r}",
            "Give each node its own: 'log' with {node}.",
        )


def _judge(ctx: CheckContext, run: NodeRun, status: int | None, said: str) -> None:
    """Emit what is known, then say what is not."""
    troubles = [f"AzNHC: {text}" for text in run.troubles]
    ended = run.exit_code is not None and 0 <= run.exit_code < 128
    repeats: dict[str, int] = defaultdict(int)
    for number, check in enumerate(run.checks):
        name = check.name.replace("[", "(").replace("]", ")")
        is_last = number == len(run.checks) - 1
        failed = [fault for fault in check.faults if fault.blame(run.size) == "node"]
        _tell(ctx, run, name, check)
        if failed or not (check.faults or check.skipped or (is_last and not ended)):
            ctx.emit("failures", len(failed), name, repeats[name])
            repeats[name] += 1
        troubles += [f"{name} is not set up: {f.text}" for f in check.faults if f.blame(run.size) == "setup"]
    for name, rate in run.figures.items():
        ctx.emit("rate_bytes", rate, name)
    troubles += run.contradictions(status)
    if troubles:
        words = f". It said: {said}" if said and not ended else ""
        raise ToolError(
            f"{'; '.join(troubles)}{words}",
            "Its log is in the run folder; run it by hand: sudo run-health-checks.sh -a -v",
        )
    if not repeats:
        raise Unavailable(
            "AzNHC skipped every check", "It needs /var/log/syslog or /var/log/messages for some of them."
        )


def _tell(ctx: CheckContext, run: NodeRun, name: str, check: Checked) -> None:
    """Words of a check, as facts and causes."""
    if check.skipped:
        ctx.unsupported(name, check.skipped if check.faults else f"AzNHC skipped it: {check.skipped}")
    if check.faults:
        ctx.fact(f"found[{name}]", "; ".join(f"{fault.text} → {fault.remedy}" for fault in check.faults))
    if check.warnings:
        ctx.fact(f"near_limit[{name}]", "; ".join(check.warnings))
