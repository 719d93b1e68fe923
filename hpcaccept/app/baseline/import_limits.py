"""Turns limits of others into a baseline: AzNHC configurations, SuperBench files and tables in; one draft, and a list of the rest."""

from __future__ import annotations

import csv
import functools
from datetime import datetime, timezone
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from hpcaccept import __version__, checks
from hpcaccept.app.baseline.lifecycle import generations_of
from hpcaccept.bounded import read_text
from hpcaccept.errors import NotUnderstood, RunError, UsageError
from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA
from hpcaccept.model.baseline import Baseline, BaselineEntry, Provenance, impossible, stands_for
from hpcaccept.model.metric import Limit
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.parse.aznhc_conf import parse_aznhc_conf
from hpcaccept.parse.limits_csv import parse_limits_csv
from hpcaccept.parse.superbench import parse_superbench
from hpcaccept.report.phrases import counted
from hpcaccept.store.baseline_file import SHIPPED, file_name, read_generations, write_baseline
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hpcaccept.model.metric import Metric
    from hpcaccept.parse.imported_limits import Imported, Limited, Measured, Row

T = TypeVar("T")

#: Loss that fails where only a centre is known, measured as we measure; and measured in another way.
BAND, BAND_OTHERWISE = 0.10, 0.15
#: NVLink bridges, one direction. H100 NVL: 600 GB/s both ways, H200 NVL: 900 GB/s (NVIDIA's data sheets, November 2026); a healthy pair of the
#: first was measured at 257 GB/s, and AzNHC asks it for 335: https://github.com/Azure/azurehpc-health-checks/issues/162.
_BRIDGES = {"NVIDIA H100 NVL": 300e9, "NVIDIA H200 NVL": 450e9}
_BETWEEN_GPUS = (
    "peer_to_peer.bandwidth_bytes[",
    "nvbandwidth.rate_bytes[device_to_device_memcpy_",
    "aznhc.rate_bytes[P2P_",
)
#: Names that are told of what was not taken for one reason.
_NAMED = 3
#: Robust widths that the limit of imported values lies from their middle at least.
SIGMAS = 4.0


def import_files(
    files: Sequence[Path],
    model: str,
    baselines_dir: Path,
    power_limit_w: float = 0.0,
    memory_gib: float = 0.0,
    gpus: int = 0,
) -> Iterable[str]:
    """Add what the files say of a device model as a draft; tells what was taken and what was not.

    Args:
        files: ``.conf`` of AzNHC; ``.json`` or ``.jsonl`` of SuperBench; ``.csv`` with our columns.
        model: exact name the driver gives it: the files do not hold it.
        baselines_dir: where the files are.
        power_limit_w: of the boards that the figures are of; 0: not known.
        memory_gib: likewise.
        gpus: per node, for what GPUs reached together in a file that does not say how many they were; 0: not known.

    Raises:
        UsageError: a file cannot be read, or is of none of these kinds.
        RunError: nothing in them can be taken, or a limit is impossible; nothing is written then.
    """
    entries: dict[str, BaselineEntry] = {}
    left: list[tuple[str, str, str]] = []
    published = _published(model)
    learned = [one for one in generations_of(baselines_dir / file_name(model), model) if one.provenance.nodes]
    for file in files:
        found = _read(file, gpus)
        for entry in _entries(found, file.name, left):
            if entry.key in entries:
                left.append((file.name, entry.key, f"already taken from {entries[entry.key].source}"))
            elif why := _never_met(entry, model) or _too_low(entry, published, learned):
                left.append((file.name, entry.key, why))
            else:
                entries[entry.key] = entry
        left += [(file.name, what, why) for what, why in found.unmapped]
    yield from told(left)
    if not entries:
        raise RunError("Nothing in these files is a limit of a metric of ours.", "See above why each was not taken.")
    baseline = _baseline(model, entries, files, power_limit_w, memory_gib)
    if faults := impossible(baseline):
        raise RunError(f"What these files say of {model} cannot be: {faults[0]}.", "Nothing was written.")
    file = write_baseline(baselines_dir, baseline)
    number = len(read_generations(file))
    yield f"{file}: {counted(len(entries), 'limit')} of {model} from {counted(len(files), 'file')}, draft {number}"
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


def told(left: Sequence[tuple[str, str, str]]) -> Iterable[str]:
    """What was not taken, by file and reason, the first of them by name.

    Args:
        left: file, what, why.
    """
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, what, why in dict.fromkeys(left):
        grouped.setdefault((name, why), []).append(what)
    for (name, why), whats in grouped.items():
        more = f" and {len(whats) - _NAMED} more" if len(whats) > _NAMED else ""
        yield f"  not taken from {name}: {', '.join(whats[:_NAMED])}{more}: {why}"


def _never_met(entry: BaselineEntry, model: str) -> str:
    """Why no board of the model can meet a limit of copies between GPUs, empty where it can."""
    most = _BRIDGES.get(model)
    if most is None or entry.lower is None or entry.lower <= most or not entry.key.startswith(_BETWEEN_GPUS):
        return ""
    return (
        f"its limit {show(entry.lower, entry.unit)} is more than the {show(most, entry.unit)} that the NVLink bridge of a {model} carries "
        "one way: no board meets it"
    )


def _published(model: str) -> tuple[Baseline, ...]:
    """What is shipped about a model."""
    file = SHIPPED / file_name(model)
    known = read_generations(file) if file.exists() else ()
    return tuple(one for one in known if one.state == "shipped" and one.model == model)


def _too_low(entry: BaselineEntry, published: Sequence[Baseline], learned: Sequence[Baseline]) -> str:
    """Why a limit would be missed by nothing but a wreck: bits taken for bytes, or another unit than was meant."""
    centers = [old for one in learned if (old := one.entries.get(entry.key)) is not None and old.center]
    if centers and entry.lower is not None and entry.lower < (slowest := min(old.center or 0.0 for old in centers)) / 2:
        return f"its limit {show(entry.lower, entry.unit)} is less than half of the {show(slowest, entry.unit)} that was measured here"
    known = (old for one in published for old in one.entries.values() if stands_for(old.key, entry.key))
    old = next(known, None)
    if old is None or old.lower is None or entry.lower is None or entry.lower >= old.lower / 2:
        return ""
    return f"its limit {show(entry.lower, entry.unit)} is less than half of the published {show(old.lower, old.unit)} ({old.source})"


def of_superbench(parse: Callable[[str, int], T], file: Path, gpus: int) -> T:
    """What a parser makes of a file of SuperBench.

    Args:
        parse: of ``hpcaccept.parse.superbench``.
        file: to read.
        gpus: per node; 0: what the file says.

    Raises:
        UsageError: it cannot be read, or is none of SuperBench's.
    """
    try:
        return parse(_text(file), gpus)
    except NotUnderstood as fault:
        raise UsageError(f"{file}: {fault}") from None


def _text(file: Path) -> str:
    try:
        return read_text(file, follow=True)
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not text.", "Expected .conf, .json, .jsonl or .csv.") from None


def _read(file: Path, gpus: int) -> Imported:
    text = _text(file)
    kinds: dict[str, Callable[[str], Imported]] = {
        ".conf": parse_aznhc_conf,
        ".json": functools.partial(parse_superbench, gpus=gpus),
        ".jsonl": functools.partial(parse_superbench, gpus=gpus),
        ".csv": parse_limits_csv,
    }
    parse = kinds.get(file.suffix)
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
    kind = checks.load(MetricKey.parse(key).check)
    center, spread, lower, source = _follows(key, measured, name)
    count = len(measured.values)
    return BaselineEntry(
        key,
        kind.revision,
        measured.unit,
        "higher",
        center if measured.alike else None,
        spread if measured.alike and count > 1 else None,
        lower,
        None,
        count,
        source,
        gpus=measured.gpus,
        values=count,
    )


def limit_of(key: str, measured: Measured, name: str) -> Limit:
    """The failing limit that follows from imported values.

    Args:
        key: of the metric.
        measured: the values.
        name: of their file.
    """
    _, _, lower, source = _follows(key, measured, name)
    return Limit(max(lower, 0.0), None, measured.unit, "baseline", source)


def _follows(key: str, measured: Measured, name: str) -> tuple[float, float, float, str]:
    """Centre, spread and lower limit of imported values, and a sentence that says how they came to be."""
    parts = MetricKey.parse(key)
    declared = checks.load(parts.check).metric(parts.metric)
    floor = max((declared.peer_floor if declared else None) or BAND, BAND if measured.alike else BAND_OTHERWISE)
    center = median(measured.values)
    spread = MAD_TO_SIGMA * median(abs(value - center) for value in measured.values)
    loss = max(floor * center, SIGMAS * spread)
    source = (
        f"{name}: {measured.text}, median of {len(measured.values)}, loss > max({floor:.3g}, {SIGMAS:g} robust sigma)"
    )
    return center, spread, center - loss, source


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
