"""What is told of a fault in a bundle: the README, the RMA sheet, verdicts, the node, its numbers beside those of its peers, its Xids, its past."""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept import __version__, checks
from hpcaccept.app.run.rerun import nodes_needed, partners_of
from hpcaccept.model.metric import describe
from hpcaccept.model.metric_key import MetricKey, check_of
from hpcaccept.model.verdict import Outcome, Subject, device_name
from hpcaccept.report.phrases import counted, place_name
from hpcaccept.serial import to_plain
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hpcaccept.model.record import Record
    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.judged import Judged

#: ``Xid 79 at 0000:18:00`` of ``kernel_log``, ``Xid 79`` of ``health``; SXid is the NVSwitch's.
XID = re.compile(r"\bS?Xid (\d{1,6})\b")
_BAD = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)
#: Facts of ``identity`` that a vendor asks for → what they are called.
_ASKED_FOR = {
    "gpu_serial": "serial number",
    "gpu_pci_bus_id": "PCI address",
    "vbios": "VBIOS",
    "driver": "driver",
    "product": "product",
    "board": "board",
    "bios": "BIOS",
    "nic_firmware": "network firmware",
    "kernel": "kernel",
}
#: Findings that an RMA sheet quotes; the rest is in verdicts.json.
_QUOTED = 6


@dataclass(frozen=True)
class Fault:
    """Whom a bundle speaks of.

    Attributes:
        node: its name.
        device: ``cuda:3``; empty: the whole node.
    """

    node: str
    device: str = ""

    def __str__(self) -> str:
        return place_name(Subject(self.node, self.device))

    @property
    def word(self) -> str:
        """For the name of a file: ``node7-gpu3``."""
        return f"{self.node}-gpu{self.device.partition(':')[2]}" if self.device else self.node


def verdicts_on(judged: Judged, fault: Fault) -> list[Verdict]:
    """What was judged of the fault's own device and of its node as a whole."""
    return [v for v in judged.judgement.verdicts if concerns(judged, fault, v.subject, v.variant)]


def concerns(judged: Judged, fault: Fault, subject: Subject, variant: str) -> bool:
    """True for the fault's own device, and for what is said of the node as a whole; the kernel's log says of the node what another GPU of it had, by its address."""
    if subject.node != fault.node or (fault.device and subject.device not in ("", fault.device)):
        return False
    named = _bus(variant) if fault.device and not subject.device else ""
    facts = (record.facts for record in judged.evidence.records if named and _is_of(record, fault))
    mine = {_bus(each.get("gpu_pci_bus_id", "")) for each in facts} - {""}
    return not named or not mine or named in mine


def faults_of(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """What is wrong, FAIL first."""
    return sorted((v for v in verdicts if v.outcome in _BAD), key=lambda v: _BAD.index(v.outcome))


def verdicts(judged: Judged, node: str, mine: Sequence[Verdict]) -> dict[str, Any]:
    """``verdicts.json``."""
    return {
        "node": node,
        "worst": judged.summary.nodes[node].value if node in judged.summary.nodes else "",
        "verdicts": [to_plain(verdict) for verdict in mine],
        "run_exit_code": judged.judgement.exit_code,
    }


def node_facts(judged: Judged, node: str) -> dict[str, Any]:
    """Facts of each device of the node, those of ``identity`` first, and what any check noted about it."""
    devices: dict[str, dict[str, Any]] = {}
    for record in judged.evidence.records:
        if record.node == node:
            device = devices.setdefault(record.device, {"model": record.device_model, "uuid": record.device_id})
            device[record.check] = {"outcome": record.outcome, "cause": record.cause, "facts": record.facts}
    return {"node": node, "devices": devices, "hpcaccept": __version__}


def figures(judged: Judged, node: str) -> str:
    """One line per number of the node, beside the like subjects of the run."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ["metric", "device", "unit", "value", "peers", "peers_lowest", "peers_median", "peers_highest", "direction"]
    )
    for column in judged.values:
        subjects = [column.table_subjects[i] for i in column.subject.tolist()]
        for row, subject in enumerate(subjects):
            if subject.node != node:
                continue
            like = np.array(
                [u.node != node and (u.model, u.setting) == (subject.model, subject.setting) for u in subjects], bool
            )
            peers = column.value[like]
            spread = [peers.min(), np.median(peers), peers.max()] if len(peers) else ["", "", ""]
            value = column.value[row]
            table.writerow(
                [column.key, subject.device, column.metric.unit, value, len(peers), *spread, column.metric.direction]
            )
    return out.getvalue()


def past_of(folder: Path, judged: Judged, node: str) -> dict[str, Any]:
    """The subjects of the node in the history; nothing where there is none."""
    from hpcaccept.app.history import stories, trends
    from hpcaccept.model.history import subject_id

    if not folder.is_dir():
        return {}
    ids = {node, *(subject_id(subject) for subject in judged.evidence.samples.subjects if subject.node == node)}
    told = [story for story in stories(folder) if story.subject in ids]
    if not told:
        return {}
    return {"subjects": to_plain(told), "trends": to_plain(trends(folder, [story.subject for story in told])[0])}


def readme(judged: Judged, fault: Fault, mine: Sequence[Verdict], past: Mapping[str, Any], contents: str) -> str:
    """``README.txt``: all of it, for whoever opens the archive."""
    plan, faults = judged.evidence.plan, faults_of(mine)
    lines = [f"{_title(fault)}: what hpcaccept {plan.version} found", "", "What"]
    lines += [f"  {v.outcome.value:<5} {v.subject.device or 'node'}: {v.key} [{v.code}]: {v.reason}" for v in faults]
    lines += [] if faults else [f"  Nothing is wrong with {'this GPU' if fault.device else 'this node'} in this run."]
    lines += ["", "Which hardware", *(f"  {line}" for line in hardware(judged, fault))]
    lines += ["", "Since when", f"  Measured in run {plan.run_id}, planned {plan.created_at}.", *_since(past)]
    lines += ["", "How it was measured", *_methods(faults)]
    lines += ["", "How to see it again", *(f"  {line}" for line in again(judged, fault.node, faults))]
    lines += ["", "What is here", *contents.splitlines()]
    return "\n".join(lines) + "\n"


def rma_sheet(
    judged: Judged, fault: Fault, mine: Sequence[Verdict], past: Mapping[str, Any], files: Sequence[str]
) -> str:
    """``RMA.md``: one page for a ticket: what, which part, since when, by which evidence, how to repeat it.

    Args:
        judged: the run.
        fault: of whom it speaks.
        mine: verdicts on it.
        past: of ``past_of``.
        files: of the archive that are evidence.
    """
    plan, faults = judged.evidence.plan, faults_of(mine)
    lines = [f"# RMA: {fault}", "", "## Part", "", *(f"- {line}" for line in hardware(judged, fault))]
    lines += [f"- physical host {host}, as the node read it in the run" for host in physical_hosts(judged, fault.node)]
    lines += [
        "",
        "## Fault",
        "",
        *(
            f"- {v.outcome.value} {v.code}: {device_name(v.subject.device) or 'node'}: {v.reason}"
            for v in faults[:_QUOTED]
        ),
    ]
    if len(faults) > _QUOTED:
        lines.append(f"- {counted(len(faults) - _QUOTED, 'more finding')}: verdicts.json")
    lines += [] if faults else ["- none in this run"]
    lines += [
        "",
        "## Since when",
        "",
        f"- found in run {plan.run_id}, planned {plan.created_at}",
        *(f"- {line.strip()}" for line in _since(past)),
    ]
    if seen := xids(judged, fault):
        lines += [
            "",
            "## Xids",
            "",
            *(f"- {each['what']}, {each['where']}: {each['count']:g} ({each['metric']})" for each in seen),
        ]
    lines += ["", "## Evidence", "", *(f"- {line}" for line in _measured(faults[:_QUOTED]))]
    lines += ["- files: " + ", ".join(files)] if files else []
    lines += ["", "## How to repeat", "", *(f"    {line}" for line in again(judged, fault.node, faults)), ""]
    return "\n".join(lines)


def _title(fault: Fault) -> str:
    return f"GPU {fault.device.partition(':')[2]} of node {fault.node}" if fault.device else f"Node {fault.node}"


def _measured(faults: Sequence[Verdict]) -> Iterator[str]:
    for verdict in faults:
        if verdict.value is not None and verdict.limit is not None:
            found = f"{verdict.key}: {show(verdict.value, verdict.unit)}, expected {describe(verdict.limit)}"
            yield f"{found} ({verdict.limit.source or verdict.limit.origin})"


def xids(judged: Judged, fault: Fault) -> list[dict[str, Any]]:
    """Every Xid that was counted on the node: what, where, how often, by which metric. Those of other GPUs are left out where the fault is one GPU's."""
    found = []
    for column in judged.values:
        variant = MetricKey.parse(column.key).variant
        if not XID.search(variant):
            continue
        for place, value in zip(column.subject.tolist(), column.value.tolist(), strict=True):
            subject = column.table_subjects[place]
            what, _, where = variant.partition(" at ")
            if value and concerns(judged, fault, Subject(subject.node, subject.device), variant):
                where = where or device_name(subject.device) or "node"
                found.append(
                    {"what": what, "where": where, "count": value, "metric": str(MetricKey.parse(column.key).bare)}
                )
    return found


def _bus(text: str) -> str:
    """``18:00`` of ``0000:18:00`` and of ``00000000:18:00.0``; nothing where there is no PCI address."""
    match = re.search(r"\b[0-9a-f]{4,8}:([0-9a-f]{2}:[0-9a-f]{2})\b", text.lower())
    return match[1] if match else ""


def physical_hosts(judged: Judged, node: str) -> list[str]:
    """Names of the machine below a node, as its ranks read them in the run; more than one: it was moved."""
    hosts = (record.facts.get("physical_host", "") for record in judged.evidence.records if record.node == node)
    return list(dict.fromkeys(filter(None, hosts)))


def hardware(judged: Judged, fault: Fault) -> Iterator[str]:
    """A line for each device: model, UUID, and what of its facts a vendor asks for."""
    for record in judged.evidence.records:
        if check_of(record.check) == "identity" and _is_of(record, fault):
            facts = [f"{word} {record.facts[name]}" for name, word in _ASKED_FOR.items() if record.facts.get(name)]
            uuid = [f"UUID {record.device_id}"] if record.device_id else []
            part = device_name(record.device) or "node"
            yield f"{part}: {', '.join([record.device_model or 'no GPU', *uuid, *facts])}"


def _is_of(record: Record, fault: Fault) -> bool:
    return record.node == fault.node and fault.device in ("", record.device)


def _since(past: Mapping[str, Any]) -> Iterator[str]:
    if not past:
        yield "  No earlier runs are remembered."
    for story in past.get("subjects", ()):
        accepted = f"accepted last {story['last_accepted']}" if story["last_accepted"] else "never accepted"
        moved = f", before that {', '.join(story['places'][:-1])}" if len(story["places"]) > 1 else ""
        yield f"  {story['subject']}: failed in {story['failed']} of {story['runs']} runs, {accepted}{moved}."
    for row in past.get("trends", ()):
        if row["word"] in ("step", "decline"):
            yield f"  {row['key']}: {row['word']} of {row['size']:.1%} since {row['since']}."


def _methods(faults: Sequence[Verdict]) -> Iterator[str]:
    told = set()
    for verdict in faults:
        kind = checks.find(verdict.check)
        if (verdict.check, verdict.metric) in told or kind is None:
            continue
        told.add((verdict.check, verdict.metric))
        metric = next((m for m in kind.metrics if m.name == verdict.metric), None)
        yield f"  {verdict.check} (revision {kind.revision}): {kind.about}"
        if metric:
            yield f"    {metric.name} in {metric.unit}: {metric.help}"
            yield from (
                f"    {what}: {text}" for what, text in (("formula", metric.formula), ("source", metric.source)) if text
            )
        if verdict.value is not None and verdict.limit is not None:
            source = verdict.limit.source or verdict.limit.origin
            yield f"    found {show(verdict.value, verdict.unit)}; the limit comes from: {source}"
    if not told:
        yield "  See run.json for the checks and their parameters."


def again(judged: Judged, node: str, faults: Sequence[Verdict]) -> Iterator[str]:
    """The command that measures it again, with as many partners as it takes."""
    plan = judged.evidence.plan
    partners = partners_of(judged, [node], max((nodes_needed(judged, verdict) for verdict in faults), default=1) - 1)
    words = ["hpcaccept", "submit", "--nodes", str(1 + len(partners)), "--nodelist", ",".join([node, *partners])]
    words += ["--gpus-per-node", plan.request.gpus] if plan.request.gpus else []
    words += ["--suite", plan.suite.name, "--launcher", plan.launcher]
    words += ["--container-image", plan.image.reference] if plan.image.reference else []
    blamed = sorted({verdict.check for verdict in faults})
    words += [word for name in ("identity", *blamed) for word in ("--only", name)] if blamed else []
    yield shlex.join(words)
    if partners:
        yield f"{', '.join(partners)}: partners without a finding, which it takes to say who is slow; others of the same kind will do."
