"""Everything about one node of a run: its verdict, its findings, each of its values beside what it was compared with, what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.verdict import Subject
from hpcaccept.report.phrases import place_name
from hpcaccept.report.printable import safe
from hpcaccept.report.provenance import fact_of
from hpcaccept.report.views.deviations import deviation_table
from hpcaccept.report.views.first_page import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.report.judged import Judged

#: Facts of ``identity`` that say which machine and which part it is, in this order.
_NODE_FACTS = ("hostname", "os", "kernel", "driver", "cuda", "nccl", "torch", "mpi", "python", "gpus")
_DEVICE_FACTS = ("gpu_serial", "gpu_uuid", "gpu_vbios")


def node_page(judged: Judged, node: str) -> RenderableType:
    """The page.

    Raises:
        UsageError: the run has no such node.
    """
    nodes = judged.summary.nodes
    if node not in nodes:
        raise UsageError(f"{judged.evidence.plan.run_id} has no node {node!r}.", nearest(node, nodes))
    outcome = nodes[node]
    title = Text(f"{outcome.value}  ", style=STYLE[outcome])
    title.append(safe(f"{node} in {judged.evidence.plan.run_id}"), style="bold")
    return Group(title, *_identity(judged, node), Text(""), *_findings(judged, node), deviation_table(judged, node))


def _identity(judged: Judged, node: str) -> Iterator[RenderableType]:
    devices = dict.fromkeys(s.device for s in judged.evidence.samples.subjects if s.node == node and s.device)
    named = [(name, _of_any(judged, node, devices, name)) for name in _NODE_FACTS]
    yield _dim("; ".join(f"{name} {text}" for name, text in named if text))
    for device in devices:
        texts = [fact_of(judged.evidence, Subject(node, device), name) for name in _DEVICE_FACTS]
        if any(texts):
            yield _dim(f"{place_name(Subject(node, device))}: {' '.join(filter(None, texts))}")


def _of_any(judged: Judged, node: str, devices: dict[str, None], name: str) -> str:
    """The fact as the first device with one states it: all ranks of a node run the same software."""
    found = (fact_of(judged.evidence, Subject(node, device), name) for device in devices)
    return next((" ".join(text.split()) for text in found if text), "")


def _findings(judged: Judged, node: str) -> Iterator[RenderableType]:
    mine = [verdict for verdict in judged.summary.bad if verdict.subject.node == node]
    for verdict in mine:
        named = "" if verdict.value is not None else f"{verdict.key}: "
        text = Text(f"{verdict.outcome.value}  ", style=STYLE[verdict.outcome])
        text.append(safe(f"{place_name(verdict.subject)}: {named}{verdict.reason} [{verdict.code}]"))
        yield text
        yield Padding(_dim(f"→ {verdict.remedy}"), (0, 0, 0, 2))
    if mine:
        yield Text("")


def _dim(line: str) -> Text:
    return Text(safe(line), style="dim", overflow="fold")
