"""What SuperBench measured: its baseline (JSON) or results of many nodes (JSON lines) in, figures by metric of ours out.

Read in microsoft/superbench-results (v0.2.1 to v0.4.0), and in docs/ and tests/analyzer of microsoft/superbenchmark (700d650, April 2026). Both
forms are flat: ``<benchmark>[:<annotation>]/<metric>[:<rank>]`` → number; a line of results also has ``node``. Units are nowhere in the files;
they are those of the documentation (https://microsoft.github.io/superbenchmark/docs/user-tutorial/benchmarks/micro-benchmarks):
GFLOPS for gemm-flops, GB/s (10^9) for mem-bw, nvbandwidth and nccl-bw.

Traps:
    * Names changed with v0.4: ``FP64_TC``, ``H2D_Mem_BW`` became ``fp64_tc_flops``, ``h2d_bw``.
    * A benchmark that failed has ``return_code`` other than 0, and numbers all the same: those are not taken.
    * gemm-flops multiplies with CUTLASS in shapes of its own: a limit for ours, no centre. Formats without tensor cores have none of
      ours beside them but fp32; what AMD calls fp32_xdlops is no float32 of ours.
    * ``nccl-bw`` between nodes has the same metric names; only what is annotated ``nvlink`` or ``default``, or not at all, is taken. How many
      GPUs took part is in no name: it is the number of ranks that the node's other benchmarks have, or it is not known.
    * ``…_sum_bw`` of nvbandwidth is a sum over GPUs.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.imported_limits import Imported, Measured
from hpcaccept.units import show_bytes

_NAME = re.compile(r"^(?P<bench>[^/:]+(?:/[^/:]+(?=/))?)(?::(?P<note>[^/]+))?/(?P<metric>[^/]+?)(?::(?P<rank>\d+))?$")
_GEMM = re.compile(r"^(?P<form>[a-z]+\d+)(?:_(?P<units>tc|xdlops))?(?:_(?:flops|iops))?$", re.IGNORECASE)
_BUS = re.compile(r"^(?P<op>[a-z]+)_(?P<size>\d+)_busbw$")
_BUS_BESIDE = re.compile(r"^[a-z]+_\d+_(?:algbw|time)$")
_NVBANDWIDTH = re.compile(r"^(?P<test>\w+_memcpy_(?:read_|write_)?ce)_(?P<ends>[cg]pu\d+_[cg]pu\d+)_bw$")
_FORMS = {
    ("fp64", "tc"), ("tf32", "tc"), ("fp16", "tc"), ("bf16", "tc"), ("fp32", ""), ("fp16", "xdlops"), ("bf16", "xdlops"),
}  # fmt: skip
_OPS = {
    "allreduce": "all_reduce", "allgather": "all_gather", "reducescatter": "reduce_scatter", "alltoall": "alltoall",
    "broadcast": "broadcast", "reduce": "reduce",
}  # fmt: skip
_H2D = ("transfers.rate_bytes[h2d]", "nvbandwidth.rate_bytes[host_to_device_memcpy_ce/*]")
_D2H = ("transfers.rate_bytes[d2h]", "nvbandwidth.rate_bytes[device_to_host_memcpy_ce/*]")
_COPIES = {"h2d_bw": _H2D, "d2h_bw": _D2H, "h2d_mem_bw": _H2D, "d2h_mem_bw": _D2H}
#: Tests of nvbandwidth whose cells our check of it keeps.
_TESTS = {
    "host_to_device_memcpy_ce", "device_to_host_memcpy_ce", "device_to_device_memcpy_read_ce",
    "device_to_device_memcpy_write_ce",
}  # fmt: skip
#: Others, between nodes, have a rank for each of all their processes.
_PER_GPU = ("gemm-flops", "mem-bw", "kernel-launch", "gpu-stream", "gpu-burn")
_WITHIN_NODE = (None, "default", "nvlink")
#: Below it our check of nccl-tests keeps times, not bandwidths.
_LARGE_BYTES = 4 << 20
#: Beginning of a benchmark's name → why none of its metrics is one of ours.
_ELSEWHERE = (
    ("disk-benchmark", "of a node's disks, not of a GPU model; check storage has its own"),
    ("ib-", "of the network cards, not of a GPU model; check ib_write_bw has its own"),
    ("gpcnet", "of the network, not of a GPU model"),
    ("tcp-", "of the network, not of a GPU model"),
    ("cpu-", "of the processors, not of a GPU model"),
    ("monitor", "what a monitor saw, no rate"),
    ("cublas-", "the time of single library calls; no check of ours measures them"),
    ("cudnn-", "the time of single library calls; no check of ours measures them"),
    ("kernel-launch", "the time of a kernel launch; no check of ours measures it"),
)
_MODELS = re.compile(r"_models$|_models/|^(?:pytorch|model-benchmarks|megatron|tensorrt|ort)")


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        keys: metric keys that it is of, as ``Measured`` has them.
        value: in ``unit``.
        unit: SI unit.
        alike: as ``Measured`` has it.
        rank: of the device that it is of; None where it is of the node, or where the file does not say.
        gpus: that took part together; 0: one at a time, or not said.
        name: it had, without the rank, with its unit.
        cell: of a matrix of nvbandwidth, in our words (``cpu→gpu3``); empty elsewhere.
    """

    keys: tuple[str, ...]
    value: float
    unit: str
    alike: bool
    rank: int | None
    gpus: int
    name: str
    cell: str = ""


@dataclass(frozen=True)
class NodeResults:
    """What one node did, or what a baseline says of all.

    Attributes:
        node: its name; empty for a baseline.
        gpus: that its benchmarks ran on, 0 where that is not said.
        figures: those of ours.
        failed: benchmark → return codes of its ranks that failed.
        benchmarks: that it has results of, those that failed included.
        left: name → why it is none of ours.
    """

    node: str
    gpus: int
    figures: tuple[Figure, ...]
    failed: dict[str, tuple[str, ...]]
    benchmarks: frozenset[str]
    left: dict[str, str]


def parse_results(text: str, gpus: int = 0) -> tuple[NodeResults, ...]:
    """Results by node, in the order of the file.

    Args:
        text: of the file.
        gpus: per node, where somebody knows; 0: what the file says.

    Raises:
        NotUnderstood: neither one JSON table of numbers nor lines of such tables.
    """
    return tuple(_node(table, gpus) for table in _tables(text))


def parse_superbench(text: str, gpus: int = 0) -> Imported:
    """Figures of a baseline or of results, of all nodes together, and what is none of ours, with the reason.

    Args:
        text: of the file.
        gpus: per node, where somebody knows; 0: what the file says.

    Raises:
        NotUnderstood: neither one JSON table of numbers nor lines of such tables.
    """
    nodes = parse_results(text, gpus)
    pooled: dict[tuple[str, int], list[Figure]] = {}
    for figure in (figure for node in nodes for figure in node.figures):
        pooled.setdefault((figure.name, figure.gpus), []).append(figure)
    measured = tuple(
        Measured(figures[0].keys, tuple(f.value for f in figures), figures[0].unit, figures[0].alike, name, of)
        for (name, of), figures in pooled.items()
    )
    return Imported(unmapped=tuple(dict.fromkeys(_left(nodes))), measured=measured)


def _left(nodes: tuple[NodeResults, ...]) -> list[tuple[str, str]]:
    every = frozenset().union(*(node.benchmarks for node in nodes))
    found = []
    for node in nodes:
        found += [
            (f"{node.node or 'baseline'} {bench}", f"it failed there ({', '.join(codes)})")
            for bench, codes in node.failed.items()
        ]
        found += [
            (f"{node.node} {bench}", "the node has no result of it, others have")
            for bench in sorted(every - node.benchmarks)
        ]
        found += node.left.items()
    return found


def _node(table: dict[str, Any], gpus: int) -> NodeResults:
    names = {name: match for name in table if (match := _NAME.match(name))}
    failed: dict[str, tuple[str, ...]] = {}
    for name, match in names.items():
        if match["metric"] == "return_code" and table[name] not in (0, 0.0):
            where = f"rank {match['rank']}: " if match["rank"] else ""
            failed[_bench(match)] = (*failed.get(_bench(match), ()), f"{where}return code {str(table[name])[:20]}")
    of = gpus or _gpus(names)
    figures: list[Figure] = []
    left: dict[str, str] = {}
    for name, match in names.items():
        if match["metric"] == "return_code" or _has_failed(table, match):
            continue
        found, why = _figure(match, table[name], of)
        figures += [found] if found else []
        if why:
            left[_shown(match)] = why
    left |= {name: "not of the form benchmark/metric" for name in table if name != "node" and name not in names}
    benchmarks = frozenset(_bench(match) for match in names.values())
    return NodeResults(str(table.get("node", "")), of, tuple(figures), failed, benchmarks, left)


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
        raise NotUnderstood("No name has the form 'benchmark/metric', so it is not a file of SuperBench.")
    return tables


def _bench(match: re.Match[str]) -> str:
    return match["bench"] + (f":{match['note']}" if match["note"] else "")


def _shown(match: re.Match[str]) -> str:
    return f"{_bench(match)}/{match['metric']}"


def _has_failed(table: dict[str, Any], match: re.Match[str]) -> bool:
    """True when its benchmark failed, on its rank or altogether."""
    code = f"{_bench(match)}/return_code"
    ranks = {code, f"{code}:{match['rank']}"}
    return any(name in table and table[name] not in (0, 0.0) for name in ranks)


def _gpus(names: dict[str, re.Match[str]]) -> int:
    """How many ranks those benchmarks have that run once on each GPU of a node. A single rank says nothing."""
    ranks: dict[str, set[str]] = {}
    for match in names.values():
        if match["rank"] is not None and match["bench"] in _PER_GPU:
            ranks.setdefault(match["bench"], set()).add(match["rank"])
    most = max((len(found) for found in ranks.values()), default=0)
    return most if most > 1 else 0


def _is_number(value: object) -> bool:
    """An absent value, or 0, is none: it must not lower a limit."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _figure(match: re.Match[str], value: Any, gpus: int) -> tuple[Figure | None, str]:
    """A figure of ours, or why it is none."""
    keys, scale, unit, alike, why = _metric(match)
    if not keys:
        return None, why
    if not _is_number(value):
        return None, f"{str(value)[:20]} is not a rate"
    together = match["bench"] in ("nccl-bw", "rccl-bw")
    if together and not gpus:
        return None, "the file does not say how many GPUs took part: say it with --gpus N"
    rank = int(match["rank"]) if match["rank"] is not None and not together else None
    shown = "GFLOPS" if unit == "FLOP/s" else "GB/s"
    name = f"{_bench(match)}/{_pooled(match)} in {shown}"
    return Figure(keys, float(value) * scale, unit, alike, rank, gpus if together else 0, name, _cell_of(match)), ""


def _cell_of(match: re.Match[str]) -> str:
    cell = _NVBANDWIDTH.match(match["metric"]) if match["bench"] == "nvbandwidth" else None
    if cell is None:
        return ""
    ends = [re.sub(r"^cpu\d+$", "cpu", end) for end in cell["ends"].split("_")]
    # Its rows stand before its columns: the GPU that a copy to the host leaves is the second.
    whence, where = reversed(ends) if cell["test"].startswith("device_to_host") else ends
    return f"{whence}→{where}"


def _pooled(match: re.Match[str]) -> str:
    """Its metric; cells of a matrix of nvbandwidth are one."""
    cell = _NVBANDWIDTH.match(match["metric"])
    return f"{cell['test']}_bw" if cell and match["bench"] == "nvbandwidth" else str(match["metric"])


def _metric(match: re.Match[str]) -> tuple[tuple[str, ...], float, str, bool, str]:
    """Keys, factor to SI, unit, whether it is measured as ours is; or no keys and why."""
    bench, metric = match["bench"], match["metric"]
    if bench == "gemm-flops":
        return _product(metric)
    if bench == "mem-bw":
        keys = _COPIES.get(metric.lower(), ())
        return (
            keys,
            1e9,
            "B/s",
            True,
            "" if keys else "a copy within one GPU, which counts its bytes in another way than ours",
        )
    if bench == "nvbandwidth":
        return _cell(metric)
    if bench in ("nccl-bw", "rccl-bw"):
        return _bus(match)
    return (), 0.0, "", False, _elsewhere(bench)


def _product(metric: str) -> tuple[tuple[str, ...], float, str, bool, str]:
    form = _GEMM.match(metric)
    if form is None:
        return (), 0.0, "", False, "no number format that is known"
    name, units = form["form"].lower(), (form["units"] or "").lower()
    if (name, units) in _FORMS:
        return (f"matmul.rate_flops[{name}]",), 1e9, "FLOP/s", False, ""
    if name.startswith("int"):
        return (), 0.0, "", False, "whole numbers, which matmul does not measure"
    if units == "xdlops":
        return (), 0.0, "", False, "matrix units of AMD in a format that matmul does not measure"
    return (), 0.0, "", False, "without tensor cores, with which matmul measures this format"


def _cell(metric: str) -> tuple[tuple[str, ...], float, str, bool, str]:
    cell = _NVBANDWIDTH.match(metric)
    if cell and cell["test"] in _TESTS:
        keys: tuple[str, ...] = (f"nvbandwidth.rate_bytes[{cell['test']}/*]",)
        return keys, 1e9, "B/s", True, ""
    if metric.endswith("_sum_bw"):
        return (), 0.0, "", False, "a sum over GPUs; its single cells are taken"
    return (), 0.0, "", False, "a test whose cells check nvbandwidth does not keep"


def _bus(match: re.Match[str]) -> tuple[tuple[str, ...], float, str, bool, str]:
    bus = _BUS.match(match["metric"])
    why = ""
    if match["note"] not in _WITHIN_NODE:
        why = "not within one node"
    elif _BUS_BESIDE.match(match["metric"]):
        why = "the bus bandwidth of the same size stands for it"
    elif bus is None or bus["op"] not in _OPS:
        why = "no operation that check nccl_tests measures"
    elif int(bus["size"]) < _LARGE_BYTES:
        why = "below 4 MiB times are kept, not bandwidths"
    if why or bus is None:
        return (), 0.0, "", False, why
    return (f"nccl_tests.busbw_bytes[{_OPS[bus['op']]}/{show_bytes(int(bus['size']))}]",), 1e9, "B/s", True, ""


def _elsewhere(bench: str) -> str:
    if why := next((why for name, why in _ELSEWHERE if bench.startswith(name)), ""):
        return why
    if _MODELS.search(bench):
        return "a model by SuperBench's own recipe; checks train and resnet have theirs"
    return "no check of ours measures this"
