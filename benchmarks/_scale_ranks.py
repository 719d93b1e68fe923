"""``srun`` of the benchmark ``scale``: no rank is started, and each leaves the journal that it would have left.

The lines are those of a real run of the suite ``standard`` (``standard_ranks.jsonl.gz``: its first rank, the first rank of another node, and
another rank of a node), with the name, device and numbers of each rank, and with the formats of a GPU in the place of a processor's.
"""

from __future__ import annotations

import copy
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hpcaccept.measure.kernels.gemm import FORMATS
from hpcaccept.model.record import OF_THE_HOUR

_RANKS = Path(__file__).with_name("standard_ranks.jsonl.gz")
#: Of which there is no baseline: the numbers are those of a processor, and nodes are held against their peers.
_MODEL = "benchmark GPU"
_BLOCKS, _ROUNDS = 5, 15
#: What is wrong, by the number of the node; the last one never reports.
SLOW, WRONG, SLOW_MEMORY, FAILED, TORN = 3, 11, 17, 23, 29
KINDS = ("slow", "wrong", "slow memory", "failed", "torn")


def bad_nodes(nodes: list[str]) -> dict[str, str]:
    """Node → what is wrong with it: five in each thousand, and the last one, which never reports."""
    found = {
        nodes[at]: kind for base in range(0, len(nodes) - 1, 1024) for kind, at in _at(base) if at < len(nodes) - 1
    }
    return {**found, nodes[-1]: "lost"}


def _at(base: int) -> list[tuple[str, int]]:
    return list(zip(KINDS, (base + offset for offset in (SLOW, WRONG, SLOW_MEMORY, FAILED, TORN)), strict=True))


class Role:
    """The lines of one kind of rank, of the checks that are asked for, with a place for each number."""

    def __init__(
        self, lines: list[dict[str, Any]], typical: dict[tuple[str, str, str], float], asked: set[str]
    ) -> None:
        found = [_Line(_on_gpu(line), typical) for line in lines]
        self.lines = [line for line in found if not line.check or line.check in asked]
        self.text = "".join(f"{line.text}\n" for line in self.lines)
        self.values = np.array([value for line in self.lines for value in line.values])
        self.noise = 0.002 * np.array([noisy for line in self.lines for noisy in line.noisy])

    def numbers(self, dice: np.random.Generator) -> list[float]:
        """Those of one healthy rank."""
        found: list[float] = (self.values * (1 + self.noise * dice.standard_normal(len(self.values)))).tolist()
        return found


class _Line:
    def __init__(self, line: dict[str, Any], typical: dict[tuple[str, str, str], float]) -> None:
        self.kind, data = line["kind"], line["data"]
        self.check = data.get("check", "")
        samples = data.pop("samples", [])
        keys = [(self.check, sample["metric"], sample.get("variant", "")) for sample in samples]
        self.values = [typical.setdefault(key, sample["value"]) for key, sample in zip(keys, samples, strict=True)]
        self.metrics = [sample["metric"] for sample in samples]
        # Numbers that are whole are counts, or nothing: they are alike on all ranks.
        self.noisy = [value != int(value) for value in self.values]
        if samples:
            data["samples"] = [{**sample, "value": "@value"} for sample in samples]
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
        self.text = text.replace('"@value"', "%r")


def _on_gpu(line: dict[str, Any]) -> dict[str, Any]:
    """A line as a rank with a GPU would have written it, with marks where the ranks differ."""
    line = copy.deepcopy(line)
    data = line["data"]
    for name, mark in (
        ("rank", "@rank"),
        ("node", "@node"),
        ("size", "@size"),
        ("boot_id", "@boot"),
        ("step", "@step"),
    ):
        if name in data:
            data[name] = mark
    if line["kind"] == "rank_started":
        data.update(ranks_on_host=8, in_turn=False, threads=12, cores=96.0, host_cores=96.0)
    if line["kind"] == "record":
        data.update(device="@device", device_id="@uuid", device_model=_MODEL)
        # A node of its own has no company.
        data["facts"] = {name: text for name, text in data.get("facts", {}).items() if name not in OF_THE_HOUR}
        if data["check"] == "identity" and data.get("samples"):  # the first rank of a node speaks for it
            data["samples"].append({"metric": "gpu_count", "value": 8.0})
        if data["check"] == "pairs":
            data["samples"] = _exchanges()
        if data["check"] == "matmul":
            data["samples"] = _products()
        if data["check"] == "health":
            data = line["data"] = {
                name: value for name, value in data.items() if name not in ("cause", "code", "remedy")
            }
            data.update(outcome="measured", samples=_healthy())
    return line


def _products() -> list[dict[str, Any]]:
    """The samples of ``matmul`` in every format of a GPU."""
    found: list[dict[str, Any]] = []
    for name, form in FORMATS.items():
        if "cuda" not in form.sizes:
            continue
        found += [{"metric": "rate_flops", "value": 6.1234e14, "variant": name, "repeat": i} for i in range(_BLOCKS)]
        found += [{"metric": "wrong_elements", "value": 0.0, "variant": name}]
        found += [{"metric": "spread", "value": 0.00345, "variant": name}]
    return found


def _exchanges() -> list[dict[str, Any]]:
    """The samples of ``pairs``: a partner in each round."""
    found: list[dict[str, Any]] = [{"metric": "node_bytes", "value": 4.61234e10}]
    for number in range(_ROUNDS):
        found += [{"metric": "wrong_words", "value": 0.0, "variant": f"@partner{number:02d}"}]
        found += [{"metric": "exchange_bytes", "value": 4.61234e10, "variant": f"@partner{number:02d}"}]
    return found


def _healthy() -> list[dict[str, Any]]:
    from hpcaccept.checks.health import Health

    return [{"metric": m.name, "value": float(m.least if m.least > 0 else 0.0)} for m in Health.metrics]


def main(folder: Path, step_id: str) -> int:
    """Write the journals of a step."""
    step = json.loads((folder / "steps" / f"{step_id}.json").read_text())
    nodes, each = step["nodes"], step["ranks_per_node"]
    everyone = json.loads((folder / "steps" / "00.json").read_text())["nodes"]
    bad = bad_nodes(everyone)
    asked = {spec["name"] for spec in step["checks"]}
    lost = next((number for number, node in enumerate(nodes) if bad.get(node) == "lost"), None)
    typical: dict[tuple[str, str, str], float] = {}
    roles = {name: Role(lines, typical, asked) for name, lines in _by_role().items()}
    place = folder / "records" / step_id
    for number, node in enumerate(nodes):
        for local in range(each if number != lost else 0):
            rank = number * each + local
            role = roles["world" if rank == 0 else "node" if local == 0 else "rank"]
            text = _journal(role, bad.get(node, ""), local, np.random.default_rng([_number(node), local, int(step_id)]))
            if lost is not None:
                text = _cut_short(text)
            marks = {
                "@rank": str(rank), "@node": node, "@size": str(len(nodes) * each), "@step": step_id, "@device": f"cuda:{local}",
                "@boot": f"{_number(node):08x}-0000-4000-8000-000000000001",
                "@uuid": f"GPU-{_number(node):08x}-{local:04x}-4bcd-9e2f-0123456789ab",
            }  # fmt: skip
            text = text.replace('"@rank"', marks["@rank"]).replace('"@size"', marks["@size"])
            for turn in range(_ROUNDS):
                # The circle method: who meets in a round adds up to its number.
                text = text.replace(f"@partner{turn:02d}", nodes[(2 * turn + 1 - number) % len(nodes)])
            for mark in ("@node", "@step", "@device", "@boot", "@uuid"):
                text = text.replace(mark, marks[mark])
            (place / f"r{rank:06d}.jsonl").write_text(text)
    if lost is not None:
        sys.stderr.write(f"srun: error: {nodes[lost]}: task {lost * each}: Killed\n")
    return 1 if lost is not None else 0


def _number(node: str) -> int:
    return int("".join(letter for letter in node if letter.isdigit()) or 0)


def _by_role() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(_RANKS, "rt", encoding="utf-8") as file:
        for text in file:
            role, line = json.loads(text)
            found.setdefault(role, []).append(line)
    return found


def _journal(role: Role, fault: str, local: int, dice: np.random.Generator) -> str:
    numbers = role.numbers(dice)
    if not fault:
        return role.text % tuple(numbers)
    lines, at = [], 0
    for line in role.lines:
        values = numbers[at : at + len(line.values)]
        at += len(values)
        text = line.text % tuple(_harmed(fault, line, local, values))
        if fault == "failed" and line.kind == "record" and line.check == "transfers" and local == 2:
            text = _failed(text)
        if fault == "torn" and line.kind == "record" and line.check == "train" and local == 5:
            text = text[:200]
        lines.append(text)
    return "\n".join(lines) + "\n"


def _harmed(fault: str, line: _Line, local: int, values: list[float]) -> list[float]:
    rate = [metric.startswith("rate_") for metric in line.metrics]
    if fault == "slow" and line.check == "matmul":
        return [value * 0.85 if is_rate else value for value, is_rate in zip(values, rate, strict=True)]
    if fault == "slow memory" and line.check == "memory_bandwidth" and local == 4:
        return [value * 0.75 if is_rate else value for value, is_rate in zip(values, rate, strict=True)]
    if fault == "wrong" and line.check == "matmul" and local == 6:
        return [
            3.0 if metric == "wrong_elements" else value for metric, value in zip(line.metrics, values, strict=True)
        ]
    return values


def _failed(text: str) -> str:
    data = json.loads(text)["data"]
    data.pop("samples")
    data.update(outcome="error", cause="CUDA error: an illegal memory access was encountered")
    return json.dumps({"kind": "record", "data": data}, separators=(",", ":"))


def _cut_short(text: str) -> str:
    """What is left of a step in which MPI waited for somebody in vain."""
    stopped = {"kind": "rank_stopped", "data": {"cause": "deadline: MPI did not start within 300 s", "by_peer": True}}
    return text.partition("\n")[0] + "\n" + json.dumps(stopped) + "\n"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[-2]), sys.argv[-1]))
