"""What did SuperBench measure? Its baseline (JSON) or results of many nodes (JSON lines) in, figures by metric of ours out.

Read in microsoft/superbench-results (v0.2.1 to v0.4.0) and in tests/analyzer of microsoft/superbenchmark. Both forms are flat:
``<benchmark>[:<annotation>]/<metric>[:<rank>]`` → number; a line of results also has ``node``. Units are nowhere in the files;
they are those of the documentation (https://microsoft.github.io/superbenchmark/docs/user-tutorial/benchmarks/micro-benchmarks):
GFLOPS for gemm-flops, GB/s (10^9) for mem-bw and nccl-bw.

Traps:
    * A benchmark that failed has ``return_code`` other than 0, and numbers all the same: those are not taken.
    * gemm-flops multiplies with CUTLASS in shapes of its own: a limit for ours, no centre. ``fp64_flops`` is without tensor
      cores, which cuBLAS uses.
    * ``nccl-bw`` between nodes has the same metric names; only what is annotated ``nvlink`` or ``default``, or not at all, is taken.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.imported_limits import Imported, Measured
from hpcaccept.units import show_bytes

_NAME = re.compile(r"^(?P<bench>[^/:]+)(?::(?P<note>[^/]+))?/(?P<metric>.+?)(?::(?P<rank>\d+))?$")
_GEMM = re.compile(r"^(?P<form>\w+?)(?P<tensor>_tc)?_(?:flops|iops)$")
_BUS = re.compile(r"^(?P<op>[a-z]+)_(?P<size>\d+)_busbw$")
_FORMS = {("fp64", True), ("tf32", True), ("fp16", True), ("bf16", True), ("fp32", False)}
_OPS = {
    "allreduce": "all_reduce", "allgather": "all_gather", "reducescatter": "reduce_scatter", "alltoall": "alltoall",
    "broadcast": "broadcast", "reduce": "reduce",
}  # fmt: skip
_COPIES = {
    "h2d_bw": ("transfers.rate_bytes[h2d]", "nvbandwidth.rate_bytes[host_to_device_memcpy_ce/*]"),
    "d2h_bw": ("transfers.rate_bytes[d2h]", "nvbandwidth.rate_bytes[device_to_host_memcpy_ce/*]"),
}
_WITHIN_NODE = (None, "default", "nvlink")
#: Below it our check of nccl-tests keeps times, not bandwidths.
_LARGE_BYTES = 4 << 20


def parse_superbench(text: str) -> Imported:
    """Figures of a baseline or of results.

    Raises:
        NotUnderstood: neither one JSON table of numbers nor lines of such tables.
    """
    tables = _tables(text)
    failed = {
        (place, match["bench"], match["rank"])
        for place, table in enumerate(tables)
        for name, value in table.items()
        if (match := _NAME.match(name)) and match["metric"] == "return_code" and value not in (0, 0.0)
    }
    unmapped: list[tuple[str, str]] = []
    numbers: dict[str, list[float]] = {}
    for place, table in enumerate(tables):
        for name, value in table.items():
            match = _NAME.match(name)
            if name == "node" or (match and match["metric"] == "return_code"):
                continue
            what = _without_rank(name)
            if match is None:
                unmapped.append((name, "not of the form benchmark/metric"))
            elif (place, match["bench"], match["rank"]) in failed or (place, match["bench"], None) in failed:
                unmapped.append((f"{table.get('node', 'baseline')} {name}", "its benchmark failed (return_code)"))
            elif not _is_number(value):
                unmapped.append((f"{table.get('node', 'baseline')} {name}", f"{value!r} is no rate"))
            else:
                numbers.setdefault(what, []).append(float(value))
    measured = []
    for what, values in numbers.items():
        found, why = _metric(what, values)
        if found:
            measured.append(found)
        else:
            unmapped.append((what, why))
    return Imported(unmapped=tuple(dict.fromkeys(unmapped)), measured=tuple(measured))


def _tables(text: str) -> list[dict[str, Any]]:
    try:
        tables = [json.loads(text)]
    except ValueError:
        try:
            tables = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as fault:
            raise NotUnderstood(f"This is neither JSON nor JSON lines: {fault}.") from None
    if not tables or not all(isinstance(table, dict) and table for table in tables):
        raise NotUnderstood("Expected tables of 'benchmark/metric' and numbers, as SuperBench writes them.")
    if not any(_NAME.match(name) for table in tables for name in table):
        raise NotUnderstood("No name has the form 'benchmark/metric', so it is no file of SuperBench.")
    return tables


def _without_rank(name: str) -> str:
    match = _NAME.match(name)
    return name[: match.start("rank") - 1] if match and match["rank"] is not None else name


def _is_number(value: object) -> bool:
    """An absent value, or 0, is none: it must not lower a limit."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _metric(name: str, values: list[float]) -> tuple[Measured | None, str]:
    """A figure of ours, or why it is none."""
    match = _NAME.match(name)
    if match is None:  # pragma: no cover (looked at before)
        return None, "not of the form benchmark/metric"
    bench, metric = match["bench"], match["metric"]
    if bench == "gemm-flops" and (form := _GEMM.match(metric)):
        if (form["form"], bool(form["tensor"])) not in _FORMS:
            return None, "no number format that matmul measures in this way"
        keys: tuple[str, ...] = (f"matmul.rate_flops[{form['form']}]",)
        return Measured(keys, tuple(v * 1e9 for v in values), "FLOP/s", False, f"{name} in GFLOPS"), ""
    if bench == "mem-bw" and metric in _COPIES:
        return Measured(_COPIES[metric], tuple(v * 1e9 for v in values), "B/s", True, f"{name} in GB/s"), ""
    if bench == "nccl-bw" and (bus := _BUS.match(metric)) and bus["op"] in _OPS:
        if match["note"] not in _WITHIN_NODE:
            return None, "not within one node"
        if int(bus["size"]) < _LARGE_BYTES:
            return None, "below 4 MiB times are kept, not bandwidths"
        keys = (f"nccl_tests.busbw_bytes[{_OPS[bus['op']]}/{show_bytes(int(bus['size']))}]",)
        return Measured(keys, tuple(v * 1e9 for v in values), "B/s", True, f"{name} in GB/s"), ""
    return None, "no metric of ours is measured in this way"
