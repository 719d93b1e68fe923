"""Baselines on paper: lines for ``baseline show``, ``diff`` and ``check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.judge.baseline.limit import MANY, states_a_rate, units_for, units_of, written_loss_from
from hpcaccept.model.baseline import written_loss
from hpcaccept.report.phrases import counted
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hpcaccept.model.baseline import Baseline, BaselineEntry

#: Relative difference from which two centres are told apart in a diff.
_SAME = 0.001
#: A limit that lies further out than this, against one of very many units of the same spread, is so because they are few.
_WIDENED = 1.1
#: Units that a rack has, and a chance of heavy tails that is told.
_SOME, _HEAVY = 16, 0.5


def summary_line(baseline: Baseline) -> str:
    """One line: model, state, how many metrics, whence."""
    origin = baseline.provenance
    verb = "read" if baseline.state == "shipped" else "learned"
    return f"{baseline.model}: {counted(len(baseline.entries), 'metric')}, {baseline.state}, {verb} {origin.learned_at} from {', '.join(origin.runs)}"


def details(file: Path, generations: tuple[Baseline, ...]) -> Iterable[str]:
    """Every generation of a model, the newest first: conditions, life, limits, peaks."""
    yield f"  file {file}"
    for number, one in sorted(enumerate(generations, 1), reverse=True):
        origin = one.provenance
        yield f"  generation {number}, {one.state}{', strict' if one.strict else ''}: {origin.setting or 'any setting'}"
        if origin.nodes:
            yield f"    nodes {', '.join(origin.nodes)}; {len(origin.device_ids)} GPU UUID(s), {len(origin.device_serials)} serial(s)"
        if origin.facts:
            yield "    " + ", ".join(f"{key} {text}" for key, text in origin.facts.items())
        for change in one.changes:
            until = f" until {change.until}" if change.until else ""
            yield f"    {change.at[:10]} {change.state} by {change.by}{until}{f': {change.why}' if change.why else ''}"
        yield from (f"  {line}" for line in limits_in_words(one.entries.values()))
        if any(states_a_rate(entry) and not entry.rate for entry in one.entries.values()):
            yield "    learned by an earlier hpcaccept: its limits grow with the number of values of a run; learn it again for what the fleet shows"
        # A source says more than a line holds, and many metrics have one.
        entries = [one.entries[key] for key in sorted(one.entries)]
        sources = list(dict.fromkeys(filter(None, map(_source, entries))))
        for entry in entries:
            source = _source(entry)
            yield f"    {_entry_line(entry)}{f' [{sources.index(source) + 1}]' if source else ''}"
        for peak in one.peaks:
            yield f"    {peak.key:<38} peak {show(peak.value, peak.unit)}"
        yield from (f"    [{number}] {source}" for number, source in enumerate(sources, 1))


def limits_in_words(entries: Iterable[BaselineEntry]) -> Iterable[str]:
    """What the limits of a generation that was learned state, and what few units have cost, the worst of it as an example."""
    learned = [entry for entry in entries if entry.rate and states_a_rate(entry)]
    if not learned:
        return
    first = learned[0]
    losses = [written_loss(entry) for entry in learned]
    yield (
        f"  limits {_span(losses)} from the middle: set to blame anybody in {first.rate:.2g} of healthy runs of {first.comparisons:,} such values; "
        "a run of more values holds wider ones, of fewer narrower ones"
    )
    if heavy := sum(entry.tail > _HEAVY for entry in learned):
        yield f"  heavy tails: single units lie far from the others, so that {heavy} of {len(learned)} limits are two to four times as wide"
    widened = sorted(
        (entry for entry in learned if _is_widened(entry)), key=lambda one: -written_loss(one) / written_loss_from(one)
    )
    if widened:
        yield f"  wider because few units were learned from: {len(widened)} of {len(learned)} limits; {_widening(widened[0])}"


def _is_widened(entry: BaselineEntry) -> bool:
    return written_loss(entry) > _WIDENED * written_loss_from(entry)


def _widening(entry: BaselineEntry) -> str:
    many = written_loss_from(entry)
    units = units_for(entry, _WIDENED * many)
    why = "the floor of the metric" if many <= entry.floor else "what their spread asks for"
    between = f" {written_loss_from(entry, _SOME):.1%} from {_SOME}," if units_of(entry) < _SOME else ""
    return f"{entry.key}: {written_loss(entry):.1%} from {units_of(entry)} unit(s),{between} and from {units or MANY} on about {many:.1%}, {why}"


def _span(losses: list[float]) -> str:
    low, high = min(losses), max(losses)
    return f"{low:.1%}" if f"{low:.1%}" == f"{high:.1%}" else f"{low:.1%} to {high:.1%}"


def _entry_line(entry: BaselineEntry) -> str:
    bounds = [
        f"{word} {show(bound, entry.unit)}"
        for word, bound in (("≥", entry.lower), ("≤", entry.upper))
        if bound is not None
    ]
    center = "" if entry.center is None else f"{show(entry.center, entry.unit)}, "
    whence = f" ({counted(entry.subjects, 'unit')})" if entry.subjects else ""
    interval = ""
    if entry.center_low is not None and entry.center_high is not None:
        interval = f", centre within {show(entry.center_low, entry.unit)} … {show(entry.center_high, entry.unit)}"
    gpus = f", {entry.gpus} GPUs a node" if entry.gpus else ""
    return f"{entry.key:<38} {center:>12}{', '.join(bounds)}{gpus}{whence}{interval}"


def _source(entry: BaselineEntry) -> str:
    """Where a limit comes from; what was learned says by itself how its limit follows."""
    return "" if entry.values else entry.source


def difference(one: Baseline, other: Baseline) -> Iterable[str]:
    """What differs between two generations: conditions first, then metrics, the largest change first."""
    yield f"A  {_title(one)}"
    yield f"B  {_title(other)}"
    yield from _conditions(one, other)
    both = sorted(one.entries.keys() & other.entries.keys(), key=lambda key: -abs(_change(one, other, key)))
    lines = [line for key in both for line in _changed(one.entries[key], other.entries[key])]
    yield from lines or ["  no metric differs"]
    for name, mine, theirs in (("A", one, other), ("B", other, one)):
        for key in sorted(mine.entries.keys() - theirs.entries.keys()):
            source = _source(mine.entries[key])
            yield f"  only in {name}: {_entry_line(mine.entries[key]).strip()}{f'; {source}' if source else ''}"


def _title(baseline: Baseline) -> str:
    return f"{baseline.model}, generation {baseline.generation}, {baseline.state}, {baseline.provenance.learned_at}"


def _conditions(one: Baseline, other: Baseline) -> Iterable[str]:
    if one.provenance.setting != other.provenance.setting:
        yield f"  setting: {one.provenance.setting or 'any'} → {other.provenance.setting or 'any'}"
    mine, theirs = one.provenance.facts, other.provenance.facts
    for fact in sorted(mine.keys() | theirs.keys()):
        if mine.get(fact) != theirs.get(fact):
            yield f"  {fact}: {mine.get(fact, 'not known')} → {theirs.get(fact, 'not known')}"


def _change(one: Baseline, other: Baseline, key: str) -> float:
    before, after = one.entries[key].center, other.entries[key].center
    return after / before - 1 if before and after is not None else 0.0


def _changed(before: BaselineEntry, after: BaselineEntry) -> Iterable[str]:
    if (before.unit, before.revision) != (after.unit, after.revision):
        yield (
            f"  {before.key}: revision {before.revision} in {before.unit} → revision {after.revision} in {after.unit}: "
            "not to be compared"
        )
        return
    parts = []
    for name in ("center", "lower", "upper"):
        mine, theirs = getattr(before, name), getattr(after, name)
        if mine is None and theirs is None:
            continue
        if mine is None or theirs is None or abs(theirs - mine) > _SAME * abs(mine):
            share = f" ({(theirs / mine - 1) * 100:+.1f} %)" if mine and theirs is not None else ""
            texts = ["none" if x is None else show(x, before.unit) for x in (mine, theirs)]
            parts.append(f"{name} {texts[0]} → {texts[1]}{share}")
    if parts:
        yield f"  {before.key}: {'; '.join(parts)}"
