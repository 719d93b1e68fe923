"""What a vendor needs to see of one fault, and nothing else: a redacted archive about one node of a run.

::

    hpcaccept-<run>-<node>/
      README.txt      what is wrong, since when, how it was measured, how to see it again
      verdicts.json   everything about the node that is not PASS, and how much passed
      node.json       its devices with serial numbers, driver, firmware, kernel …
      figures.csv     each number of the node beside its peers of the run
      history.json    what became of its subjects in earlier runs (where there is a history)
      run.json        what was run: suite, checks with parameters, versions
      driver.jsonl    what happened to the job
      guest-health-report.json   what was reported to Azure of the machine below the node (where it is named)
      records/ outputs/   of the node's ranks, as they are but for what was redacted
      REDACTED.txt    what was replaced and left out
"""

from __future__ import annotations

import contextlib
import csv
import getpass
import gzip
import io
import json
import os
import pwd
import re
import shlex
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept import __version__, checks
from hpcaccept.app.azure.report_host import read_report
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.app.run.rerun import nodes_needed, partners_of
from hpcaccept.bounded import open_regular, read_bytes
from hpcaccept.errors import RunError, UsageError, nearest
from hpcaccept.model.metric_key import check_of
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.redact import Redactor
from hpcaccept.serial import loads, to_plain
from hpcaccept.store.replaced_files import OWNER_ONLY, replacing
from hpcaccept.transport.network import own_names
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.judged import Judged
    from hpcaccept.store.folder import RunFolder
#: Bytes. A longer text is cut in its middle: a fault shows at the beginning or at the end.
_MOST_OF_A_FILE = 8_000_000
_RANK = re.compile(r"\br(\d{6})\b")


@dataclass
class Bundle:
    """The texts of a bundle before and after redaction.

    Attributes:
        texts: path in the archive → text.
        left_out: path → why it is not there.
        redacted: what was replaced, and how often.
    """

    texts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    redacted: list[str] = field(default_factory=list)


def make_bundle(
    folder: RunFolder,
    node: str,
    baselines_dir: Path,
    history: Path,
    file: Path,
    keep_names: bool = False,
    azure_report: Path | None = None,
) -> Bundle:
    """Gather, redact, and write the archive (0600); gives what is in it.

    Args:
        folder: of the run.
        node: that the fault is on.
        baselines_dir: where baselines are.
        history: where the past is.
        file: to be written.
        keep_names: True to keep the names of other hosts.
        azure_report: a Guest Health Report of this node, as ``azure report-host`` has written it down.

    Raises:
        UsageError: the run has no such node, or the report is none of it.
        RunError: the run cannot be read, or the archive cannot be written.
    """
    judged = judge_run(evidence_of(folder), baselines_dir, history)
    known = {*judged.evidence.nodes, *(record.node for record in judged.evidence.records)}
    if node not in known:
        raise UsageError(f"{folder.run_id} has no node {node!r}.", nearest(node, known))
    found = _gathered(folder, judged, node, history)
    if azure_report:
        found.texts["guest-health-report.json"] = _json(_azure_report(azure_report, node))
    redactor = Redactor([node], _hosts(judged, folder), _users(judged), keep_names)
    # The first time, what identifies people is learned from all texts; then none of them is before another.
    for path, text in found.texts.items():
        _redacted(redactor, path, text)
    redactor.counts.clear()
    root = redactor.text(f"hpcaccept-{folder.run_id}-{node}").replace("/", "-")
    clean = {f"{root}/{redactor.text(path)}": _redacted(redactor, path, text) for path, text in found.texts.items()}
    left_out = {redactor.text(path): why for path, why in found.left_out.items()}
    redacted = redactor.report()
    clean[f"{root}/REDACTED.txt"] = _redaction_note(redacted, left_out, keep_names)
    try:
        _write(file, clean)
    except OSError as fault:
        raise RunError(f"Cannot write {file}: {fault.strerror}.", "Choose another place with --out.") from fault
    return Bundle(clean, left_out, redacted)


def _azure_report(file: Path, node: str) -> dict[str, Any]:
    """Identity and body of a Guest Health Report; one of another node would accuse the wrong machine."""
    report = read_report(file)
    if report.node != node:
        raise UsageError(
            f"{file} is a report of {report.node or 'a node that it does not name'}, expected {node}.",
            "hpcaccept azure report-host writes report-NODE-….json into the cluster's folder.",
        )
    return {"identity": report.identity, "body": report.body}


def _redacted(redactor: Redactor, path: str, text: str) -> str:
    """The content of a file without what must not leave the site; JSON stays JSON."""
    if path.endswith(".jsonl"):
        return redactor.lines(text)
    if path.endswith(".json"):
        with contextlib.suppress(ValueError):
            return _json(redactor.plain(loads(text)))
    if path == "figures.csv":
        return redactor.table(text)
    return redactor.text(text)


def _gathered(folder: RunFolder, judged: Judged, node: str, history: Path) -> Bundle:
    found = Bundle()
    mine = [verdict for verdict in judged.judgement.verdicts if verdict.subject.node == node]
    past = _past(history, judged, node)
    found.texts["README.txt"] = _readme(judged, node, mine, past)
    found.texts["verdicts.json"] = _json(_verdicts(judged, node, mine))
    found.texts["node.json"] = _json(_node(judged, node))
    found.texts["figures.csv"] = _figures(judged, node)
    if past:
        found.texts["history.json"] = _json(past)
    found.texts["run.json"] = _json(to_plain(judged.evidence.plan))
    for file, path in _files(folder, node):
        try:
            text = _text_of(file)
        except OSError as fault:
            found.left_out[path] = f"it cannot be read: {fault.strerror}"
            continue
        if text is None:
            found.left_out[path] = "it is not text, so nothing could be redacted in it"
        else:
            found.texts[path] = text
    return found


def _files(folder: RunFolder, node: str) -> Iterator[tuple[Path, str]]:
    """The driver's log, the journals of the node's ranks, and what the tools of those ranks said."""
    if os.path.lexists(folder.driver_log):
        yield folder.driver_log, folder.driver_log.name
    # As serial.dumps writes it: a record of the node, or the first words of one of its ranks.
    sign = f'"node":{json.dumps(node, ensure_ascii=False)}'.encode()
    for step in sorted(path.name for path in (folder.path / "records").glob("*") if _is_own_folder(path)):
        ranks = set()
        for file in sorted(folder.records(step).glob("*.jsonl")):
            if sign in _bytes_of(file):
                ranks |= set(_RANK.findall(file.stem))
                yield file, f"records/{step}/{file.name}"
        if not _is_own_folder(folder.outputs(step)):
            continue
        for file in sorted(folder.outputs(step).rglob("*")):
            if file.is_file() and not file.is_symlink() and ranks & set(_RANK.findall(file.name)):
                yield file, f"outputs/{step}/{file.relative_to(folder.outputs(step))}"


def _is_own_folder(path: Path) -> bool:
    """True for a folder of the run: a link may lead to anybody's files."""
    return path.is_dir() and not path.is_symlink()


def _bytes_of(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError:
        return b""


def _text_of(file: Path) -> str | None:
    """The text of a file, its middle left out where it is very long; None where it is none.

    Raises:
        OSError: it is not a regular file, or cannot be read.
    """
    with os.fdopen(open_regular(file), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= _MOST_OF_A_FILE:
            parts = [stream.read(_MOST_OF_A_FILE)]
        else:
            parts = [stream.read(_MOST_OF_A_FILE // 2)]
            stream.seek(size - _MOST_OF_A_FILE // 2)
            parts.append(stream.read(_MOST_OF_A_FILE // 2))
    if any(b"\0" in part for part in parts):
        return None
    texts = [part.decode("utf-8", "replace") for part in parts]
    return f"\n[… {size - _MOST_OF_A_FILE} bytes left out …]\n".join(texts)


def _hosts(judged: Judged, folder: RunFolder) -> set[str]:
    """Every host name that is known: they may stand in any output."""
    evidence = judged.evidence
    names = {
        *evidence.nodes,
        *(rank_started.node for rank_started in evidence.rank_starts),
        *(r.node for r in evidence.records),
    }
    names |= {record.facts["hostname"] for record in evidence.records if record.facts.get("hostname")}
    names |= own_names()
    job = folder.read_job()
    return names | ({job.host} if job else set())


def _users(judged: Judged) -> set[str]:
    """Who submitted it, and in whose name."""
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER", "SLURM_JOB_USER")}
    with contextlib.suppress(KeyError, OSError):  # a number without a name, as in many containers
        names |= {getpass.getuser(), pwd.getpwuid(os.getuid()).pw_name}
    names |= {event.user for event in judged.evidence.events}
    return (names | {judged.evidence.plan.request.account}) - {""}


# --- what is told ------------------------------------------------------------------------------------------------------


def _verdicts(judged: Judged, node: str, mine: list[Verdict]) -> dict[str, Any]:
    return {
        "node": node,
        "worst": judged.summary.nodes[node].value if node in judged.summary.nodes else "",
        "verdicts": [to_plain(verdict) for verdict in mine],
        "run_exit_code": judged.judgement.exit_code,
    }


def _node(judged: Judged, node: str) -> dict[str, Any]:
    """Facts of each device of the node, those of ``identity`` first, and what any check noted about it."""
    devices: dict[str, dict[str, Any]] = {}
    for record in judged.evidence.records:
        if record.node == node:
            device = devices.setdefault(record.device, {"model": record.device_model, "uuid": record.device_id})
            device[record.check] = {"outcome": record.outcome, "cause": record.cause, "facts": record.facts}
    return {"node": node, "devices": devices, "hpcaccept": __version__}


def _figures(judged: Judged, node: str) -> str:
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


def _past(folder: Path, judged: Judged, node: str) -> dict[str, Any]:
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


def _readme(judged: Judged, node: str, mine: list[Verdict], past: dict[str, Any]) -> str:
    plan = judged.evidence.plan
    faults = [verdict for verdict in mine if verdict.outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)]
    lines = [f"Node {node}: what hpcaccept {plan.version} found", "", "What"]
    lines += [f"  {v.outcome.value:<5} {v.subject.device or 'node'}: {v.key} [{v.code}]: {v.reason}" for v in faults]
    lines += [] if faults else ["  Nothing is wrong with this node in this run."]
    lines += ["", "Which hardware", *_hardware(judged, node)]
    lines += ["", "Since when", f"  Measured in run {plan.run_id}, planned {plan.created_at}.", *_since(past)]
    lines += ["", "How it was measured", *_methods(faults)]
    lines += ["", "How to see it again", *_again(judged, node, faults)]
    lines += ["", "What is here", *(__doc__ or "").split("::", 1)[-1].strip("\n").splitlines()[1:]]
    return "\n".join(lines) + "\n"


def _hardware(judged: Judged, node: str) -> Iterator[str]:
    names = ("gpu_serial", "vbios", "driver", "gpu_pci_bus_id", "product", "board", "bios", "nic_firmware", "kernel")
    for record in judged.evidence.records:
        if record.node == node and check_of(record.check) == "identity":
            facts = ", ".join(f"{name} {record.facts[name]}" for name in names if record.facts.get(name))
            yield f"  {record.device}: {record.device_model or 'no GPU'} {record.device_id}; {facts}"


def _since(past: dict[str, Any]) -> Iterator[str]:
    if not past:
        yield "  No earlier runs are remembered."
    for story in past.get("subjects", ()):
        accepted = f"accepted last {story['last_accepted']}" if story["last_accepted"] else "never accepted"
        moved = f", before that {', '.join(story['places'][:-1])}" if len(story["places"]) > 1 else ""
        yield f"  {story['subject']}: failed in {story['failed']} of {story['runs']} runs, {accepted}{moved}."
    for row in past.get("trends", ()):
        if row["word"] in ("step", "decline"):
            yield f"  {row['key']}: {row['word']} of {row['size']:.1%} since {row['since']}."


def _methods(faults: list[Verdict]) -> Iterator[str]:
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


def _again(judged: Judged, node: str, faults: list[Verdict]) -> Iterator[str]:
    plan = judged.evidence.plan
    partners = partners_of(judged, [node], max((nodes_needed(judged, verdict) for verdict in faults), default=1) - 1)
    words = ["hpcaccept", "submit", "--nodes", str(1 + len(partners)), "--nodelist", ",".join([node, *partners])]
    words += ["--gpus-per-node", plan.request.gpus] if plan.request.gpus else []
    words += ["--suite", plan.suite.name, "--launcher", plan.launcher]
    words += ["--container-image", plan.image.reference] if plan.image.reference else []
    blamed = sorted({verdict.check for verdict in faults})
    words += [word for name in ("identity", *blamed) for word in ("--only", name)] if blamed else []
    yield f"  {shlex.join(words)}"
    if partners:
        yield f"  {', '.join(partners)}: partners without a finding, which it takes to say who is slow; others of the same kind will do."


def _redaction_note(redacted: list[str], left_out: dict[str, str], keep_names: bool) -> str:
    lines = ["Replaced in this bundle (kind: how often); the same thing has the same word everywhere:"]
    lines += [f"  {line}" for line in redacted] or ["  nothing"]
    if keep_names:
        lines.append("Names of other hosts were kept (--keep-names).")
    if left_out:
        lines += ["Left out:", *(f"  {path}: {why}" for path, why in left_out.items())]
    return "\n".join(lines) + "\n"


def _json(thing: Any) -> str:
    return json.dumps(thing, indent=1, ensure_ascii=False, default=str) + "\n"


def _write(file: Path, texts: dict[str, str]) -> None:
    """Whole and renamed; owner-only, and without the names and times of who packed it."""
    with (
        replacing(file, OWNER_ONLY) as beside,
        beside.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, text in texts.items():
            content = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
