"""States what was tested, for somebody who was not there: a signed statement, and how it is verified later.

A certificate certifies nodes, not runs: those that every given run in which they took part has accepted (no FAIL, nothing
required unjudged, as exit code 0 of a run). The others are named with their reasons. What blames all nodes together (the network of
all ranks too slow) cannot be certified around: then there is no certificate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept import __version__, launch
from hpcaccept.app.commit import commit
from hpcaccept.app.history import ACCEPTED, to_remember
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.bounded import read_bytes
from hpcaccept.errors import RunError, StoreError, UsageError
from hpcaccept.model.history import CODE_WORDS, FAILED, environment_of
from hpcaccept.model.verdict import OUTCOMES, Outcome
from hpcaccept.serial import loads, to_plain
from hpcaccept.store.digests import changed, digests_of
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.store.signing import canonical, check_signature, key_id, read_private_key, read_public_key, sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.report.judged import Judged
    from hpcaccept.store.folder import RunFolder

FORMAT, VERSION = "hpcaccept-certificate", 1
#: Reasons that are quoted of a node that is not certified.
_REASONS = 5


@dataclass(frozen=True)
class Issued:
    """What became of a request for a certificate.

    Attributes:
        file: where it lies.
        certified: nodes that it speaks for.
        others: node → why it does not.
        key: id of the key it was signed with.
        exit_code: 0 all nodes of the runs are certified · 1 one of them failed · 3 one could not be judged.
    """

    file: Path
    certified: tuple[str, ...]
    others: dict[str, str]
    key: str
    exit_code: int


@dataclass(frozen=True)
class Verified:
    """What can be said of a certificate.

    Attributes:
        good: sentences about what holds.
        bad: sentences about what does not: changed, expired, signed by another.
        open: what could not be looked at.
        exit_code: 0 everything that was asked holds · 3 something does not, or could not be looked at.
    """

    good: tuple[str, ...]
    bad: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """As of every command: 1 is for a node that failed."""
        return 3 if self.bad or self.open else 0


def issue(
    folders: Sequence[RunFolder],
    baselines_dir: Path,
    key_file: Path,
    valid: timedelta,
    file: Path,
    now: datetime,
    history: Path | None = None,
) -> Issued:
    """Judge the runs, write what can be said of their nodes, and sign it.

    Raises:
        UsageError: the key file may be read by others, or is none.
        RunError: a run cannot be read, no node can be certified, or something blames all nodes together.
    """
    key = read_private_key(key_file)  # first: nobody should wait for a judgement to hear that the key is missing
    runs = []
    for folder in folders:
        evidence = evidence_of(folder)  # writes run.h5 where it is missing: its digest is taken after that
        _ran_where_it_was_asked(evidence)
        _came_to_its_end(evidence)
        runs.append((folder, judge_run(evidence, baselines_dir, history)))
    statement = statement_of(runs, now, valid)
    certified = tuple(node["node"] for node in statement["nodes"])
    if not certified:
        raise RunError("No node of these runs can be certified.", "See why: hpcaccept report " + folders[0].run_id)
    signature = sign(statement, key)
    replace_file(file, canonical({"certificate": statement, "signature": signature}).decode())
    others = {node["node"]: "; ".join(node["reasons"]) for node in statement["not_certified"]}
    failed = any(node["verdict"] == CODE_WORDS[FAILED] for node in statement["not_certified"])
    code = 1 if failed else 3 if others or statement["reservations"] else 0
    return Issued(file, certified, others, signature["key_id"], code)


def _ran_where_it_was_asked(evidence: Evidence) -> None:
    """Refuse nodes that are names of one machine: nobody can be sold a node that does not exist. One machine may speak for itself.

    Raises:
        RunError: the run's nodes were virtual.
    """
    plan = evidence.plan
    if not launch.load(plan.launcher).TRAITS.virtual:
        return
    names = {node.partition(".")[0] for node in evidence.nodes}
    hosts = {record.facts.get("hostname", "").partition(".")[0] for record in evidence.records} - {""}
    if len(evidence.nodes) != 1 or names != hosts:
        raise RunError(
            f"The nodes of {plan.run_id} are virtual: --launcher {plan.launcher} gives one machine the names of {plan.request.nodes}.",
            "Certify a run of a scheduler, or of hosts by their names; or of this machine alone: --nodes 1 --nodelist $(hostname -s).",
        )


def _came_to_its_end(evidence: Evidence) -> None:
    """Refuse a run that somebody ended: what it did not come to, nobody knows.

    Raises:
        RunError: it was cancelled.
    """
    end = evidence.ended_from_outside
    if end and evidence.cancelled:
        raise RunError(
            f"{evidence.plan.run_id} did not come to its end: {end.sentence}.", "Certify a run that was not cancelled."
        )


def statement_of(runs: Sequence[tuple[RunFolder, Judged]], now: datetime, valid: timedelta) -> dict[str, Any]:
    """The document that is signed.

    Raises:
        RunError: something blames all nodes together.
    """
    nodes, others = _nodes(runs)
    return {
        "format": FORMAT,
        "version": VERSION,
        "issued_at": now.isoformat(timespec="seconds"),
        "expires_at": (now + valid).isoformat(timespec="seconds"),
        "hpcaccept": {"version": __version__, "commit": commit()},
        "nodes": nodes,
        "not_certified": others,
        "reservations": [text for _, judged in runs for text in _reservations(judged)],
        "runs": [_run(folder, judged) for folder, judged in runs],
    }


def _reservations(judged: Judged) -> list[str]:
    """What is said of no node in particular."""
    said = []
    for verdict in judged.judgement.verdicts:
        if verdict.subject.node or verdict.outcome is Outcome.PASS:
            continue
        text = f"{judged.evidence.plan.run_id}: {verdict.key}: {verdict.reason}"
        if verdict.outcome is Outcome.FAIL:
            raise RunError(
                f"All nodes together are blamed, so that none can be certified: {text}.",
                "Find the cause, then run again.",
            )
        if verdict.required:
            said.append(text)
    return said


def _nodes(runs: Iterable[tuple[RunFolder, Judged]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Certified nodes with their devices, and the others with the reasons."""
    subjects: dict[str, dict[str, dict[str, str]]] = {}
    standing: dict[str, set[int]] = {}
    took_part: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for _, judged in runs:
        kept = to_remember(judged)
        for name, place, code in zip(kept.subjects, kept.places, kept.standing.tolist(), strict=True):
            if not place.node:
                continue
            subjects.setdefault(place.node, {})
            if name == place.node:
                standing.setdefault(name, set()).add(code)
                took_part.setdefault(name, []).append(kept.run.run_id)
            else:
                uuid = name if "/" not in name else ""
                device = {"device": place.device, "model": place.model, "uuid": uuid, "serial": place.serial}
                subjects[place.node][name] = device
        for verdict in judged.judgement.verdicts:
            if verdict.outcome is Outcome.FAIL or (verdict.required and not verdict.outcome.is_judged):
                text = f"{kept.run.run_id}: {verdict.subject}: {verdict.key}: {verdict.outcome.value}: {verdict.reason}"
                reasons.setdefault(verdict.subject.node, []).append(text)
    good, others = [], []
    for node in sorted(standing):
        codes = standing[node]
        devices = sorted(subjects[node].values(), key=lambda device: device["device"])
        about = {"node": node, "units": devices, "runs": took_part[node]}
        if codes <= set(ACCEPTED):
            good.append({**about, "verdict": CODE_WORDS[max(codes)]})
        else:
            why = reasons.get(node, ["nothing that is required was judged"])[:_REASONS]
            worst = max(codes - set(ACCEPTED))
            others.append({**about, "verdict": CODE_WORDS[worst], "reasons": why})
    return good, others


def _run(folder: RunFolder, judged: Judged) -> dict[str, Any]:
    plan, coverage = judged.evidence.plan, judged.judgement.coverage
    return {
        "run": plan.run_id,
        "planned_at": plan.created_at,
        "suite": plan.suite.name,
        "launcher": plan.launcher,
        "image": plan.image.reference,
        "hpcaccept": {"version": plan.version, "commit": plan.commit},
        "environment": environment_of(judged.evidence.records),
        "asked": {"nodes": plan.request.nodes, "gpus_per_node": plan.request.gpus_per_node},
        "checks": [to_plain(spec) for spec in plan.suite.checks],
        "coverage": {"asked": coverage.asked, "judged": coverage.judged, "silent": list(coverage.nodes_silent)},
        "exit_code": judged.judgement.exit_code,
        "limits": _limits(judged),
        "files": digests_of(folder),
    }


def _limits(judged: Judged) -> list[dict[str, Any]]:
    """What was asked of each metric, between which bounds the limits lay, and where they come from."""
    found = []
    for answer in judged.judgement.table.answers:
        counts = Counter(OUTCOMES[code].value for code in answer.outcome.tolist())
        provenance = "; ".join(text for text in (answer.source, answer.compared, answer.detail, answer.said) if text)
        found.append(
            {
                "key": answer.key,
                "question": answer.question,
                "unit": answer.metric.unit,
                "lower": _span(answer.lower),
                "upper": _span(answer.upper),
                "origin": answer.origin,
                "source": provenance,
                "outcomes": dict(sorted(counts.items())),
            }
        )
    return found


def _span(bounds: Any) -> list[float] | None:
    """Smallest and largest of the limits; they differ where each subject is compared with its own past or peers."""
    finite = bounds[np.isfinite(bounds)]
    return [float(finite.min()), float(finite.max())] if len(finite) else None


def verify(
    file: Path, folders: Sequence[RunFolder], public_key: Path | None, now: datetime
) -> tuple[Verified, dict[str, Any]]:
    """Look at a certificate: the statement is only to be believed where nothing is bad.

    Args:
        file: of the certificate.
        folders: runs whose records are compared with the digests.
        public_key: of whom is trusted; None: who signed stays open.
        now: to tell whether it has expired.

    Raises:
        StoreError: it is no certificate, or its signature does not fit.
        UsageError: the public key file is none, or a run is not part of the certificate.
    """
    statement, signer = read_signed(file)
    good, bad, missing = ["The statement is what was signed."], [], []
    if public_key is None:
        missing.append(f"Signed by key {key_id(signer)}: whose that is, only --public-key FILE can tell.")
    elif read_public_key(public_key) == signer:
        good.append(f"Signed by key {key_id(signer)}, the one in {public_key}.")
    else:
        bad.append(f"Signed by key {key_id(signer)}, not by the one in {public_key}.")
    try:
        issued, expires = (datetime.fromisoformat(statement[name]) for name in ("issued_at", "expires_at"))
        runs: Mapping[str, Mapping[str, str]] = {run["run"]: run["files"] for run in statement["runs"]}
        if now > expires:
            bad.append(f"It expired at {expires.isoformat()}.")
        elif now < issued:
            bad.append(f"It is dated {issued.isoformat()}, which has not come yet.")
        else:
            good.append(f"It holds until {expires.isoformat()}.")
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise StoreError(f"{file} is signed, but no certificate of this version: {fault}.") from None
    for folder in folders:
        if folder.run_id not in runs:
            raise UsageError(f"{folder.run_id} is not a run of this certificate.", f"Its runs: {', '.join(runs)}.")
        differences = changed(runs[folder.run_id], digests_of(folder))
        if differences:
            bad += [f"{folder.run_id}: {what}: {_some(names)}." for what, names in differences.items()]
        else:
            good.append(f"{folder.run_id}: its {len(runs[folder.run_id])} files are unchanged.")
    return Verified(tuple(good), tuple(bad), tuple(missing)), statement


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def read_signed(file: Path) -> tuple[dict[str, Any], bytes]:
    """The statement of a certificate whose signature fits it, and the public key of who signed it; expired or not.

    Raises:
        StoreError: it is no certificate, or its signature does not fit.
        UsageError: it cannot be read.
    """
    statement, signature = _read(file)
    return statement, check_signature(statement, signature)


def _read(file: Path) -> tuple[Any, Any]:
    """Statement and signature of a file that is exactly as it was written."""
    try:
        raw = read_bytes(file, follow=True)
        document = loads(raw)
    except OSError as fault:
        raise UsageError(f"{file} cannot be read: {fault.strerror}.") from None
    except ValueError:
        raise StoreError(f"{file} is not a certificate: it is not JSON.") from None
    if not isinstance(document, dict) or set(document) != {"certificate", "signature"}:
        raise StoreError(f"{file} is not a certificate of hpcaccept.")
    statement = document["certificate"]
    if not isinstance(statement, dict) or (statement.get("format"), statement.get("version")) != (FORMAT, VERSION):
        raise StoreError(f"{file} is not a certificate of version {VERSION}.", "Was it written by another hpcaccept?")
    try:
        same = canonical(document) == raw
    except ValueError:
        same = False
    if not same:
        raise StoreError(f"{file} was changed after it was signed: its text is not the canonical one.")
    return statement, document["signature"]
