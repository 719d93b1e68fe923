"""Builds the baselines that come with hpcaccept, each from one text file, the same bytes every time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.app.baseline.like_methods import why_unlike
from hpcaccept.errors import RunError, UsageError
from hpcaccept.model.baseline import Baseline, BaselineEntry, Peak, Provenance, impossible
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.parse.baseline_source import Band, Source, StatedLimit, parse_bands, parse_source
from hpcaccept.store.baseline_file import SHIPPED, file_name, read_generations, write_generations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.metric import Metric

SOURCES = SHIPPED / "sources"
#: Bands of the limits, with the published spreads of healthy fleets that they follow from.
SPREADS = SHIPPED / "spreads.toml"


def build(sources: Path, output: Path) -> Iterable[str]:
    """Write the baseline of every source; tells which.

    Raises:
        UsageError: a source is wrong: a metric or subject that is none, a limit above the physical peak.
        RunError: a file holds what a site has learned itself; it is left as it is.
    """
    for file, baseline in _built(sources):
        target = output / file_name(baseline.model)
        if target.exists() and any(one.state != "shipped" for one in read_generations(target)):
            raise RunError(
                f"{target} holds generations that were learned or imported here.",
                "Build into another folder: --output DIR.",
            )
        write_generations(target, (baseline,))
        yield f"{target}: {len(baseline.entries)} limits, {len(baseline.peaks)} peaks from {file.name}"


def check(sources: Path, output: Path) -> Iterable[str]:
    """Hold what is there against its sources; tells what is alike.

    Raises:
        UsageError: a source is wrong.
        RunError: a file is missing, differs from its source, or has none.
    """
    differing = []
    expected = set()
    with tempfile.TemporaryDirectory(prefix="hpcaccept-baselines-") as folder:
        for file, baseline in _built(sources):
            name = file_name(baseline.model)
            expected.add(name)
            write_generations(Path(folder, name), (baseline,))
            alike, words = _compared(Path(folder, name), output / name)
            if alike:
                yield f"{name}: {words}"
            else:
                differing.append(f"{name} {words} (from {file.name})")
    strays = sorted(file.name for file in output.glob("*.h5") if file.name not in expected)
    differing += [f"{name} has no source" for name in strays if read_generations(output / name)[0].state == "shipped"]
    if differing:
        raise RunError("\n".join(differing) + ".", "Build them again: hpcaccept baseline build")


def _compared(built: Path, there: Path) -> tuple[bool, str]:
    """Whether a file has what its source says, and in words how."""
    if not there.exists():
        return False, "differs: it is missing"
    if built.read_bytes() == there.read_bytes():
        return True, "the same bytes"
    generations = read_generations(there)
    shipped = tuple(one for one in generations if one.state == "shipped")
    if read_generations(built) != shipped:
        return False, "differs from its source"
    if own := len(generations) - len(shipped):
        return True, f"the same content, beside {own} generation(s) that were learned or imported here"
    return True, "the same content, in other bytes (another version of HDF5)"


def shipped_bands() -> dict[str, Band]:
    """The bands of shipped limits, by name."""
    return parse_bands(SPREADS.read_text("utf-8"), SPREADS.name)


def sources_of(sources: Path) -> Iterable[tuple[Path, Source]]:
    """Every source of a folder, by the names of the files.

    Raises:
        UsageError: there is none, or one is wrong.
    """
    files = sorted(sources.glob("*.toml"))
    if not files:
        raise UsageError(f"There is no source in {sources}.", "Name their folder with --sources.")
    bands = shipped_bands()
    for file in files:
        yield file, parse_source(file.read_text("utf-8"), file.name, bands)


def shipped_baselines() -> list[Baseline]:
    """What comes with hpcaccept, by the names of the files, without what a site has learned beside it."""
    return [baseline for _, baseline in _built(SOURCES)]


def _built(sources: Path) -> Iterable[tuple[Path, Baseline]]:
    for file, source in sources_of(sources):
        if file_name(source.model) != f"{file.stem}.h5":
            raise UsageError(
                f"{file.name} is of {source.model!r}.", f"Name it {Path(file_name(source.model)).stem}.toml."
            )
        yield file, shipped_baseline(source, file.name)


def shipped_baseline(source: Source, place: str) -> Baseline:
    """The baseline that follows from a source.

    Args:
        source: as parsed.
        place: name of its file, for messages.

    Raises:
        UsageError: a metric that no check has, another unit than the metric's, two limits of one metric, a figure of another method
            than the metric's, a limit above the physical peak.
    """
    peaks = tuple(
        Peak(key, stated.unit, stated.value, stated.source, source.date, source.peak_margin)
        for stated in source.peaks
        for key in stated.keys
    )
    entries: dict[str, BaselineEntry] = {}
    for stated in source.limits:
        for key in stated.keys:
            if key in entries:
                raise UsageError(
                    f"{place}: {key} has two limits.", "Keep one, and the other under [[unused]] with a reason."
                )
            entries[key] = _entry(key, stated, source, place)
    for peak in peaks:
        if _metric(peak.key, place).unit != peak.unit:
            raise UsageError(
                f"{place}: the peak of {peak.key} is in {peak.unit}, the metric in {_metric(peak.key, place).unit}."
            )
    origin = Provenance(source.date, ("published figures",), (), (), "", source.facts)
    baseline = Baseline(source.model, origin, entries, "shipped", peaks=peaks, generation=1)
    if faults := impossible(baseline):
        raise UsageError(f"{place}: {faults[0]}.", "A figure above what the part can do is a mistake of its source.")
    return baseline


def _entry(key: str, stated: StatedLimit, source: Source, place: str) -> BaselineEntry:
    metric = _metric(key, place)
    if metric.unit != stated.unit:
        raise UsageError(f"{place}: the limit of {key} is in {stated.unit}, the metric in {metric.unit}.")
    if reason := why_unlike(key, stated, source):
        raise UsageError(
            f"{place}: the figure for {key} ({stated.method}) does not judge it: {reason}.",
            "Keep it under [[unused]] with that reason; the floor from the peak stands under the metric.",
        )
    check = MetricKey.parse(key).check
    revision = checks.load(check).revision
    if source.revisions.get(check) != revision:
        raise UsageError(
            f"{place}: its limits were mapped to revision {source.revisions.get(check)} of {check}, which is now {revision}.",
            f"See whether they still hold, then write revisions.{check} = {revision}.",
        )
    return BaselineEntry(
        key=key,
        revision=revision,
        unit=stated.unit,
        direction=metric.direction,
        center=stated.center,
        spread=None,
        lower=stated.lower,
        upper=stated.upper,
        subjects=stated.subjects,
        source=stated.source,
        gpus=stated.gpus,
        date=source.date,
    )


def _metric(key: str, place: str) -> Metric:
    try:
        parts = MetricKey.parse(key)
    except ValueError as fault:
        raise UsageError(f"{place}: {fault}.") from None
    metric = checks.load(parts.check).metric(parts.metric)
    if metric is None:
        raise UsageError(f"{place}: {key} is not a metric of the check {parts.check!r}.")
    return metric
