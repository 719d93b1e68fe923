"""Judges results of SuperBench: its results of many nodes in; limits, peers and their own past as of a run of ours, report and exit code out.

What it measured as we do (host copies, nvbandwidth, nccl-tests) is judged by the baselines that there are for the device model. Its matrix
products are CUTLASS' in shapes of its own: they are held against their peers, their past, the coarse floor and a baseline of SuperBench, where one is
named, and against no figure of ours. Whatever is none of ours is listed.
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept import __version__, checks
from hpcaccept.app.baseline.import_limits import limit_of, of_superbench, told
from hpcaccept.app.run.conclude import judge_run
from hpcaccept.errors import UsageError
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.model.record import Record, Sample
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.parse.superbench import parse_results, parse_superbench
from hpcaccept.report import formats
from hpcaccept.store.gather import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hpcaccept.model.metric import Limit, Metric
    from hpcaccept.parse.superbench import Figure, NodeResults
    from hpcaccept.report.judged import Judged
    from hpcaccept.store.gather import Catalogue

#: Benchmark → check of ours whose metrics its figures are.
_CHECKS = {
    "gemm-flops": "matmul", "mem-bw": "transfers", "nvbandwidth": "nvbandwidth", "nccl-bw": "nccl_tests", "rccl-bw": "nccl_tests",
}  # fmt: skip
#: Numbers are compared with those of SuperBench, and with no others.
_SETTING = "measured by SuperBench"
#: Of a method that is not ours: no baseline of ours has it.
_OTHERWISE = 0


def judge_files(
    files: Sequence[Path],
    model: str,
    gpus: int,
    baseline: Path | None,
    baselines_dir: Path,
    history: Path | None,
    form: str,
) -> Iterable[tuple[str, int]]:
    """Judge each file as one run, in their order; gives text to print, and the exit code so far.

    Args:
        files: results as JSON lines, one node a line. The time of a run is that of its file.
        model: exact name the driver gives the GPU: the files do not hold it.
        gpus: per node; 0: as many as the files have ranks.
        baseline: of SuperBench; None: none.
        baselines_dir: where the site keeps its baselines.
        history: folder that the runs enter, and that they are judged by; None: neither.
        form: of the report.

    Raises:
        UsageError: a file cannot be read, is none of SuperBench's, or holds no node or no figure of ours.
    """
    runs = [(file, of_superbench(parse_results, file, gpus)) for file in files]
    limits, left = _limits(baseline, gpus or max((node.gpus for _, nodes in runs for node in nodes), default=0))
    if left and form == formats.DEFAULT:
        yield "".join(f"{line}\n" for line in told(left)), 0
    for file, nodes in runs:
        judged = _judged(file, nodes, model, limits, baselines_dir, history)
        if history is not None:
            from hpcaccept.app.history import remember

            remember(judged, history)
        listed = told(_unused(file, nodes)) if form == formats.DEFAULT else ()
        yield "".join(f"{line}\n" for line in listed) + formats.render(form, judged), judged.judgement.exit_code


def _unused(file: Path, nodes: Sequence[NodeResults]) -> list[tuple[str, str, str]]:
    """What the file says beside figures of ours: file, what, why it is not judged."""
    found = [(file.name, what, why) for node in nodes for what, why in node.left.items()]
    found += [
        (file.name, f"{node.node} {bench}", f"it failed there ({', '.join(codes)}), and no check of ours is like it")
        for node in nodes
        for bench, codes in node.failed.items()
        if bench not in _CHECKS
    ]
    return found


def _limits(baseline: Path | None, gpus: int) -> tuple[dict[str, Limit], list[tuple[str, str, str]]]:
    """Pattern of a metric key → failing limit that follows from SuperBench's baseline, and what gives none."""
    if baseline is None:
        return {}, []
    found = of_superbench(parse_superbench, baseline, gpus)
    limits = {key: limit_of(key, measured, baseline.name) for measured in found.measured for key in measured.keys}
    return limits, [(baseline.name, what, why) for what, why in found.unmapped]


def _judged(
    file: Path,
    nodes: Sequence[NodeResults],
    model: str,
    limits: dict[str, Limit],
    baselines_dir: Path,
    history: Path | None,
) -> Judged:
    if any(not node.node for node in nodes) or len({node.node for node in nodes}) != len(nodes):
        raise UsageError(
            f"{file} has lines without a node, or two of one node.",
            "Expected SuperBench's results, one line for each node.",
        )
    records = [record for node in nodes for record in _records(node, nodes, model)]
    if not any(record.samples for record in records):
        raise UsageError(
            f"{file} holds no figure of a metric of ours.", "hpcaccept baseline import FILE --model NAME lists why."
        )
    catalogue = _catalogue(records)
    evidence = _evidence(file, nodes, records, catalogue, limits)
    return judge_run(evidence, baselines_dir, history, catalogue)


def _records(node: NodeResults, nodes: Sequence[NodeResults], model: str) -> Iterable[Record]:
    """Of one node, one for each benchmark that any node has, and for each GPU."""
    every = {bench for other in nodes for bench in other.benchmarks}
    gpus = max((other.gpus for other in nodes), default=0) or 1
    for bench in sorted(every & {*_CHECKS}):
        figures = [figure for figure in node.figures if figure.name.startswith(f"{bench}/")]
        of_node = all(
            _scope(figure) == "node"
            for other in nodes
            for figure in other.figures
            if figure.name.startswith(f"{bench}/")
        )
        for rank in range(gpus):
            there = [figure for figure in figures if (0 if of_node else figure.rank or 0) == rank]
            absent = "" if there or (of_node and rank and figures) else _absence(node, bench, rank, of_node)
            yield _record(node, bench, rank, model, there, absent)


def _record(node: NodeResults, bench: str, rank: int, model: str, figures: Sequence[Figure], absent: str) -> Record:
    check = _CHECKS[bench]
    alike = all(figure.alike for figure in figures)
    record = Record(
        check, checks.load(check).revision if alike else _OTHERWISE, "00", rank, node.node, f"cuda:{rank}", "measured",
        device_model=model, samples=tuple(_sample(figure) for figure in figures),
    )  # fmt: skip
    if not absent:
        return record
    remedy = f"Run SuperBench's {bench} there again, or test the node: hpcaccept submit --nodelist {node.node}"
    return replace(record, outcome="error", cause=absent, remedy=remedy)


def _scope(figure: Figure) -> str:
    key = MetricKey.parse(figure.keys[0])
    metric = checks.load(key.check).metric(key.metric)
    return metric.scope if metric else "device"


def _absence(node: NodeResults, bench: str, rank: int, of_node: bool) -> str:
    """Why a benchmark left no result of a GPU that counts."""
    if codes := node.failed.get(bench):
        return f"SuperBench's {bench} failed: {', '.join(codes)}"
    where = "this node" if of_node or bench not in node.benchmarks else f"GPU {rank} of this node"
    return f"the file has no result of SuperBench's {bench} of {where}, of others it has"


def _sample(figure: Figure) -> Sample:
    key = MetricKey.parse(figure.keys[0])
    return Sample(key.metric, figure.value, key.variant.replace("*", figure.cell) if figure.cell else key.variant)


def _catalogue(records: Sequence[Record]) -> Catalogue:
    """The metrics that the file has, each required of every node; the others of those checks were never asked for."""
    names: dict[str, set[str]] = {}
    for record in records:
        names.setdefault(record.check, set()).update(sample.metric for sample in record.samples)
    found: dict[str, dict[str, Metric]] = {}
    for check, metrics in names.items():
        declared = {metric.name: metric for metric in checks.load(check).metrics}
        found[check] = {name: replace(declared[name], required=True) for name in sorted(metrics)}
    return found


def _evidence(
    file: Path, nodes: Sequence[NodeResults], records: list[Record], catalogue: Catalogue, limits: dict[str, Limit]
) -> Evidence:
    written = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    at = written.isoformat(timespec="seconds")
    gpus = max((node.gpus for node in nodes), default=0) or 1
    samples = table_of(records, [], catalogue)
    subjects = tuple(replace(subject, setting=_SETTING) for subject in samples.subjects)
    known = {
        key: limit
        for key in samples.keys
        for pattern, limit in limits.items()
        if fnmatch.fnmatchcase(key, _literal(pattern))
    }
    suite = Suite(
        "superbench", "Results of SuperBench.", tuple(CheckSpec(name) for name in catalogue), limits=known,
        baseline="optional", source=str(file),
    )  # fmt: skip
    plan = Plan(
        run_id=f"{written:%Y%m%d-%H%M%S}-superbench-{file.stem}", created_at=at, version=__version__, commit="", launcher="superbench",
        request=Request(nodes=len(nodes), gpus_per_node=gpus, ranks_per_node=gpus), suite=suite, image=Image(),
        start_deadline_s=0.0,
    )  # fmt: skip
    names = tuple(node.node for node in nodes)
    events = (Event("started", at, nodes=names), Event("ended", at))
    kept = tuple(replace(record, samples=()) for record in records)
    return Evidence(plan, names, (), (), kept, replace(samples, subjects=subjects), events)


def _literal(pattern: str) -> str:
    """A metric key in which ``*`` alone stands for any text: its brackets are its own."""
    return pattern.replace("[", "[[]")
