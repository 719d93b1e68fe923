"""How GPUs and network cards are connected, as ``nvidia-smi topo -m`` prints it. Text in, a matrix out.

Words, from near to far: ``NV#`` (so many NVLinks), ``PIX`` (one PCIe switch at most), ``PXB`` (several), ``PHB`` (a host bridge), ``NODE``
(host bridges of one NUMA node), ``SYS`` (the link between sockets). Sources: the tool's own legend; recorded from drivers 450 to 580
(tests/data/nvidia_topo).

Traps: the header is underlined by escape sequences; cards were columns by their own names before there was a legend for ``NIC0``; of a
long line a tab may be lost, so that two words stand together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.errors import NotUnderstood

#: From near to far; NVLinks are nearer than all of them.
DISTANCES = ("PIX", "PXB", "PHB", "NODE", "SYS")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_CELL = re.compile(rf"NV\d+|{'|'.join(DISTANCES)}|X")
_NAME = re.compile(r"GPU\d+|NIC\d+|[a-z]+\d*_(?:[a-z]+_?)?\d+")
_LEGEND = re.compile(r"^\s*(NIC\d+):\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class GpuTopology:
    """The matrix.

    Attributes:
        gpus: names, in the order of the driver: ``GPU0`` …
        cards: RDMA devices by their own names, in the order of the columns.
        words: (GPU, GPU or card) → word, of different ones.
        numa: GPU → its NUMA nodes as they are printed (``0``, ``0-3``); a GPU of which nothing is said is absent.
    """

    gpus: tuple[str, ...]
    cards: tuple[str, ...]
    words: dict[tuple[str, str], str]
    numa: dict[str, str]


def distance(word: str) -> int:
    """Comparable: NVLinks before PCIe, more of them before fewer."""
    return -int(word[2:]) if word.startswith("NV") else 1 + DISTANCES.index(word)


def parse_topo(text: str) -> GpuTopology:
    """The matrix in a text.

    Raises:
        NotUnderstood: no header, a row of a GPU is missing or has other than a word for each column, or two GPUs have different
            words from each end.
    """
    lines = _ESCAPE.sub("", text).splitlines()
    header = next((line for line in lines if re.match(r"\s*GPU0\b", line) and not _cells(line)), None)
    if header is None:
        raise NotUnderstood(f"No matrix of GPUs in {text.strip()[:200]!r}.")
    columns = _NAME.findall(header.partition("CPU Affinity")[0])
    gpus = tuple(name for name in columns if name.startswith("GPU"))
    legend = dict(_LEGEND.findall(text))
    named = {column: legend.get(column, column) for column in columns}
    words: dict[tuple[str, str], str] = {}
    numa: dict[str, str] = {}
    for gpu in gpus:
        row = next(
            (line.strip()[len(gpu) :] for line in lines if re.match(rf"\s*{gpu}\s", line) and line is not header), None
        )
        found = [] if row is None else list(_CELL.finditer(row))
        if row is None or len(found) != len(columns) or found[columns.index(gpu)][0] != "X":
            raise NotUnderstood(
                f"The row of {gpu} has {len(found)} words, expected one for each of {len(columns)} columns: {(row or '')[:300]!r}."
            )
        words.update(
            {(gpu, named[column]): cell[0] for column, cell in zip(columns, found, strict=True) if column != gpu}
        )
        if affinity := re.match(r"\s*[\d,-]+\s+([\d,-]+)(?:\s|$)", row[found[-1].end() :]):
            numa[gpu] = affinity[1]
    if odd := [pair for pair in words if pair[1] in gpus and words[pair] != words[pair[1], pair[0]]]:
        raise NotUnderstood(f"{odd[0][0]} and {odd[0][1]} have different words from each end.")
    return GpuTopology(gpus, tuple(named[column] for column in columns if column not in gpus), words, numa)


def _cells(line: str) -> bool:
    """True for a row: what stands in it are words, and not names alone."""
    return bool(re.search(rf"\s(?:NV\d+|{'|'.join(DISTANCES)}|X)(?:\s|$)", line))
