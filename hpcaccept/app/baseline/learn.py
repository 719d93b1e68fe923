"""Learns baselines from runs: alike devices together, suspects left out, what is worse than before refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.baseline.lifecycle import generations_of, now, unless_declined
from hpcaccept.app.commit import commit
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.errors import RunError
from hpcaccept.judge.baseline.conditions import conditions_of
from hpcaccept.judge.baseline.decline import unclear
from hpcaccept.judge.baseline.learn import learn, only_at, suspects
from hpcaccept.judge.baseline.match import DEVICE_FACTS, GPUS_FACT, SEVERAL, SOFTWARE_FACTS, beyond_peak
from hpcaccept.judge.statistics.peer_rule import CPU_FLOOR
from hpcaccept.model.baseline import Baseline, Provenance, impossible
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric_key import check_of
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.phrases import counted
from hpcaccept.report.views.baselines import limits_in_words
from hpcaccept.store.baseline_file import SHIPPED, change_file, file_name
from hpcaccept.store.folder import find
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hpcaccept.judge.baseline.decline import Decline
    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.record import Record
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.report.judged import Judged

#: Facts that would change the numbers and so belong to the provenance.
_FACTS = (*DEVICE_FACTS, *SOFTWARE_FACTS, GPUS_FACT, "cuda_driver", "kernel", "numpy")
_DEVICE_FACTS = tuple(DEVICE_FACTS)
#: Metric in which checks of GPUs say the clock beside their rate.
_CLOCK = "clock_hz"
SubjectKey = tuple[str, str]


@dataclass(frozen=True)
class _Kind:
    """Devices of one model that may be learned from together.

    Attributes:
        model: name the driver gives the GPU, or the CPU's.
        setting: threads and turns.
        places: run → (node, device) of each: one board may have another power limit in the next run.
    """

    model: str
    setting: str
    places: Mapping[str, frozenset[SubjectKey]]


@dataclass
class _Known:
    """What the runs say of their devices: identity facts by place, and those of a node by its name alone."""

    facts: dict[SubjectKey, dict[str, str]] = field(default_factory=dict)
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Keep what one rank says."""
        if check_of(record.check) == "identity":
            self.facts[(record.node, record.device)] = record.facts
            self.nodes.setdefault(record.node, record.facts)

    def facts_of(self, subject: MeasuredSubject) -> dict[str, str]:
        """Of a device, else of its node."""
        return self.facts.get((subject.node, subject.device)) or self.nodes.get(subject.node, {})


def learn_from(
    runs_dir: Path,
    runs: Iterable[str],
    baselines_dir: Path,
    accepted: Sequence[str] = (),
    strict: bool = False,
    unaccepted: Sequence[str] = (),
) -> Iterable[str]:
    """Learn a draft per device model, power limit and memory; tells what was done.

    Args:
        runs_dir: where runs are kept.
        runs: names or paths.
        baselines_dir: where the files are.
        accepted: keys (``*`` for any text) that may be worse than what was vouched for.
        strict: another driver, CUDA, torch or image will be refused instead of said.
        unaccepted: runs that are learned from although something in them failed or was not measured.

    Raises:
        RunError: a run does not exist or was not accepted, nothing can be learned from them, or a metric has declined; the file is untouched then.
        StoreError: the file that is there is damaged.
    """
    judged = {}
    anyway = {find(runs_dir, name).run_id for name in unaccepted}
    for name in dict.fromkeys((*runs, *unaccepted)):
        folder = find(runs_dir, name)
        judged[folder.run_id] = judge_run(evidence_of(folder), baselines_dir)
        if folder.run_id not in anyway and (why := _why_not(judged[folder.run_id])):
            raise RunError(
                f"The run {folder.run_id} was not accepted: {why}.",
                f"Learn from one that was, or name it: hpcaccept baseline learn --unaccepted {folder.run_id}",
            )
    kinds = _kinds(judged)
    if not kinds:
        raise RunError("These runs hold no measured device.", "hpcaccept report shows why.")
    for kind in kinds:
        draft, useless = _learn_one(judged, kind)
        learned = replace(draft, strict=strict)
        if not learned.entries:
            raise RunError(
                f"Nothing can be learned about {kind.model}: no unsuspected unit has a rate."
                + "".join(f"\n  left out {node}: {why}" for node, why in learned.provenance.left_out.items())
            )
        yield from _keep(baselines_dir, learned, accepted)
        for key, why in useless.items():
            yield f"  not learned {key}: {why}"


def _why_not(judged: Judged) -> str:
    """Why a run is no example of healthy machines; a missing baseline and a WARN are no reason."""
    lacking = (Outcome.ERROR, Outcome.NOT_RUN)
    for verdict in judged.summary.bad:
        if verdict.outcome is Outcome.FAIL or (verdict.required and verdict.outcome in lacking):
            return f"{verdict.outcome.value} {verdict.subject}, {verdict.key}"
        # Learned from together, a slow half of a fleet would be half of what is normal.
        if verdict.code is FindingCode.PEERS_TWO_GROUPS:
            return f"{verdict.key}: {verdict.reason.partition('; ')[2]}"
    return ""


def _keep(baselines_dir: Path, learned: Baseline, accepted: Sequence[str]) -> Iterable[str]:
    """Add a draft to its file unless it is impossible or has declined."""
    shipped = generations_of(SHIPPED / file_name(learned.model), learned.model)
    learned = replace(learned, peaks=next((one.peaks for one in reversed(shipped) if one.peaks), ()))
    _must_be_possible(learned)
    file = baselines_dir / file_name(learned.model)
    kept: list[Baseline] = []
    doubtful: list[Decline] = []

    def add(earlier: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        kept.append(unless_declined(learned, (*earlier, *shipped), accepted))
        doubtful.extend(unclear(learned, (*earlier, *shipped)))
        return (*earlier, kept[0])

    generations = change_file(file, learned.model, add)
    subjects = max(entry.subjects for entry in learned.entries.values())
    runs = len(learned.provenance.runs)
    number = len(generations)
    yield f"{file}: {counted(len(learned.entries), 'metric')} of {learned.model} from {counted(subjects, 'unit')} in {counted(runs, 'run')}, draft {number}"
    for entry in kept[0].entries.values():
        if entry.accepted:
            yield f"  accepted {entry.key}: {entry.accepted}"
    for decline in doubtful:
        yield f"  not sure {decline}"
    for node, why in learned.provenance.left_out.items():
        yield f"  left out {node}: {why}"
    yield from limits_in_words(kept[0].entries.values())
    yield f"  It judges as a draft. To vouch for it: hpcaccept baseline approve {learned.model!r} --by NAME"


def _must_be_possible(learned: Baseline) -> None:
    faults = impossible(learned)
    faults += [
        f"{entry.key}: {why}"
        for entry in learned.entries.values()
        if entry.center is not None and (why := beyond_peak(learned, entry.key, entry.center, entry.unit))
    ]
    if faults:
        raise RunError(
            f"What these runs measured of {learned.model} cannot be true: {faults[0]}.",
            "Nothing was learned. Look at the measurement first: hpcaccept report.",
        )


def _kinds(judged: Mapping[str, Judged]) -> list[_Kind]:
    """Kinds of devices in the runs, by model and then by what the driver says of them.

    Raises:
        RunError: one model was measured with unlike threads or turns.
    """
    subjects = {u for run in judged.values() for u in run.evidence.samples.subjects if u.model and u.node}
    found: list[_Kind] = []
    for model in sorted({subject.model for subject in subjects}):
        settings = {subject.setting for subject in subjects if subject.model == model}
        if len(settings) > 1:
            listed = "; ".join(sorted(settings))
            raise RunError(
                f"The runs measured {model} in unlike ways: {listed}.", "Learn from runs of one kind at a time."
            )
        groups = _groups(judged, model)
        found += [_Kind(model, min(settings), places) for _, places in sorted(groups.items())]
    return found


def _groups(judged: Mapping[str, Judged], model: str) -> dict[tuple[str, ...], dict[str, frozenset[SubjectKey]]]:
    """Device facts → run → places of the model's devices."""
    groups: dict[tuple[str, ...], dict[str, frozenset[SubjectKey]]] = {}
    for run_id, run in judged.items():
        known = _known(run)
        subjects = [subject for subject in run.evidence.samples.subjects if subject.model == model and subject.node]
        for subject in [subject for subject in subjects if subject.device] or subjects:
            facts = known.facts_of(subject)
            places = groups.setdefault(tuple(facts.get(name, "") for name in _DEVICE_FACTS), {})
            places[run_id] = places.get(run_id, frozenset()) | {(subject.node, subject.device)}
    return groups


def _known(run: Judged) -> _Known:
    known = _Known()
    for record in run.evidence.records:
        known.add(record)
    return known


def _learn_one(judged: Mapping[str, Judged], kind: _Kind) -> tuple[Baseline, dict[str, str]]:
    """The draft, and metric key → why nothing was learned of it."""
    left_out: dict[str, str] = {}
    revisions: dict[str, int] = {}
    shared = class_floor = 0.0
    values: list[Values] = []
    for run_id, places in kind.places.items():
        run = judged[run_id]
        left_out |= suspects(run.judgement.verdicts)
        revisions |= {record.check: record.revision for record in run.evidence.records}
        values += only_at(run.values, places)
        if run.evidence.plan.request.device == "cpu":
            class_floor = CPU_FLOOR
        if run.evidence.shared_host:
            shared = max(shared, run.evidence.plan.suite.peers.shared_host_floor)
    entries, useless = learn(values, kind.model, kind.setting, left_out, revisions, shared, class_floor)
    origin = _provenance(judged, kind, left_out)
    facts = origin.facts | _clocks(values, left_out)
    return Baseline(kind.model, replace(origin, facts=facts), entries), useless


def _clocks(values: Iterable[Values], left_out: Mapping[str, str]) -> dict[str, str]:
    """At which clock the learned devices were: ``clock[matmul.clock_hz[bf16]]`` → the middle one, over runs and devices."""
    seen: dict[str, list[float]] = {}
    for column in values:
        if column.metric.name == _CLOCK:
            kept = [u.node not in left_out for u in column.subjects]
            seen.setdefault(column.key, []).extend(column.value[kept].tolist())
    return {f"clock[{key}]": show(median(clocks), "Hz") for key, clocks in sorted(seen.items()) if clocks}


def _provenance(judged: Mapping[str, Judged], kind: _Kind, left_out: dict[str, str]) -> Provenance:
    said: list[dict[str, str]] = []
    used: set[MeasuredSubject] = set()
    for run_id, places in kind.places.items():
        known = _known(judged[run_id])
        mine = [
            u
            for u in judged[run_id].evidence.samples.subjects
            if (u.node, u.device) in places and u.node not in left_out
        ]
        said += [known.facts_of(subject) for subject in mine]
        used |= set(mine)
    nodes = {node for places in kind.places.values() for node, _ in places}
    conditions = [conditions_of(judged[run_id].evidence) for run_id in kind.places]
    return Provenance(
        learned_at=now(),
        runs=tuple(kind.places),
        nodes=tuple(sorted({subject.node for subject in used})),
        device_ids=tuple(sorted({subject.device_id for subject in used if subject.device_id})),
        setting=kind.setting,
        facts={
            name: SEVERAL.join(sorted(texts))
            for name in dict.fromkeys((*_FACTS, *(name for facts in conditions for name in facts)))
            if (texts := {facts[name] for facts in (*said, *conditions) if facts.get(name)})
        },
        version=__version__,
        commit=commit(),
        left_out={node: why for node, why in left_out.items() if node in nodes},
        device_serials=tuple(sorted({facts["gpu_serial"] for facts in said if facts.get("gpu_serial")})),
    )
