"""How do limits of others become a baseline? AzNHC configurations, SuperBench files and tables in; one draft, and a list of the rest."""

from __future__ import annotations

import csv
from datetime import datetime, timezone
from statistics import median
from typing import TYPE_CHECKING

from hpcaccept import __version__, checks
from hpcaccept.errors import NotUnderstood, RunError, UsageError
from hpcaccept.judge.baseline.learn import SIGMAS
from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA
from hpcaccept.model.baseline import Baseline, BaselineEntry, Provenance, impossible, stands_for
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.parse.aznhc_conf import parse_aznhc_conf
from hpcaccept.parse.limits_csv import parse_limits_csv
from hpcaccept.parse.superbench import parse_superbench
from hpcaccept.store.baseline_file import SHIPPED, file_name, read_generations, write_baseline
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hpcaccept.model.metric import Metric
    from hpcaccept.parse.imported_limits import Imported, Limited, Measured, Row

#: Loss that fails where only a centre is known, measured as we measure; and measured in another way.
BAND, BAND_OTHERWISE = 0.10, 0.15


def import_files(
    files: Sequence[Path], model: str, baselines_dir: Path, power_limit_w: float = 0.0, memory_gib: float = 0.0
) -> Iterable[str]:
    """Add what the files say of a device model as a draft; tells what was taken and what was not.

    Args:
        files: ``.conf`` of AzNHC; ``.json`` or ``.jsonl`` of SuperBench; ``.csv`` with our columns.
        model: exact name the driver gives it: the files do not hold it.
        baselines_dir: where the files are.
        power_limit_w: of the boards that the figures are of; 0: not known.
        memory_gib: likewise.

    Raises:
        UsageError: a file cannot be read, or is of none of these kinds.
        RunError: nothing in them can be taken, or a limit is impossible; nothing is written then.
    """
    entries: dict[str, BaselineEntry] = {}
    left: list[tuple[str, str, str]] = []
    published = _published(model)
    for file in files:
        found = _read(file)
        for entry in _entries(found, file.name, left):
            if entry.key in entries:
                left.append((file.name, entry.key, f"already taken from {entries[entry.key].source}"))
            elif why := _too_low(entry, published):
                left.append((file.name, entry.key, why))
            else:
                entries[entry.key] = entry
        left += [(file.name, what, why) for what, why in found.unmapped]
    for name, what, why in left:
        yield f"  not taken from {name}: {what}: {why}"
    if not entries:
        raise RunError("Nothing in these files is a limit of a metric of ours.", "See above why each was not taken.")
    baseline = _baseline(model, entries, files, power_limit_w, memory_gib)
    if faults := impossible(baseline):
        raise RunError(f"What these files say of {model} cannot be: {faults[0]}.", "Nothing was written.")
    file = write_baseline(baselines_dir, baseline)
    number = len(read_generations(file))
    yield f"{file}: {len(entries)} limits of {model} from {len(files)} file(s), draft {number}"
    yield f"  It judges as a draft. To vouch for it: hpcaccept baseline approve {model!r} --by NAME"


def _baseline(
    model: str, entries: dict[str, BaselineEntry], files: Sequence[Path], power_limit_w: float, memory_gib: float
) -> Baseline:
    facts = {"gpu_power_limit_w": power_limit_w, "gpu_memory_gib": memory_gib}
    origin = Provenance(
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tuple(file.name for file in files),
        (),
        (),
        "",
        {name: f"{value:g}" for name, value in facts.items() if value},
        __version__,
    )
    peaks = next((one.peaks for one in _published(model) if one.peaks), ())
    return Baseline(model, origin, entries, peaks=peaks)


def _published(model: str) -> tuple[Baseline, ...]:
    """What is shipped about a model."""
    file = SHIPPED / file_name(model)
    known = read_generations(file) if file.exists() else ()
    return tuple(one for one in known if one.state == "shipped" and one.model == model)


def _too_low(entry: BaselineEntry, published: Sequence[Baseline]) -> str:
    """Why a limit would be missed by nothing but a wreck: bits taken for bytes, or another unit than was meant."""
    known = (old for one in published for old in one.entries.values() if stands_for(old.key, entry.key))
    old = next(known, None)
    if old is None or old.lower is None or entry.lower is None or entry.lower >= old.lower / 2:
        return ""
    return f"its limit {show(entry.lower, entry.unit)} is less than half of the published {show(old.lower, old.unit)} ({old.source})"


def _read(file: Path) -> Imported:
    try:
        text = file.read_text("utf-8")
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text.", "Expected .conf, .json, .jsonl or .csv.") from None
    parse = {
        ".conf": parse_aznhc_conf, ".json": parse_superbench, ".jsonl": parse_superbench, ".csv": parse_limits_csv
    }.get(file.suffix)  # fmt: skip
    if parse is None:
        raise UsageError(f"{file} has the ending {file.suffix!r}, expected .conf, .json, .jsonl or .csv.")
    try:
        return parse(text)
    except (NotUnderstood, csv.Error) as fault:
        raise UsageError(f"{file}: {fault}") from None


def _entries(found: Imported, name: str, left: list[tuple[str, str, str]]) -> Iterable[BaselineEntry]:
    """Entries of everything that names a metric of ours; the rest goes to ``left``."""
    for limited in found.limits:
        for key in limited.keys:
            yield _of_limit(key, limited, name)
    for measured in found.measured:
        for key in measured.keys:
            entry = _of_values(key, measured, name)
            if entry.lower is None or entry.lower <= 0:
                left.append((name, measured.text, "its values differ so much that no limit follows"))
            else:
                yield entry
    for row in found.rows:
        metric, why = _metric(row)
        if metric is None:
            left.append((name, row.key, why))
        else:
            yield _of_row(row, metric, name)


def _of_limit(key: str, limited: Limited, name: str) -> BaselineEntry:
    check = checks.load(MetricKey.parse(key).check)
    lower = limited.limit if limited.direction == "higher" else None
    upper = None if limited.direction == "higher" else limited.limit
    source = f"{name}: {limited.text}"
    return BaselineEntry(
        key, check.revision, limited.unit, limited.direction, None, None, lower, upper, 0, source, gpus=limited.gpus
    )


def _of_values(key: str, measured: Measured, name: str) -> BaselineEntry:
    parts = MetricKey.parse(key)
    kind = checks.load(parts.check)
    declared = kind.metric(parts.metric)
    floor = max((declared.peer_floor if declared else None) or BAND, BAND if measured.alike else BAND_OTHERWISE)
    center = median(measured.values)
    spread = MAD_TO_SIGMA * median(abs(value - center) for value in measured.values)
    loss = max(floor * center, SIGMAS * spread)
    count = len(measured.values)
    source = f"{name}: {measured.text}, median of {count}, loss > max({floor:.3g}, {SIGMAS:g} robust sigma)"
    return BaselineEntry(
        key,
        kind.revision,
        measured.unit,
        "higher",
        center if measured.alike else None,
        spread if measured.alike and count > 1 else None,
        center - loss,
        None,
        count,
        source,
        values=count,
    )


def _metric(row: Row) -> tuple[Metric | None, str]:
    """The metric of a row, or why it has none that can be compared."""
    parts = MetricKey.parse(row.key)
    kind = checks.find(parts.check)
    if kind is None:
        return None, f"there is no check {parts.check_name!r}"
    metric = kind.metric(parts.metric)
    if metric is None:
        return None, f"the check {parts.check_name!r} has no metric {parts.metric!r}"
    if not metric.is_rate:
        return None, "it has a limit of its own, or none is judged"
    if metric.unit != row.unit:
        return None, f"its unit is {row.unit}, the metric has {metric.unit}"
    if row.revision and row.revision != kind.revision:
        return None, f"revision {row.revision} of the method, today's is {kind.revision}"
    return metric, ""


def _of_row(row: Row, metric: Metric, name: str) -> BaselineEntry:
    higher = metric.direction == "higher"
    lower, upper, how = row.lower, row.upper, row.source
    if lower is None and upper is None and row.center is not None:
        lower = row.center * (1 - BAND) if higher else None
        upper = None if higher else row.center * (1 + BAND)
        how = f"{how or name}, loss > {BAND:g}"
    revision = checks.load(MetricKey.parse(row.key).check).revision
    return BaselineEntry(
        row.key,
        revision,
        row.unit,
        metric.direction,
        row.center,
        None,
        lower,
        upper,
        row.subjects,
        how or name,
        gpus=row.gpus,
    )
