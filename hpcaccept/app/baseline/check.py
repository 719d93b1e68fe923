"""Checks whether a baseline can judge: whether its file is whole and in date, and whether it fits today's checks and a given run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.app.run.conclude import evidence_of
from hpcaccept.errors import StoreError
from hpcaccept.judge.baseline.conditions import conditions_of
from hpcaccept.judge.baseline.match import KEY_FACTS, fitting_entry, unusable
from hpcaccept.judge.questions.peers import is_compared
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.model.metric_key import check_of
from hpcaccept.store.baseline_file import SHIPPED, chained, find_baseline, read_generations
from hpcaccept.store.folder import find
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.table import MeasuredSubject

_DAY_S = 86400.0


@dataclass
class Looked:
    """What was found.

    Attributes:
        lines: for people.
        sound: False when something cannot judge that ought to.
    """

    lines: list[str] = field(default_factory=list)
    sound: bool = True

    def trouble(self, line: str) -> None:
        """Something cannot judge."""
        self.lines.append(line)
        self.sound = False


def check_files(baselines_dir: Path, model: str = "") -> Looked:
    """Look at every file of the models whose name contains a text.

    A damaged file, one with nothing that may judge (all expired), or with entries that no check of today has, is trouble.
    """
    looked = Looked()
    files = sorted({file.absolute() for folder in (baselines_dir, SHIPPED) for file in folder.glob("*.h5")})
    whole = []
    for file in files:
        try:
            whole.append((file, read_generations(file)))
        except StoreError as fault:
            looked.trouble(str(fault))
    chosen = [(f, g) for f, g in whole if model.lower() in g[0].model.lower() or model == f.name]
    kinds = {name: kind for name in checks.names() if (kind := checks.find(name))}
    catalogue = checks.catalogue(kinds)
    revisions = {name: kind.revision for name, kind in kinds.items()}
    for file, generations in chosen:
        current = chained(generations)
        name = f"{current.model} ({file.name})"
        if current.state == "expired":
            looked.trouble(f"{name}: every generation has expired; learn and approve a new one")
            continue
        stale = list(unusable(current, catalogue, revisions))
        for line in stale:
            looked.trouble(f"{name}: {line}")
        if not stale:
            looked.lines.append(f"{name}: generation {current.generation} is {current.state}, {_life(current)}")
    if not chosen and looked.sound:
        looked.trouble(f"There is no baseline{f' of {model!r}' if model else ''} in {baselines_dir}.")
    return looked


def check_run(runs_dir: Path, run: str, baselines_dir: Path) -> Looked:
    """Say of each kind of device of a run how many of its rates a baseline can judge, and why not the others.

    Raises:
        RunError: the run does not exist.
        StoreError: a baseline is damaged.
    """
    looked = Looked()
    evidence = evidence_of(find(runs_dir, run))
    catalogue = checks.catalogue(spec.name for spec in evidence.plan.suite.checks)
    revisions = {record.check: record.revision for record in evidence.records}
    columns = [
        c
        for c in values_of(evidence.samples, catalogue)
        if c.metric.is_rate and (is_compared(c) or c.metric.scope == "world")
    ]
    facts, conditions = _facts(evidence), conditions_of(evidence)
    for subject in _kinds(evidence, facts):
        found = find_baseline((baselines_dir, SHIPPED), subject.model, evidence.plan.created_at)
        baseline = found[1] if found else None
        keys = [c for c in columns if subject in c.subjects]
        answers = [
            fitting_entry(
                baseline,
                c.key,
                revisions.get(c.check, 0),
                c.metric.unit,
                subject.setting,
                facts.get((subject.node, subject.device), {}) | conditions,
            )
            for c in keys
        ]
        fits = [word for entry, word, _ in answers if entry is not None]
        who = f"{subject.model or 'a device without a name'} ({subject.device or 'node' if subject.node else 'all nodes'}, {subject.setting})"
        line = f"{who}: {len(fits)} of {len(keys)} rates can be judged"
        if fits:
            looked.lines.append(line)
        elif keys:
            looked.trouble(line)
        said = Counter(why for _, why, _ in answers if why)
        looked.lines += [f"  {count} × {why}" for why, count in said.most_common()]
    return looked


def _facts(evidence: Evidence) -> dict[tuple[str, str], dict[str, str]]:
    """Identity facts by place; of a node, and of all nodes, those of the first device that spoke."""
    said: dict[tuple[str, str], dict[str, str]] = {}
    for record in evidence.records:
        if check_of(record.check) == "identity":
            facts = {name: record.facts[name] for name in KEY_FACTS if record.facts.get(name)}
            said[(record.node, record.device)] = facts
            said.setdefault((record.node, ""), facts)
            said.setdefault(("", ""), facts)
    return said


def _kinds(evidence: Evidence, facts: dict[tuple[str, str], dict[str, str]]) -> list[MeasuredSubject]:
    """One subject of each kind: scope, model, setting and facts."""
    kinds: dict[object, MeasuredSubject] = {}
    for subject in evidence.samples.subjects:
        about = tuple(sorted(facts.get((subject.node, subject.device), {}).items()))
        kinds.setdefault((bool(subject.node), bool(subject.device), subject.model, subject.setting, about), subject)
    return list(kinds.values())


def _life(baseline: Baseline) -> str:
    """Age, and how long it may still judge."""
    now = datetime.now(timezone.utc)
    until = baseline.changes[-1].until if baseline.changes else ""
    began = datetime.fromisoformat(baseline.provenance.learned_at)
    began = began if began.tzinfo else began.replace(tzinfo=timezone.utc)
    days = max((now - began).total_seconds(), 0.0) / _DAY_S
    age = f"{days:.0f} days old" if days >= 1 else f"{show_duration(days * _DAY_S)} old"
    return f"{age}, {f'in force until {until}' if until else 'without an end'}"
