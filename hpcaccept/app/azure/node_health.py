"""Judges the health of the nodes of a scale set: what was gathered of each in, one verdict for each tool and node out.

Gathered are the files that azure/node/opt writes. Logs are judged here, by the parsers of the checks; the status file says when that was,
and can only make it worse: nothing is PASS unless its status says so too. A node is PASS when dcgmi is, and AzNHC or healthagent is, and
its own word is "healthy". Nothing is read and nobody is asked here, so that a thousand nodes are judged in a moment.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import at_most
from hpcaccept.model.verdict import Outcome, Subject, Verdict, exit_code, worst
from hpcaccept.parse.aznhc import FAULT_CODES, parse_aznhc
from hpcaccept.parse.dcgm import Diag, parse_diag, return_code
from hpcaccept.parse.healthagent import parse_healthagent
from hpcaccept.parse.node_status import NODE_WORDS, TOOL_WORDS, NodeInfo, NodeStatus, last_status, parse_node_info
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping

    #: Path → its bytes, or in words why there are none.
    Files = Mapping[str, bytes | str]

AZNHC, HEALTHAGENT = "/var/log/aznhc-health.log", "/var/log/healthagent.json"
DCGMI, NODE = "/var/log/dcgmi-diag.log", "/var/log/node-health.log"
INFO = "/var/log/node-info.log"
#: What has to be gathered of each node.
PATHS = (
    AZNHC,
    f"{AZNHC}.status",
    HEALTHAGENT,
    f"{HEALTHAGENT}.status",
    DCGMI,
    f"{DCGMI}.status",
    f"{NODE}.status",
    INFO,
)
#: A status that was written longer ago says nothing of today; nothing runs the scripts again by itself.
OLDEST_S = 86400.0
#: Clocks of two machines.
_AHEAD_S = 300.0
_AGAIN = "On the node: sudo /opt/run-health-checks.sh"
_LEVEL_2 = "On the node: sudo /opt/run-health-checks.sh 2 (level 1 of dcgmi computes nothing)"
_LIMIT = at_most(0, "failures", "the limits of the tool")
#: https://learn.microsoft.com/azure/azure-impact-reporting/guest-health-impact-report
_UNHEALTHY = "Resource.Hpc.Unhealthy."
_ENDED = re.compile(r"\nexit status: (\d{1,3})\n\Z")
#: Most characters of a reason: a row of a table, not a log.
_LONGEST = 400


@dataclass(frozen=True)
class Finding:
    """What one log proves.

    Attributes:
        outcome: of the tool on this node.
        reason: one sentence.
        failures: that it counts.
        code: None for a PASS.
        remedy: empty: what the code says.
        categories: impact categories of Azure's guest health reporting, of a FAIL.
    """

    outcome: Outcome
    reason: str
    failures: int = 0
    code: FindingCode | None = None
    remedy: str = _AGAIN
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeHealth:
    """One row of the table.

    Attributes:
        node: its name.
        info: what it calls itself and the machine below it; None where it has not said.
        aznhc: verdict of Azure's node health checks.
        healthagent: of healthagent.
        dcgmi: of NVIDIA's diagnostic.
        verdict: of the node.
        categories: what Azure's guest health reporting calls the faults of this node (``Resource.Hpc.Unhealthy.HpcMissingGpu`` …).
    """

    node: str
    info: NodeInfo | None
    aznhc: Verdict
    healthagent: Verdict
    dcgmi: Verdict
    verdict: Verdict
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScaleSetHealth:
    """All nodes that were asked for, in their order."""

    rows: tuple[NodeHealth, ...]

    @property
    def exit_code(self) -> int:
        """0 every node is PASS, 1 a node FAILs, 3 anything else."""
        return exit_code((row.verdict.outcome, True) for row in self.rows)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many nodes have which verdict."""
        return dict(Counter(row.verdict.outcome for row in self.rows))


def gather_command() -> str:
    """The shell command that prints all ``PATHS`` of a node as one archive. Everybody may read them: it needs no root."""
    names = " ".join(path.lstrip("/") for path in PATHS)
    return f"tar --directory=/ --create --file=- --ignore-failed-read {names} 2>/dev/null; true"


def unpack(archive: bytes, why: str = "") -> Files:
    """What the command of ``gather_command`` printed, as ``judge_nodes`` takes it.

    Args:
        archive: its output.
        why: it failed; empty when it did not.
    """
    if why:
        return dict.fromkeys(PATHS, why)
    found: dict[str, bytes | str] = dict.fromkeys(PATHS, "there is no such file on the node")
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            for member in opened:
                path = f"/{member.name}"
                # A link or a device is not read, nor what nobody asked for.
                stream = opened.extractfile(member) if member.isreg() and path in found else None
                if stream:
                    found[path] = stream.read()
    except (tarfile.TarError, OSError, ValueError, EOFError) as fault:
        return dict.fromkeys(PATHS, f"what it sent is not an archive: {fault}")
    return found


def judge_nodes(
    gathered: Mapping[str, Files], *, gpus: int, now: dt.datetime, oldest_s: float = OLDEST_S
) -> ScaleSetHealth:
    """Judges what was gathered.

    Args:
        gathered: every node that was asked for → ``PATHS`` → bytes, or why they could not be had. A path that is not there counts
            as not gathered.
        gpus: of one node; 0 for a size without, which needs no dcgmi.
        now: in UTC.
        oldest_s: seconds after which a status says nothing.
    """
    return ScaleSetHealth(tuple(_judge(node, files, gpus, now, oldest_s) for node, files in gathered.items()))


def as_table(health: ScaleSetHealth) -> str:
    """One line for each node, and one that counts them."""
    head = ("node", "physical host", "AzNHC", "healthagent", "dcgmi", "node health", "why")
    lines = [head, *(_row(row) for row in health.rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head) - 1)]
    table = [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    ]
    counted = ", ".join(f"{health.counts[outcome]} {outcome.value}" for outcome in Outcome if outcome in health.counts)
    return "\n".join([*table, f"{len(health.rows)} nodes: {counted or 'none'}"])


def _row(row: NodeHealth) -> tuple[str, ...]:
    host = row.info.physical_host if row.info else ""
    said = [verdict.outcome.value for verdict in (row.aznhc, row.healthagent, row.dcgmi, row.verdict)]
    why = "" if row.verdict.outcome is Outcome.PASS else row.verdict.reason
    return (safe(row.node), safe(host) or "–", *said, safe(why))


def _judge(node: str, files: Files, gpus: int, now: dt.datetime, oldest_s: float) -> NodeHealth:
    look = _Look(files, now, oldest_s)
    if silent := look.silence():
        aznhc, agent, dcgmi = (_verdict(node, name, silent) for name in ("aznhc", "healthagent", "dcgmi"))
        return NodeHealth(node, None, aznhc, agent, dcgmi, _verdict(node, "node_health", silent))
    found = {
        "aznhc": look.tool(AZNHC, lambda text, _: _aznhc(text, look.info())),
        "healthagent": look.tool(HEALTHAGENT, lambda text, status: _healthagent(text, status, gpus)),
        "dcgmi": look.tool(DCGMI, lambda text, _: _dcgmi(text, gpus)),
    }
    own = Finding(Outcome.PASS, "no GPU") if not gpus else look.own_word()
    whole = _whole(found, own, gpus)
    # Either of Azure's two tools is enough, and a size without GPUs needs no dcgmi.
    enough = any(found[name].outcome is Outcome.PASS for name in ("aznhc", "healthagent"))
    optional = {
        name
        for name, finding in found.items()
        if finding.outcome is Outcome.NOT_RUN and (not gpus if name == "dcgmi" else enough)
    }
    verdicts = {name: _verdict(node, name, finding, required=name not in optional) for name, finding in found.items()}
    categories = tuple(dict.fromkeys(name for finding in found.values() for name in finding.categories))
    said = verdicts["aznhc"], verdicts["healthagent"], verdicts["dcgmi"]
    return NodeHealth(node, look.info(), *said, _verdict(node, "node_health", whole), categories)


def _verdict(node: str, check: str, finding: Finding, *, required: bool = True) -> Verdict:
    is_judged = finding.outcome.is_judged
    return Verdict(
        Subject(node),
        check,
        finding.outcome,
        finding.reason,
        metric="failures" if is_judged else "",
        value=float(finding.failures) if is_judged else None,
        unit="failures" if is_judged else "",
        limit=_LIMIT if is_judged else None,
        remedy="" if finding.code is None else finding.remedy,
        required=required,
        question="limits" if is_judged else None,
        code=finding.code,
    )


def _whole(found: Mapping[str, Finding], own: Finding, gpus: int) -> Finding:
    """The node: the worst of what it needs."""
    azure = [found["aznhc"], found["healthagent"]]
    passed = [finding for finding in azure if finding.outcome is Outcome.PASS]
    # NOT_RUN beside a PASS is the tool that this size or image does not have; anything else counts.
    needed = [finding for finding in azure if not passed or finding.outcome is not Outcome.NOT_RUN]
    needed += [found["dcgmi"], own] if gpus else []
    outcome = worst([finding.outcome for finding in needed])
    if outcome is Outcome.PASS:
        return Finding(Outcome.PASS, "all that it needs has passed")
    names = {id(finding): name for name, finding in found.items()} | {id(own): "node"}
    blamed = [finding for finding in needed if finding.outcome is outcome]
    reason = "; ".join(f"{names[id(finding)]}: {finding.reason}" for finding in blamed)
    return replace(blamed[0], reason=reason[:_LONGEST], failures=sum(finding.failures for finding in blamed))


class _Look:
    """The files of one node."""

    def __init__(self, files: Files, now: dt.datetime, oldest_s: float) -> None:
        self.files, self.now, self.oldest_s = files, now, oldest_s

    def content(self, path: str) -> bytes | Finding:
        """Of a file, or why there is none."""
        found = self.files.get(path, "it was not gathered")
        if isinstance(found, bytes):
            return found
        return _not_run(f"{path}: {found}")

    def silence(self) -> Finding | None:
        """Why nothing at all came from it; None where something did."""
        if any(isinstance(content, bytes) for content in self.files.values()):
            return None
        why = dict.fromkeys(str(content) for content in self.files.values()) or {"it was not asked": None}
        reason = f"nothing could be gathered: {'; '.join(why)}"[:_LONGEST]
        return Finding(
            Outcome.ERROR, reason, code=FindingCode.NODE_SILENT, remedy="Can it be reached? ssh to it by hand."
        )

    def status(self, path: str, words: tuple[str, ...]) -> NodeStatus | Finding:
        """The last line of ``path.status``, where it is of today."""
        content = self.content(f"{path}.status")
        if isinstance(content, Finding):
            return content
        try:
            status = last_status(content, words)
        except NotUnderstood as fault:
            return _unknown(f"{path}.status: {fault.message}")
        age_s = (self.now - status.when).total_seconds()
        if age_s > self.oldest_s:
            reason = f"{path}.status is {age_s / 3600:.0f} h old, at most {self.oldest_s / 3600:.0f} h are allowed"
            return _not_run(reason)
        if age_s < -_AHEAD_S:
            return _error(f"{path}.status was written {-age_s / 60:.0f} min from now: a clock is wrong")
        return status

    def tool(self, path: str, judge: Callable[[str, NodeStatus], Finding]) -> Finding:
        """What a log proves, and never more than its status says."""
        status = self.status(path, TOOL_WORDS)
        if isinstance(status, Finding):
            return status
        content = self.content(path)
        if isinstance(content, Finding):
            return content
        try:
            found = judge(content.decode("utf-8", "replace"), status)
        except NotUnderstood as fault:
            found = _unknown(fault.message)
        found = replace(found, reason=" ".join(found.reason.split())[:_LONGEST])
        if found.outcome is Outcome.PASS and status.word != "passed":
            return _error(f"its log shows no fault, and {path}.status says {status.word}")
        return found

    def own_word(self) -> Finding:
        """What the node says of itself."""
        status = self.status(NODE, NODE_WORDS)
        if isinstance(status, Finding):
            return status
        if status.word == "healthy":
            return Finding(Outcome.PASS, "healthy")
        return _error(f"it calls itself {status.word}")

    def info(self) -> NodeInfo | None:
        """Who it is, where it has said so."""
        content = self.content(INFO)
        try:
            return parse_node_info(content) if isinstance(content, bytes) else None
        except NotUnderstood:
            return None


def _error(reason: str) -> Finding:
    return Finding(Outcome.ERROR, reason, code=FindingCode.TOOL_ERROR)


def _unknown(reason: str) -> Finding:
    return Finding(Outcome.ERROR, reason, code=FindingCode.OUTPUT_UNKNOWN)


def _not_run(reason: str, remedy: str = _AGAIN) -> Finding:
    return Finding(Outcome.NOT_RUN, reason, code=FindingCode.CHECK_NOT_RUN, remedy=remedy)


def _failed(count: int, reason: str, categories: Iterable[str]) -> Finding:
    named = tuple(dict.fromkeys(filter(None, categories)))
    return Finding(Outcome.FAIL, reason, count, FindingCode.TOOL_FAULT, remedy="", categories=named)


def _aznhc(text: str, info: NodeInfo | None) -> Finding:
    if "run-health-checks.sh is not installed" in text[:1000]:
        return _not_run("AzNHC is not installed", "Use an image of Azure's HPC family, or healthagent.")
    run = parse_aznhc(text)
    if run.unsupported_size:
        return _not_run(f"AzNHC does not support the size {run.unsupported_size}", "Install healthagent on this size.")
    there = run.about.get("VM HOST NAME", "")
    if info and there and there.partition(".")[0].lower() != info.host.partition(".")[0].lower():
        return _error(f"the log is of the machine {there!r}, this is {info.host!r}")
    faults = [fault for check in run.checks for fault in check.faults]
    blamed = [fault for fault in faults if fault.blame(run.size) == "node"]
    if blamed:
        categories = [f"{_UNHEALTHY}{FAULT_CODES[fault.code].name}" for fault in blamed if fault.code in FAULT_CODES]
        return _failed(len(blamed), "; ".join(fault.text for fault in blamed), categories)
    troubles = run.troubles + [f.text for f in faults if f.blame(run.size) == "setup"] + run.contradictions()
    if troubles:
        return _error("; ".join(troubles))
    skipped = [f"{check.name.partition(' ')[0]}: {check.skipped}" for check in run.checks if check.skipped]
    if skipped:
        return _not_run("looked at nothing: " + "; ".join(skipped))
    return Finding(Outcome.PASS, f"{len(run.checks)} checks passed")


def _healthagent(text: str, status: NodeStatus, gpus: int) -> Finding:
    if not text.strip() and status.word == "unknown":
        return _not_run("healthagent is not installed, or does not run", "On the node: systemctl status healthagent")
    report = parse_healthagent(text)
    by_meaning: dict[str, list[str]] = {}
    for check in report.checks:
        by_meaning.setdefault(check.meaning, []).append(f"{check.name}: {check.said or check.status}")
    failed, setup = by_meaning.get("failed", []), by_meaning.get("setup", [])
    if failed:
        return _failed(len(failed), "; ".join(failed), [c.category for c in report.checks if c.meaning == "failed"])
    stale = [
        f"{check.name} last reported at {check.updated:%H:%M} UTC"
        for check in report.checks
        if check.is_stale(status.when)
    ]
    absent = [f"{name} has not reported" for name in (report.unreported() if gpus else ())]
    if setup or stale or absent:
        return _error("; ".join([*setup, *absent, *stale]))
    if warned := by_meaning.get("warned", []):
        return Finding(Outcome.WARN, "; ".join(warned), len(warned), FindingCode.TOOL_FAULT, remedy="")
    if untested := by_meaning.get("untested", []):
        return _not_run("; ".join(untested))
    return Finding(Outcome.PASS, f"{len(report.checks)} checks passed")


def _dcgmi(text: str, gpus: int) -> Finding:
    ended = _ENDED.search(text)
    if not ended:
        return _error("the run of dcgmi did not end: its log has no exit status")
    status, said = int(ended[1]), text[: ended.start()]
    if "dcgmi is not installed" in said:
        return _not_run("dcgmi is not installed", "Install DCGM (datacenter-gpu-manager-4-cuda…) in the image.")
    if status and '"DCGM' not in said:
        return _refused(status, said)
    diag = parse_diag(said)
    if diag.runtime_error and not diag.results:
        return _refused(status, diag.runtime_error)
    return _diagnosed(diag, status, gpus)


def _refused(status: int, said: str) -> Finding:
    code = return_code(status, said)
    reason = f"dcgmi tested nothing: {code.meaning} (exit status {status}): {said.strip()[-200:]}"
    return _not_run(reason, code.remedy or _AGAIN) if code.absent else _error(reason)


def _diagnosed(diag: Diag, status: int, gpus: int) -> Finding:
    by_meaning: dict[str, list[str]] = {}
    for result in diag.results:
        by_meaning.setdefault(result.meaning, []).append(f"{result.name}: {result.said or result.status}")
    if failed := by_meaning.get("failed"):
        return _failed(len(failed), "; ".join(failed), [f"{_UNHEALTHY}HpcGpuDcgmDiagFailure"])
    troubles = [diag.runtime_error] if diag.runtime_error else []
    troubles += [text for word in ("untested", "setup", "warned") for text in by_meaning.get(word, [])]
    troubles += diag.uncovered(gpus)
    if status and not troubles:
        troubles = [f"dcgmi ended with {status} ({return_code(status).meaning}), and no sub-test says why"]
    if troubles:
        return _error("; ".join(troubles))
    if passed := by_meaning.get("passed"):
        return Finding(Outcome.PASS, f"{len(passed)} results passed")
    if any(result.is_moot for result in diag.results):
        return _not_run("dcgmi looked at the software only: no test of the hardware ran", _LEVEL_2)
    return _not_run("dcgmi skipped every sub-test")
