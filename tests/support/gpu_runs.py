"""Runs on GPUs that nobody has, and what ``hpcaccept baseline`` says of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hpcaccept.cli import main
from hpcaccept.serial import dumps
from hpcaccept.store.baseline_file import file_name
from support.builders import H100, baseline, nodes, record
from support.finished_runs import finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.record import Record

FACTS = {
    "gpu_power_limit_w": "700", "gpu_memory_gib": "79.6", "driver": "580.1", "torch": "2.9.0", "gpus_per_node": "1"
}  # fmt: skip
BF16 = "matmul.rate_flops[bf16]"
GOOD = (7.80e14, 7.85e14, 7.90e14, 7.95e14)


def gpu_run(
    place: Path,
    name: str,
    rates: Sequence[float] = GOOD,
    *,
    facts: Sequence[dict[str, str]] = (),
    model: str = H100,
    wrong: str = "",
    demand: str = "optional",
    more: Mapping[str, Any] | None = None,
    clocks: Sequence[float] = (),
) -> str:
    """A run of ``identity`` and ``matmul`` (bf16) on one GPU of each node, as its ranks would have left it."""
    tables = {"baseline": demand, "checks": {"identity": {}, "matmul": {}}, **(more or {})}
    names = nodes(len(rates))
    spoken: dict[str, list[Record]] = {}
    for rank, (node, rate) in enumerate(zip(names, rates, strict=True)):
        said = {**FACTS, **(facts[rank] if facts else {}), "gpu_serial": f"serial-{rank}"}
        who = {"rank": rank, "device": "cuda:0", "device_model": model, "device_id": f"GPU-{rank}"}
        about = {"gpu_count": 1, "gpu_models": 1, "cores": 8, "memory_bytes": 1e12, "gpu_memory_bytes": 8.55e10}
        numbers: dict[str, float | Sequence[float]] = {
            "rate_flops[bf16]": [rate],
            "wrong_elements[bf16]": float(node == wrong),
            "spread[bf16]": 0.01,
        }
        if clocks:
            numbers["clock_hz[bf16]"] = clocks[rank]
        spoken[node] = [
            record("identity", node, about, facts=said, **who),
            record("matmul", node, numbers, **{**who, "revision": 2}),
        ]
    return finished(place, name, tables, names, spoken).run_id


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of ``hpcaccept baseline …``."""
    code = main(["baseline", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def file_of(place: Path, model: str = H100) -> Path:
    return place / "baselines" / file_name(model)


def first_format(file: Path) -> Baseline:
    """A file as hpcaccept wrote it before there were generations."""
    whole = baseline()
    provenance, entries = dumps(whole.provenance), [dumps(one) for one in whole.entries.values()]
    checksum = hashlib.sha256("\n".join((H100, provenance, *entries)).encode()).hexdigest()
    with h5py.File(file, "w") as h5:
        h5.attrs.update({"format": "hpcaccept-baseline", "version": 1, "model": H100, "checksum": checksum})
        h5["provenance"] = provenance
        h5.create_dataset("entries", data=np.array(entries, dtype=object), dtype=h5py.string_dtype())
    return whole
