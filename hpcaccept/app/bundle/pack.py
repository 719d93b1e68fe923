"""What a vendor needs to see of one fault, and nothing else: a redacted archive about one node of a run.

::

    hpcaccept-<run>-<node>/
      README.txt      what is wrong, since when, how it was measured, how to see it again
      RMA.md          one page for a ticket: what, which part by serial number, since when, evidence, how to repeat
      verdicts.json   everything about the node that is not PASS, and how much passed
      plots/          each bad value among its like and over the runs (SVG)
      xids.json       every Xid of the run and the kernel's log (where there are any)
      node.json       its devices with serial numbers, driver, firmware, kernel …
      figures.csv     each number of the node beside its peers of the run
      history.json    what became of its subjects in earlier runs (where there is a history)
      run.json        what was run: suite, checks with parameters, versions
      driver.jsonl    what happened to the job
      guest-health-report.json   what was, or would be, reported to Azure of the machine below the node (where it is named)
      certificate.json   of the run, as it was issued (where it speaks of nobody else, or names are kept)
      records/ outputs/   of the node's ranks, as they are but for what was redacted
      REDACTED.txt    what was replaced and left out
      statement.json  signed: the node's standing, and the SHA-256 of every other file here (with --key)
"""

from __future__ import annotations

import contextlib
import getpass
import gzip
import io
import json
import os
import pwd
import re
import tarfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept import __version__
from hpcaccept.app.bundle import guest_health, signed
from hpcaccept.app.bundle.sheets import (
    Fault,
    faults_of,
    figures,
    node_facts,
    past_of,
    readme,
    rma_sheet,
    verdicts,
    verdicts_on,
    xids,
)
from hpcaccept.app.commit import commit
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.bounded import open_regular, read_bytes
from hpcaccept.errors import RunError, UsageError, nearest
from hpcaccept.report.page.bad_subjects import Gallery
from hpcaccept.report.page.columns import Fleet
from hpcaccept.report.page.svg_file import svg_file
from hpcaccept.report.phrases import place_name
from hpcaccept.report.redact import Redactor
from hpcaccept.serial import loads, to_plain
from hpcaccept.store.digests import digest_of
from hpcaccept.store.replaced_files import OWNER_ONLY, replacing
from hpcaccept.store.signing import read_private_key
from hpcaccept.transport.network import own_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.judged import Judged
    from hpcaccept.store.folder import RunFolder
#: Bytes. A longer text is cut in its middle: a fault shows at the beginning or at the end.
_MOST_OF_A_FILE = 8_000_000
#: Plots of one bundle, the worst findings first.
_MOST_PLOTS = 12
#: Files that the RMA sheet names.
_NAMED = 10
_REPORT = "guest-health-report.json"
_FAULT = re.compile(r"(?P<node>[^:\s]+)(?::(?:gpu)?(?P<number>\d{1,4}))?")
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


@dataclass(frozen=True)
class Extras:
    """What a bundle may hold beside the evidence.

    Attributes:
        keep_names: True to keep the names of other hosts.
        azure_report: a Guest Health Report of this node, as ``azure report-host`` has written it down.
        azure_cluster: folder of ``hpcaccept azure`` with this node: the report is written, and not sent.
        key: file of the private key to sign with.
    """

    keep_names: bool = False
    azure_report: Path | None = None
    azure_cluster: Path | None = None
    key: Path | None = None


def fault_named(text: str) -> Fault:
    """``node7``, or one of its GPUs: ``node7:gpu3``.

    Raises:
        UsageError: it is neither.
    """
    match = _FAULT.fullmatch(text)
    if not match:
        raise UsageError(f"--node: found {text!r}, expected NODE or NODE:gpuN.")
    return Fault(match["node"], f"cuda:{int(match['number'])}" if match["number"] else "")


def make_bundle(
    folder: RunFolder, fault: Fault, baselines_dir: Path, history: Path, file: Path, extras: Extras | None = None
) -> Bundle:
    """Gather, redact, sign, and write the archive (0600); gives what is in it.

    Args:
        folder: of the run.
        fault: the node that it is on, or one of its GPUs.
        baselines_dir: where baselines are.
        history: where the past is.
        file: to be written.
        extras: what else is packed.

    Raises:
        UsageError: the run has no such node or GPU, a report or key is none of it.
        RunError: the run cannot be read, or the archive cannot be written.
    """
    extras = extras or Extras()
    key = read_private_key(extras.key) if extras.key else None
    now = datetime.now(timezone.utc)
    judged = judge_run(evidence_of(folder), baselines_dir, history)
    _known(judged, fault)
    mine = verdicts_on(judged, fault)
    found = _gathered(folder, judged, fault, mine, history)
    if extras.azure_report:
        found.texts[_REPORT] = _json(guest_health.reported(extras.azure_report, fault.node))
    elif extras.azure_cluster:
        found.texts[_REPORT] = _json(guest_health.proposed(extras.azure_cluster, judged, fault, mine, now))
    redactor = Redactor([fault.node], _hosts(judged, folder), _users(judged), extras.keep_names)
    # The first time, what identifies people is learned from all texts; then none of them is before another.
    for path, text in found.texts.items():
        _redacted(redactor, path, text)
    redactor.counts.clear()
    clean = {redactor.text(path): _redacted(redactor, path, text) for path, text in found.texts.items()}
    clean |= _plots(judged, mine, redactor.text)
    _add_certificate(folder, judged, fault, extras.keep_names, clean, found)
    left_out = {redactor.text(path): why for path, why in found.left_out.items()}
    redacted = redactor.report()
    clean["REDACTED.txt"] = _redaction_note(redacted, left_out, extras.keep_names)
    if key:
        clean[signed.NAME] = signed.signed_statement(_about(folder, judged, fault, found, redactor, now), clean, key)
    root = redactor.text(f"hpcaccept-{folder.run_id}-{fault.word}").replace("/", "-")
    clean = {f"{root}/{path}": text for path, text in clean.items()}
    try:
        _write(file, clean)
    except OSError as error:
        raise RunError(f"Cannot write {file}: {error.strerror}.", "Choose another place with --out.") from error
    return Bundle(clean, left_out, redacted)


def _known(judged: Judged, fault: Fault) -> None:
    run_id, records = judged.evidence.plan.run_id, judged.evidence.records
    known = {*judged.evidence.nodes, *(record.node for record in records)}
    if fault.node not in known:
        raise UsageError(f"{run_id} has no node {fault.node!r}.", nearest(fault.node, known))
    devices = {record.device for record in records if record.node == fault.node}
    if fault.device and fault.device not in devices:
        there = ", ".join(sorted(devices)) or "none"
        raise UsageError(
            f"{run_id} has no {fault}: its devices there are {there}.", "Name the node alone: --node NODE."
        )


def _plots(judged: Judged, mine: Sequence[Verdict], words: Callable[[str], str]) -> dict[str, str]:
    """A picture for each bad value: of its peers and of its past, once where both are asked about."""
    fleet = Fleet(judged.evidence, judged.judgement.table.subjects)
    gallery = Gallery(judged.values, judged.judgement.table, fleet, judged.past, words=words)
    found: dict[str, str] = {}
    drawn_already = set()
    for verdict in faults_of(mine):
        drawn = gallery.drawn(verdict, fleet.index_of(verdict.subject.node, verdict.subject.device))
        if drawn is None or (verdict.key, verdict.subject) in drawn_already or len(found) == _MOST_PLOTS:
            continue
        drawn_already.add((verdict.key, verdict.subject))
        title = f"{place_name(verdict.subject)}: {verdict.key}"
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", words(f"{verdict.subject.device} {verdict.key}")).strip("-")
        reason = f"{verdict.outcome.value} {verdict.code}: {verdict.reason}"
        found[f"plots/{len(found):02d}-{name[:80]}.svg"] = svg_file(words(title), words(reason), drawn)
    return found


def _add_certificate(
    folder: RunFolder, judged: Judged, fault: Fault, keep_names: bool, clean: dict[str, str], found: Bundle
) -> None:
    """As it was issued, for its signature is of that text; so it must not name anybody else, or names are kept."""
    file = folder.path / "certificate.json"
    if not os.path.lexists(file):
        return
    others = {*judged.evidence.nodes} - {fault.node}
    if others and not keep_names:
        found.left_out["certificate.json"] = (
            "it names other hosts, and redacted it would not fit its signature; --keep-names packs it"
        )
        return
    try:
        clean["certificate.json"] = read_bytes(file).decode()
    except (OSError, UnicodeError) as error:
        found.left_out["certificate.json"] = (
            f"it cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}"
        )


def _about(
    folder: RunFolder, judged: Judged, fault: Fault, found: Bundle, redactor: Redactor, now: datetime
) -> dict[str, Any]:
    """What is stated of the run, beside the digests of the bundle's files."""
    plan, summary = judged.evidence.plan, judged.summary
    files = [folder.plan_file, *(folder.path / path for path in found.texts)]
    originals = {str(file.relative_to(folder.path)): digest_of(file) for file in files if file.is_file()}
    stated: dict[str, Any] = redactor.plain(
        {
            "run": plan.run_id,
            "planned_at": plan.created_at,
            "packed_at": now.isoformat(timespec="seconds"),
            "hpcaccept": {"version": __version__, "commit": commit()},
            "node": fault.node,
            "device": fault.device,
            "verdict": summary.nodes[fault.node].value if fault.node in summary.nodes else "",
            "run_exit_code": judged.judgement.exit_code,
        }
    )
    # Digests look like secrets.
    return {**stated, "originals": {redactor.text(path): digest for path, digest in originals.items()}}


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


def _gathered(folder: RunFolder, judged: Judged, fault: Fault, mine: Sequence[Verdict], history: Path) -> Bundle:
    found = Bundle()
    node = fault.node
    past = past_of(history, judged, node)
    contents = "\n".join((__doc__ or "").split("::", 1)[-1].strip("\n").splitlines()[1:])
    found.texts["README.txt"] = readme(judged, fault, mine, past, contents)
    found.texts["verdicts.json"] = _json(verdicts(judged, node, mine))
    found.texts["node.json"] = _json(node_facts(judged, node))
    found.texts["figures.csv"] = figures(judged, node)
    if seen := xids(judged, fault):
        found.texts["xids.json"] = _json(seen)
    if past:
        found.texts["history.json"] = _json(past)
    found.texts["run.json"] = _json(to_plain(judged.evidence.plan))
    for file, path in _files(folder, node):
        try:
            text = _text_of(file)
        except OSError as error:
            found.left_out[path] = f"it cannot be read: {error.strerror}"
            continue
        if text is None:
            found.left_out[path] = "it is not text, so nothing could be redacted in it"
        else:
            found.texts[path] = text
    evidence = [
        "verdicts.json",
        "figures.csv",
        "plots/",
        *(path for path in found.texts if path.startswith("outputs/")),
    ]
    found.texts["RMA.md"] = rma_sheet(judged, fault, mine, past, evidence[:_NAMED])
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
