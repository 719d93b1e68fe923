"""How are baselines learned from runs, vouched for, retired and compared? Each change is a generation or an entry in its life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.judging import Judged, evidence_of, judge_run
from hpcaccept.app.submitting import commit_of
from hpcaccept.errors import RunError, StoreError, UsageError
from hpcaccept.judge.decline import accept, declines
from hpcaccept.judge.fitting import DEVICE_FACTS, GPUS_FACT, SEVERAL, SOFTWARE_FACTS, beyond_peak
from hpcaccept.judge.learn import learn, only_at, suspects
from hpcaccept.model.baseline import Baseline, Change, Provenance, impossible
from hpcaccept.store.baseline_file import SHIPPED, change_file, file_name, read_generations
from hpcaccept.store.folder import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcaccept.judge.values import Values
    from hpcaccept.model.record import Record
    from hpcaccept.model.table import Unit

#: Facts that would change the numbers and so belong to the provenance.
_FACTS = (*DEVICE_FACTS, *SOFTWARE_FACTS, GPUS_FACT, "cuda_driver", "kernel", "numpy")
_DEVICE_FACTS = tuple(DEVICE_FACTS)
Place = tuple[str, str]


@dataclass(frozen=True)
class _Kind:
    """Devices of one model that may be learned from together.

    Attributes:
        model: NVML name, or the CPU's.
        setting: threads and turns.
        device_facts: power limit, memory, ECC and MIG mode, as far as known.
        places: run → (node, device) of each: one board may have another power limit in the next run.
    """

    model: str
    setting: str
    device_facts: tuple[str, ...]
    places: Mapping[str, frozenset[Place]]


@dataclass
class _Known:
    """What the runs say of their devices: identity facts by place, and those of a node by its name alone."""

    facts: dict[Place, dict[str, str]] = field(default_factory=dict)
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)

    def hear(self, record: Record) -> None:
        """Keep what one rank says."""
        if record.check.partition(":")[0] == "identity":
            self.facts[(record.node, record.device)] = record.facts
            self.nodes.setdefault(record.node, record.facts)

    def of(self, unit: Unit) -> dict[str, str]:
        """Of a device, else of its node."""
        return self.facts.get((unit.node, unit.device)) or self.nodes.get(unit.node, {})


def learn_from(
    runs_dir: Path,
    runs: Iterable[str],
    baselines_dir: Path,
    accepted: Sequence[str] = (),
    strict: bool = False,
) -> Iterable[str]:
    """Learn a draft per device model, power limit and memory; tells what was done.

    Args:
        runs_dir: where runs are kept.
        runs: names or paths.
        baselines_dir: where the files are.
        accepted: keys (``*`` for any text) that may be worse than what was vouched for.
        strict: another driver, CUDA, torch or image will be refused instead of said.

    Raises:
        RunError: a run does not exist, nothing can be learned from them, or a metric has declined; the file is untouched then.
        StoreError: the file that is there is damaged.
    """
    judged = {}
    for name in runs:
        folder = find(runs_dir, name)
        judged[folder.run_id] = judge_run(evidence_of(folder), baselines_dir)
    kinds = _kinds(judged)
    if not kinds:
        raise RunError("These runs hold no measured device.", "hpcaccept report shows why.")
    for kind in kinds:
        learned = replace(_learn_one(judged, kind), strict=strict)
        if not learned.entries:
            raise RunError(
                f"Nothing can be learned about {kind.model}: no unsuspected unit has a rate."
                + "".join(f"\n  left out {node}: {why}" for node, why in learned.provenance.left_out.items())
            )
        yield from _keep(baselines_dir, learned, accepted)


def _keep(baselines_dir: Path, learned: Baseline, accepted: Sequence[str]) -> Iterable[str]:
    """Add a draft to its file unless it is impossible or has declined."""
    shipped = _generations(SHIPPED / file_name(learned.model), learned.model)
    learned = replace(learned, peaks=next((one.peaks for one in reversed(shipped) if one.peaks), ()))
    _must_be_possible(learned)
    file = baselines_dir / file_name(learned.model)
    kept: list[Baseline] = []

    def add(earlier: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        kept.append(_unless_declined(learned, (*earlier, *shipped), accepted))
        return (*earlier, kept[0])

    generations = change_file(file, learned.model, add)
    units = max(entry.units for entry in learned.entries.values())
    runs = len(learned.provenance.runs)
    number = len(generations)
    yield f"{file}: {len(learned.entries)} metrics of {learned.model} from {units} unit(s) in {runs} run(s), draft {number}"
    for entry in kept[0].entries.values():
        if entry.accepted:
            yield f"  accepted {entry.key}: {entry.accepted}"
    for node, why in learned.provenance.left_out.items():
        yield f"  left out {node}: {why}"
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


def _unless_declined(learned: Baseline, earlier: Sequence[Baseline], accepted: Sequence[str]) -> Baseline:
    learned, refused = accept(learned, declines(learned, earlier), accepted)
    if refused:
        listed = "\n".join(f"  {one}" for one in refused)
        raise RunError(
            f"{learned.model} is worse than it was when somebody vouched for it; that is not learned as normal:\n{listed}",
            "Find out why. If it is meant to be so, name each: "
            + " ".join(f"--accept-decline '{d.key}'" for d in refused),
        )
    return learned


def _kinds(judged: Mapping[str, Judged]) -> list[_Kind]:
    """Kinds of devices in the runs, by model and then by what NVML says of them.

    Raises:
        RunError: one model was measured with unlike threads or turns.
    """
    units = {u for run in judged.values() for u in run.evidence.samples.units if u.model and u.node}
    found: list[_Kind] = []
    for model in sorted({unit.model for unit in units}):
        settings = {unit.setting for unit in units if unit.model == model}
        if len(settings) > 1:
            listed = "; ".join(sorted(settings))
            raise RunError(
                f"The runs measured {model} in unlike ways: {listed}.", "Learn from runs of one kind at a time."
            )
        groups = _groups(judged, model)
        found += [_Kind(model, min(settings), facts, places) for facts, places in sorted(groups.items())]
    return found


def _groups(judged: Mapping[str, Judged], model: str) -> dict[tuple[str, ...], dict[str, frozenset[Place]]]:
    """Device facts → run → places of the model's devices."""
    groups: dict[tuple[str, ...], dict[str, frozenset[Place]]] = {}
    for run_id, run in judged.items():
        known = _known(run)
        units = [unit for unit in run.evidence.samples.units if unit.model == model and unit.node]
        for unit in [unit for unit in units if unit.device] or units:
            facts = known.of(unit)
            places = groups.setdefault(tuple(facts.get(name, "") for name in _DEVICE_FACTS), {})
            places[run_id] = places.get(run_id, frozenset()) | {(unit.node, unit.device)}
    return groups


def _known(run: Judged) -> _Known:
    known = _Known()
    for record in run.evidence.records:
        known.hear(record)
    return known


def _learn_one(judged: Mapping[str, Judged], kind: _Kind) -> Baseline:
    left_out: dict[str, str] = {}
    revisions: dict[str, int] = {}
    shared = 0.0
    values: list[Values] = []
    for run_id, places in kind.places.items():
        run = judged[run_id]
        left_out |= suspects(run.judgement.verdicts)
        revisions |= {record.check: record.revision for record in run.evidence.records}
        values += only_at(run.values, places)
        if run.evidence.shared_host:
            shared = max(shared, run.evidence.plan.suite.peers.shared_host_floor)
    entries = learn(values, kind.model, kind.setting, left_out, revisions, shared)
    return Baseline(kind.model, _provenance(judged, kind, left_out), entries)


def _provenance(judged: Mapping[str, Judged], kind: _Kind, left_out: dict[str, str]) -> Provenance:
    said: list[dict[str, str]] = []
    used: set[Unit] = set()
    for run_id, places in kind.places.items():
        known = _known(judged[run_id])
        mine = [
            u for u in judged[run_id].evidence.samples.units if (u.node, u.device) in places and u.node not in left_out
        ]
        said += [known.of(unit) for unit in mine]
        used |= set(mine)
    nodes = {node for places in kind.places.values() for node, _ in places}
    return Provenance(
        learned_at=_now(),
        runs=tuple(kind.places),
        nodes=tuple(sorted({unit.node for unit in used})),
        device_ids=tuple(sorted({unit.device_id for unit in used if unit.device_id})),
        setting=kind.setting,
        facts={
            name: SEVERAL.join(sorted(texts))
            for name in _FACTS
            if (texts := {facts[name] for facts in said if facts.get(name)})
        },
        version=__version__,
        commit=commit_of(Path(__file__).parents[2]),
        left_out={node: why for node, why in left_out.items() if node in nodes},
        device_serials=tuple(sorted({facts["gpu_serial"] for facts in said if facts.get("gpu_serial")})),
    )


# --- life -------------------------------------------------------------------------------------------------------------


def approve(
    baselines_dir: Path,
    model: str,
    by: str,
    until: str = "",
    generation: int = 0,
    why: str = "",
    accepted: Sequence[str] = (),
) -> str:
    """Vouch for a generation: from now on it judges where a suite requires a baseline.

    Args:
        baselines_dir: where the files are.
        model: device model, or a part of its name that only one has.
        by: who vouches.
        until: last day on which it may judge, ``YYYY-MM-DD``; empty: without end.
        generation: 0: the newest draft.
        why: in their words.
        accepted: keys that may be worse than what was vouched for before.

    Raises:
        UsageError: no such model or generation, a date that is none or has passed, nobody who vouches.
        RunError: a metric has declined since an earlier approval.
    """
    if not by.strip():
        raise UsageError("Nobody vouches for it: --by is empty.", "Name yourself: --by 'Ann Admin'.")
    _must_be_a_coming_day(until)

    def change(one: Baseline, others: tuple[Baseline, ...]) -> Baseline:
        shipped = _generations(SHIPPED / file_name(one.model), one.model)
        sound = _unless_declined(
            one, (*others, *shipped), (*accepted, *(k for k, e in one.entries.items() if e.accepted))
        )
        return _changed(sound, Change("approved", _now(), by, until, why))

    return _change_one(baselines_dir, model, generation, ("draft", "approved"), change)


def retire(baselines_dir: Path, model: str, by: str, generation: int = 0, why: str = "") -> str:
    """Let a generation judge no more; it stays in the file.

    Args:
        baselines_dir: where the files are.
        model: device model, or a part of its name that only one has.
        by: who says so.
        generation: 0: the newest that judges.
        why: in their words.

    Raises:
        UsageError: no such model or generation.
    """
    return _change_one(
        baselines_dir,
        model,
        generation,
        ("approved", "draft"),
        lambda one, _: _changed(one, Change("expired", _now(), by, why=why)),
    )


def _changed(one: Baseline, change: Change) -> Baseline:
    return replace(one, state=change.state, changes=(*one.changes, change))


def _change_one(
    baselines_dir: Path,
    model: str,
    generation: int,
    states: tuple[str, ...],
    change: Callable[[Baseline, tuple[Baseline, ...]], Baseline],
) -> str:
    """Change one generation under the lock; without a number the newest in the first of these states that there is."""
    file, name = _file_of(baselines_dir, model)
    number = 0

    def apply(there: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        nonlocal number
        number = generation or _newest(there, states, name)
        if not 0 < number <= len(there):
            raise UsageError(f"{name} has no generation {number}: there are {len(there)}.", "hpcaccept baseline show")
        chosen = there[number - 1]
        if chosen.state == "shipped":
            raise UsageError(
                f"Generation {number} of {name} is shipped with hpcaccept; nobody here can vouch for it or retire it.",
                "Learn one of your own: hpcaccept baseline learn RUN",
            )
        others = tuple(one for one in there if one is not chosen)
        return tuple(change(one, others) if one is chosen else one for one in there)

    later = change_file(file, name, apply)[number - 1]
    last = later.changes[-1]
    until = f", until {last.until}" if last.until else ""
    return f"{name}: generation {number} is {last.state} by {last.by}{until}"


def _newest(there: tuple[Baseline, ...], states: tuple[str, ...], model: str) -> int:
    for state in states:
        numbers = [number for number, one in enumerate(there, 1) if one.state == state]
        if numbers:
            return numbers[-1]
    raise UsageError(f"{model} has no {' or '.join(states)} generation.", "hpcaccept baseline learn RUN")


def _file_of(baselines_dir: Path, model: str) -> tuple[Path, str]:
    """File and full name of the one model that a text means."""
    names = {}
    for file in sorted(baselines_dir.glob("*.h5")):
        names[read_generations(file)[0].model] = file
    chosen = [name for name in names if name == model] or [name for name in names if model.lower() in name.lower()]
    if len(chosen) != 1:
        listed = ", ".join(chosen or names) or "none"
        problem = "means several models" if chosen else "names no model"
        raise UsageError(
            f"{model!r} {problem} in {baselines_dir}: {listed}.", "Give the name as 'baseline show' prints it."
        )
    return names[chosen[0]], chosen[0]


def _generations(file: Path, model: str) -> tuple[Baseline, ...]:
    """Of a file of this very model; none where there is no such file."""
    if not file.exists():
        return ()
    found = read_generations(file)
    return found if found[0].model == model else ()


def _must_be_a_coming_day(text: str) -> None:
    if not text:
        return
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until: found {text!r}, expected a day as YYYY-MM-DD.") from None
    if day < datetime.now(timezone.utc).date():
        raise UsageError(f"--until: {text} has passed.", "To end one now: hpcaccept baseline retire.")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# --- looking ----------------------------------------------------------------------------------------------------------


def known_baselines(baselines_dir: Path, model: str = "") -> list[tuple[Path, tuple[Baseline, ...]]]:
    """File and generations of every model whose name contains a text, the site's own first.

    Raises:
        StoreError: a file is damaged.
    """
    files = dict.fromkeys(
        file.absolute() for folder in (baselines_dir, SHIPPED) for file in sorted(folder.glob("*.h5"))
    )
    found = [(file, read_generations(file)) for file in files]
    return [(f, g) for f, g in found if model.lower() in g[0].model.lower() or model == f.name]


def one_generation(baselines_dir: Path, text: str) -> Baseline:
    """``MODEL``, ``MODEL@2`` or ``FILE.h5@2``; without a number the newest.

    Raises:
        UsageError: nothing, or more than one model, is meant.
        StoreError: the file is damaged.
    """
    name, _, number = text.rpartition("@") if text.rpartition("@")[2].isdigit() else (text, "", "")
    if Path(name).suffix == ".h5" and Path(name).is_file():
        generations = read_generations(Path(name))
    else:
        known = known_baselines(baselines_dir, name)
        exact = [each for each in known if each[1][0].model == name] or known
        models = {generations[0].model for _, generations in exact}
        if len(models) != 1:
            listed = ", ".join(sorted(models)) or "none"
            raise UsageError(f"{name!r} means {listed}.", "Give the name as 'baseline show' prints it, or a file.")
        generations = exact[0][1]
    index = int(number) if number else len(generations)
    if not 0 < index <= len(generations):
        raise UsageError(f"{name} has no generation {index}: there are {len(generations)}.", "hpcaccept baseline show")
    return replace(generations[index - 1], generation=index)


def upgrade(baselines_dir: Path, model: str = "") -> Iterable[str]:
    """Write files of an earlier format in today's; tells which.

    Raises:
        StoreError: a file is damaged.
    """
    import h5py

    files = sorted(baselines_dir.glob("*.h5"))
    for file in files:
        name = read_generations(file)[0].model
        if model.lower() not in name.lower():
            continue
        with h5py.File(file, "r") as h5:
            version = int(h5.attrs["version"])
        change_file(file, name, lambda there: there)
        yield (
            f"{file}: {name}, format {version} → 2" if version == 1 else f"{file}: {name}, format {version}, unchanged"
        )
    if not files:
        raise StoreError(f"There is no baseline in {baselines_dir}.", "Name another folder with --baselines-dir.")
