"""The metrics of each model that the shipped baselines judge: the page docs/reference/baseline-coverage.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.baseline import stands_for
from hpcaccept.model.metric_key import MetricKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.model.baseline import Baseline

#: Title of a table, what divides SI to its unit, and its columns: heading → metric keys. ``/*`` stands for sizes, which are told.
_TABLES: tuple[tuple[str, float, tuple[tuple[str, str], ...]], ...] = (
    (
        "Products, TFLOP/s",
        1e12,
        tuple((form, f"matmul.rate_flops[{form}]") for form in ("fp8", "bf16", "fp16", "tf32", "fp32", "fp64")),
    ),
    (
        "Device memory, GB/s",
        1e9,
        tuple((kernel, f"memory_bandwidth.rate_bytes[{kernel}]") for kernel in ("copy", "scale", "add", "triad")),
    ),
    (
        "Copies, GB/s",
        1e9,
        (
            ("host to device", "transfers.rate_bytes[h2d]"),
            ("device to host", "transfers.rate_bytes[d2h]"),
            ("peer, one way", "peer_to_peer.bandwidth_bytes[*→*]"),
            ("peer, both ways", "peer_to_peer.bandwidth_bytes[*↔*]"),
        ),
    ),
    (
        "Collectives of all GPUs of a node, GB/s",
        1e9,
        tuple(
            (name.replace("_", "-"), f"nccl_tests.busbw_bytes[{name}/*]")
            for name in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "alltoall")
        ),
    ),
)
_HEAD = """# What is shipped, by model and metric

Written by `hpcaccept baseline coverage`; a test holds it against the files. A number is the limit below which a board fails (for collectives with the size of the
message); *floor*: nothing that is published was measured as ours is, and the coarse floor stands under it, a share of the peak; –: not even the peak is published.
Sources, dates and methods are in `baselines/sources/`; what they must be like is in [Baselines](../how-to/baselines.md#what-is-shipped).
Throughput of ResNet-50 has no limit for any model: every published recipe is another one than that of the check `resnet`."""


def coverage_page(baselines: Sequence[Baseline]) -> str:
    """The page.

    Args:
        baselines: shipped ones, in the order in which they are to stand.
    """
    return (
        "\n".join([_HEAD, *_summary(baselines), *(line for table in _TABLES for line in _table(table, baselines))])
        + "\n"
    )


def _summary(baselines: Sequence[Baseline]) -> Iterable[str]:
    cells = [_cell(one, key, 1.0) for one in baselines for _, _, columns in _TABLES for _, key in columns]
    limited = sum(any(_limits(one, key) for _, _, columns in _TABLES for _, key in columns) for one in baselines)
    floors, blanks = cells.count("floor"), cells.count("–")
    yield ""
    yield (
        f"{len(baselines)} models, {limited} of them with limits. Of {len(cells)} cells {len(cells) - floors - blanks} have a limit, "
        f"{floors} the floor, {blanks} nothing."
    )


def _table(table: tuple[str, float, tuple[tuple[str, str], ...]], baselines: Sequence[Baseline]) -> Iterable[str]:
    title, unit, columns = table
    yield from ("", f"## {title}", "")
    yield f"| model | power limit | {' | '.join(heading for heading, _ in columns)} |"
    yield "|---" * (2 + len(columns)) + "|"
    for one in baselines:
        power = one.provenance.facts.get("gpu_power_limit_w")
        cells = (_cell(one, key, unit) for _, key in columns)
        yield f"| {one.model} | {f'{power} W' if power else 'any'} | {' | '.join(cells)} |"


def _cell(baseline: Baseline, key: str, unit: float) -> str:
    found = _limits(baseline, key)
    if found:
        return ", ".join(_number(lower / unit) + (f" ({size})" if size else "") for lower, size in found)
    return "floor" if any(stands_for(peak.key, key) for peak in baseline.peaks) else "–"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _limits(baseline: Baseline, key: str) -> list[tuple[float, str]]:
    """Limits of a metric with the sizes that they are of; of a metric without sizes one, and no size."""
    sized = key.endswith("/*]")
    found = [
        (entry.lower, MetricKey.parse(name).variant.partition("/")[2] if sized else "")
        for name, entry in baseline.entries.items()
        if entry.lower is not None and (stands_for(key, name) if sized else name == key)
    ]
    return sorted(found)
