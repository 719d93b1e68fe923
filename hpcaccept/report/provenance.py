"""Under what it was measured, and by what it was judged: job, versions, parameters and limits in force, each with its origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept import checks
from hpcaccept.model.metric import Origin
from hpcaccept.model.metric_key import check_of
from hpcaccept.model.parameter import parameters
from hpcaccept.model.record_table import MEASURED
from hpcaccept.model.suite import CheckSpec, PeerRule
from hpcaccept.model.verdict import Question, Subject
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcaccept.judge import Judgement
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.record import Record
    from hpcaccept.model.verdict_table import Floats, JudgedColumn

#: Facts of ``identity`` that change numbers → how they are called.
_SOFTWARE = {
    "driver": "driver",
    "cuda": "CUDA",
    "nccl": "NCCL",
    "torch": "torch",
    "mpi": "MPI",
    "python": "Python",
    "kernel": "kernel",
    "os": "OS",
}
#: Where a parameter comes from that nobody has set, or that the suite itself has set.
DEFAULT, SUITE = "default", "suite"


@dataclass(frozen=True)
class Provenance:
    """What a result is bound to.

    Attributes:
        job: number of the job; empty when nobody knows.
        version: of hpcaccept.
        commit: of hpcaccept; ``v`` and the version where nobody knows the commit.
        image: name of the image, empty without a container.
        digest: of the image, empty when nobody could tell.
        software: fact (``driver``, ``torch`` …) → text → how many nodes have it.
        lacking: which of commit, image digest and driver should be known, and are not.
    """

    job: str
    version: str
    commit: str
    image: str
    digest: str
    software: Mapping[str, Mapping[str, int]]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class ParameterInForce:
    """One parameter of a check as it was measured with.

    Attributes:
        check: name in the suite; ``[peers]``: the rule by which peers are compared.
        name: of the parameter; ``required`` and ``deadline_s`` are of every check.
        value: as TOML gives it.
        origin: ``default``, ``suite``, the file of a site, or ``command line``.
    """

    check: str
    name: str
    value: Any
    origin: str


@dataclass(frozen=True)
class LimitInForce:
    """One limit that values were held against.

    Attributes:
        key: metric key.
        question: that it answers.
        origin: who has set it.
        unit: SI unit of the bounds.
        lower: loosest and tightest lower bound over the subjects; None: there is none.
        upper: the same on the other side.
        subjects: how many were held against it.
        source: how it came to be, in words.
    """

    key: str
    question: Question
    origin: Origin
    unit: str
    lower: tuple[float, float] | None
    upper: tuple[float, float] | None
    subjects: int
    source: str


def provenance_of(evidence: Evidence) -> Provenance:
    """What the run is bound to, as far as it was recorded."""
    plan, software = evidence.plan, _software(evidence)
    told = next(iter(software.pop("image_digest", {})), "")
    digest = plan.image.digest or (told if plan.image.reference else "")
    needed = {
        "commit": not plan.commit,
        "image digest": bool(plan.image.reference) and not digest,
        "driver": plan.request.device == "cuda" and not software.get("driver"),
    }
    return Provenance(
        job=evidence.job_id,
        version=plan.version,
        commit=plan.commit or f"v{plan.version}",
        image=plan.image.reference,
        digest=digest,
        software=software,
        lacking=tuple(name for name, lacks in needed.items() if lacks),
    )


def _software(evidence: Evidence) -> dict[str, dict[str, int]]:
    """Each fact with its texts, the most frequent first; a node counts once. Python and MPI are told by every rank."""
    of_node: dict[str, dict[str, str]] = {}
    for start in evidence.rank_starts:
        of_node.setdefault(start.node, {"python": start.python, "mpi": start.mpi})
    for record in _one_identity_of_each_node(evidence):
        known = {name: text for name in (*_SOFTWARE, "image_digest") if (text := record.facts.get(name))}
        of_node.setdefault(record.node, {}).update(known)
    found = {
        name: Counter(facts[name] for facts in of_node.values() if facts.get(name))
        for name in (*_SOFTWARE, "image_digest")
    }
    return {name: dict(texts.most_common()) for name, texts in found.items() if texts}


def _one_identity_of_each_node(evidence: Evidence) -> list[Record]:
    """What the first rank of each node says of it: its other ranks run the same software, and reading a record takes time."""
    records = evidence.record_table
    names = [name for name in records.checks if check_of(name) == "identity"]
    rows = np.flatnonzero(records.of_checks(names) & ((records.flags & MEASURED) > 0))
    nodes = {node: number for number, node in enumerate(dict.fromkeys(node for node, _ in records.places))}
    node = np.array([nodes[name] for name, _ in records.places], np.intp)
    chosen = np.zeros(len(records.check), bool)
    if len(rows):
        chosen[rows[np.unique(node[records.place[rows]], return_index=True)[1]]] = True
    return records.rows(chosen)


def duration_in_words(evidence: Evidence) -> str:
    """From the driver's first word to its last; nothing where one of them is missing."""
    at = {event.kind: event.at for event in evidence.events if event.kind in ("started", "ended")}
    try:
        begun, ended = (datetime.fromisoformat(at[kind].replace("Z", "+00:00")) for kind in ("started", "ended"))
        return show_duration(max(0.0, (ended - begun).total_seconds()))
    except (KeyError, ValueError, TypeError):
        return ""


def fact_of(evidence: Evidence, subject: Subject, name: str) -> str:
    """What the check ``identity`` says of a subject; empty where it says nothing."""
    records = evidence.record_table
    places = [number for number, place in enumerate(records.places) if place == (subject.node, subject.device)]
    names = [check for check in records.checks if check_of(check) == "identity"]
    mine = (
        records.of_checks(names) & np.isin(records.place, places) if places and names else np.zeros(len(records), bool)
    )
    return next((text for record in records.rows(mine) if (text := record.facts.get(name))), "")


def software_line(software: Mapping[str, Mapping[str, int]]) -> str:
    """``driver 580.1, CUDA 13.0, torch 2.9.0``; of several texts each with its number of nodes."""
    return ", ".join(f"{_SOFTWARE[name]} {_texts(texts)}" for name, texts in software.items() if name in _SOFTWARE)


def _texts(texts: Mapping[str, int]) -> str:
    if len(texts) == 1:
        return next(iter(texts))
    return " / ".join(f"{text} (on {count})" for text, count in texts.items())


def parameters_in_force(evidence: Evidence) -> list[ParameterInForce]:
    """Every parameter of every check, defaults too, then the rule by which peers are compared (``[peers]``)."""
    suite, usual = evidence.plan.suite, PeerRule()
    of_checks = [one for spec in suite.checks for one in _parameters_of(spec)]
    rule = {field.name: getattr(suite.peers, field.name) for field in fields(PeerRule)}
    return of_checks + [
        ParameterInForce(
            "[peers]", name, value, suite.peer_origins.get(name, DEFAULT if value == getattr(usual, name) else SUITE)
        )
        for name, value in rule.items()
    ]


def _parameters_of(spec: CheckSpec) -> Iterator[ParameterInForce]:
    kind = checks.find(spec.name)
    declared = {name: parameter.default for name, parameter in parameters(kind).items()} if kind else {}
    usual = {"required": True, "deadline_s": CheckSpec(spec.name).deadline_s}
    of_every = {"required": spec.required, "deadline_s": spec.deadline_s}
    for name, value in {**of_every, **declared, **spec.params}.items():
        said = name in spec.params or (name in usual and value != usual[name])
        yield ParameterInForce(spec.name, name, value, spec.origins.get(name, SUITE if said else DEFAULT))


def changed(found: Iterable[ParameterInForce]) -> list[ParameterInForce]:
    """Those that neither the check nor the suite has set: the site, or whoever typed the command."""
    return [one for one in found if one.origin not in (DEFAULT, SUITE)]


def limits_in_force(judgement: Judgement) -> list[LimitInForce]:
    """Every limit that a value was held against, one entry per question, metric and origin."""
    found = [_limit(answer) for answer in judgement.table.answers]
    return [limit for limit in found if limit is not None]


def _limit(answer: JudgedColumn) -> LimitInForce | None:
    lower, upper = _span(answer.lower, tightest=max), _span(answer.upper, tightest=min)
    if lower is upper is None:
        return None
    held = np.isfinite(answer.lower) | np.isfinite(answer.upper)
    source = answer.source or "; ".join(filter(None, (answer.compared, answer.detail)))
    return LimitInForce(
        answer.key, answer.question, answer.origin, answer.metric.unit, lower, upper, int(held.sum()), source
    )


def _span(bounds: Floats, tightest: Any) -> tuple[float, float] | None:
    known = bounds[np.isfinite(bounds)]
    if not len(known):
        return None
    ends = float(known.min()), float(known.max())
    return ends if tightest is max else ends[::-1]
