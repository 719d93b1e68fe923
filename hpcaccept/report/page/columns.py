"""Fits every value of 131,072 devices into one page: columns of 16-bit numbers, decoded when they are looked at.

A column is ``low + code × step`` with 65,533 steps over what nearly all values span (one step is far below any noise); the few
values outside stand beside it as they are. Codes travel as base64, little-endian.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcaccept.model.verdict import CODE, OUTCOMES, SEVERITY, Outcome, device_name
from hpcaccept.report.model import counting
from hpcaccept.report.page.matrix import is_cell
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.judge import Judgement
    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.model import Summary

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Codes that are no step: nothing was measured; the value stands in ``far``.
ABSENT, FAR = 65535, 65534
#: Values a page may hold: 131,072 devices × 40 metrics. What comes after that is left out, and the page says so.
MOST_VALUES = 131_072 * 40
#: So many device ids are in the page, so that they can be searched; of larger fleets only those of bad subjects.
MOST_IDS = 32_768
#: How many spans of 99 % of the values a scale reaches to each side.
_REACH = 4.0
#: By code, how bad an outcome is; and the code of each rank.
_SEVERITY = np.array([SEVERITY[outcome] for outcome in OUTCOMES])
_OF_RANK = np.argsort(_SEVERITY)


class Fleet:
    """Whom a run speaks of: nodes, their devices, and which value belongs to whom. Made once for a page.

    Attributes:
        nodes: names, those of the job first.
        subjects: of the verdicts: everything measured, then whom else they speak of.
        devices: int[d], which of the subjects are devices of nodes.
        node_of: int[u], index into nodes; -1: all nodes together.
        group: int[u], index into groups: only subjects of one group are compared.
        groups: device model and setting.
    """

    def __init__(self, evidence: Evidence, subjects: tuple[MeasuredSubject, ...]) -> None:
        self.subjects = subjects
        names = dict.fromkeys(evidence.nodes)
        names.update(dict.fromkeys(subject.node for subject in self.subjects if subject.node))
        self.nodes = tuple(names)
        place = {name: number for number, name in enumerate(self.nodes)}
        self.node_of = np.array([place.get(subject.node, -1) for subject in self.subjects], np.intp)
        self.devices = np.array(
            [i for i, subject in enumerate(self.subjects) if subject.node and subject.device], np.intp
        )
        kinds: dict[tuple[str, str], int] = {}
        self.group = np.array([kinds.setdefault((u.model, u.setting), len(kinds)) for u in self.subjects], np.intp)
        self.groups = tuple(" · ".join(part for part in kind if part) for kind in kinds)
        self._subjects = {(subject.node, subject.device): number for number, subject in enumerate(self.subjects)}

    def index_of(self, node: str, device: str) -> int | None:
        """Index of a verdict's subject; None when nothing was measured there."""
        return self._subjects.get((node, device))


def encoded(values: Floats) -> dict[str, Any]:
    """A column for the page.

    Args:
        values: float64[n], NaN where nothing was measured.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return {"low": 0, "step": 0, "codes": _text(np.full(len(values), ABSENT)), "far": []}
    start, end = np.quantile(known / 2, (0.005, 0.995)) * 2
    most = np.finfo(np.float64).max / 8
    reach = min(end / 2 - start / 2, most / _REACH / 2) * _REACH * 2
    low = float(max(known.min(), max(start, -most) - reach))
    high = float(min(known.max(), min(end, most) + reach))
    step = (high - low) / (FAR - 1) if high > low else 0.0
    present = np.isfinite(values)
    inside = present & (values >= low) & (values <= high)
    codes = np.where(present, FAR, ABSENT)
    codes[inside] = np.rint((values[inside] - low) / step) if step else 0
    far = [[int(i), float(values[i])] for i in np.flatnonzero(codes == FAR)]
    return {"low": low, "step": step, "codes": _text(codes), "far": far}


def decoded(column: Mapping[str, Any]) -> Floats:
    """What the page's script makes of it (for tests, which hold both against each other)."""
    codes = np.frombuffer(base64.b64decode(column["codes"]), "<u2")
    values = np.where(codes == ABSENT, np.nan, column["low"] + codes * column["step"])
    for place, value in column["far"]:
        values[place] = value
    return values


def _text(codes: npt.NDArray[Any]) -> str:
    return base64.b64encode(codes.astype("<u2").tobytes()).decode()


def tables(
    evidence: Evidence, values: Sequence[Values], judgement: Judgement, summary: Summary, fleet: Fleet
) -> tuple[dict[str, Any], list[str]]:
    """What the tables of the page are made of, and what is left out of them, in sentences."""
    places = {name: number for number, name in enumerate(fleet.nodes)}
    columns, left_out = _metrics(values, fleet)
    used, which, keys = _margins(judgement, fleet)
    titles = {column.key: column.metric.named(column.variant) for column in values}
    data = {
        "outcomes": [outcome.value for outcome in OUTCOMES],
        "nodes": {
            "name": [safe(name) for name in fleet.nodes],
            "outcome": "".join(str(CODE[summary.nodes.get(name, Outcome.NOT_RUN)]) for name in fleet.nodes),
            "judged": _judged(judgement, fleet, places),
            "checks": len(evidence.plan.suite.checks),
            "used": encoded(_worst_of(used, fleet)),
            "by": _by(used, which, fleet),
            "note": _notes(summary.bad, places),
        },
        "devices": _devices(judgement, summary.bad, fleet, used, which),
        "keys": [safe(key) for key in keys],
        "names": [safe(titles.get(key, key)) for key in keys],
        "groups": [safe(group) for group in fleet.groups],
        "metrics": columns,
    }
    if len(fleet.devices) > MOST_IDS:
        left_out.append(f"the ids of {len(fleet.devices):,} devices (those of bad units are above)")
    return data, left_out


def _metrics(values: Sequence[Values], fleet: Fleet) -> tuple[list[dict[str, Any]], list[str]]:
    """Columns of values, those of the first page first. What is the same everywhere, or a cell of a matrix, needs none."""
    nodes = frozenset(fleet.nodes)
    found: list[dict[str, Any]] = []
    size, left_out = 0, 0
    for column in sorted(values, key=lambda v: not (v.metric.headline and v.metric.is_rate)):
        metric, width = column.metric, len(fleet.devices) if column.metric.scope == "device" else len(fleet.nodes)
        if metric.scope == "world" or is_cell(column, nodes):
            continue
        if not metric.is_rate and column.value.min() == column.value.max():
            continue
        if size + width > MOST_VALUES:
            left_out += 1
            continue
        size += width
        found.append(_metric(column, fleet))
    gone = [f"the values of {left_out:,} metrics that do not stand on the first page"] if left_out else []
    return found, gone


def _metric(column: Values, fleet: Fleet) -> dict[str, Any]:
    rows = column.subject
    metric = column.metric
    by_subject = np.full(len(fleet.subjects), np.nan)
    by_subject[rows] = column.value
    if metric.scope == "device":
        dense = by_subject[fleet.devices]
    else:
        dense = np.full(len(fleet.nodes), np.nan)
        dense[fleet.node_of[rows]] = column.value
    parts = column.parts
    centers = [_median(column.value[fleet.group[rows] == number]) for number in range(len(fleet.groups))]
    return {
        "key": safe(column.key),
        "check": safe(parts.check_name),
        "name": safe(metric.named(parts.variant)),
        "unit": metric.unit,
        "direction": metric.direction,
        "scope": metric.scope,
        "first": metric.headline and metric.is_rate,
        "center": centers,
        **encoded(dense),
    }


def _median(values: Floats) -> float | None:
    return 2 * float(np.median(values / 2)) if len(values) else None


def _margins(judgement: Judgement, fleet: Fleet) -> tuple[Floats, Ints, tuple[str, ...]]:
    """How much of the way from its peers to the failing limit each subject has gone, at most, and by which metric.

    Returns:
        float64[u] (1: at the limit; NaN: not compared), int[u] index into the keys, and the keys.
    """
    answers = [answer for answer in judgement.table.answers if answer.question == "peers"]
    keys = tuple(dict.fromkeys(answer.key for answer in answers))
    number = {key: i for i, key in enumerate(keys)}
    used, which = np.full(len(fleet.subjects), np.nan), np.zeros(len(fleet.subjects), np.intp)
    for answer in answers:
        bound = np.where(np.isfinite(answer.lower), answer.lower, answer.upper)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = (answer.center - answer.value) / (answer.center - bound)
        more = np.isfinite(share) & ~(share <= used[answer.subject])
        used[answer.subject[more]] = share[more]
        which[answer.subject[more]] = number[answer.key]
    return used, which, keys


def _worst_of(used: Floats, fleet: Fleet) -> Floats:
    """float64[n], the largest of each node's subjects."""
    worst = np.full(len(fleet.nodes), -np.inf)
    mine = (fleet.node_of >= 0) & np.isfinite(used)
    np.maximum.at(worst, fleet.node_of[mine], used[mine])
    return np.where(np.isfinite(worst), worst, np.nan)


def _by(used: Floats, which: Ints, fleet: Fleet) -> list[int]:
    """Index of the key that brought each node's largest margin; -1 for none."""
    found = np.full(len(fleet.nodes), -1, np.intp)
    order = np.argsort(used, kind="stable")
    order = order[np.isfinite(used[order]) & (fleet.node_of[order] >= 0)]
    found[fleet.node_of[order]] = which[order]  # from the smallest on: the largest is written last and stays
    return [int(i) for i in found]


def _judged(judgement: Judgement, fleet: Fleet, places: Mapping[str, int]) -> list[int]:
    """Checks that were judged on each node."""
    asked = judgement.coverage.asked // max(judgement.coverage.nodes_asked, 1)
    found = np.full(len(fleet.nodes), asked, np.intp)
    for missing in judgement.coverage.gaps.values():
        known = [places[name] for name in missing if name in places]
        np.subtract.at(found, np.array(known, np.intp), 1)
    return [int(i) for i in found]


def _notes(bad: Sequence[Verdict], places: Mapping[str, int]) -> dict[str, str]:
    """Node → what is the worst of it; only where something is."""
    found: dict[str, str] = {}
    for verdict in bad:
        if verdict.subject.node in places:
            found.setdefault(str(places[verdict.subject.node]), safe(_noted(verdict))[:300])
    return found


def _noted(verdict: Verdict) -> str:
    """A sentence; one about a number names it."""
    return verdict.reason if verdict.value is not None else f"{verdict.key}: {verdict.reason}"


def _devices(judgement: Judgement, bad: Sequence[Verdict], fleet: Fleet, used: Floats, which: Ints) -> dict[str, Any]:
    outcome = _outcomes(judgement, bad, fleet)
    labels: dict[str, int] = {}
    label = [labels.setdefault(fleet.subjects[i].device, len(labels)) for i in fleet.devices]
    ids = [safe(fleet.subjects[i].device_id) for i in fleet.devices] if len(fleet.devices) <= MOST_IDS else []
    return {
        "node": base64.b64encode(fleet.node_of[fleet.devices].astype("<u4").tobytes()).decode(),
        "label": _text(np.array(label, np.intp)),
        "labels": [safe(device_name(name) or "CPU") for name in labels],
        "id": ids if any(ids) else [],
        "group": _text(fleet.group[fleet.devices]),
        "outcome": "".join(map(str, outcome[fleet.devices].tolist())),
        "used": encoded(used[fleet.devices]),
        "by": _text(which[fleet.devices]),
    }


def _outcomes(judgement: Judgement, bad: Sequence[Verdict], fleet: Fleet) -> Ints:
    """int[u], code of the worst that was judged of each subject; NOT_RUN where nothing was."""
    rank = np.full(len(fleet.subjects), SEVERITY[Outcome.NOT_RUN], np.intp)
    told = np.zeros(len(fleet.subjects), bool)
    for answer in judgement.table.answers:
        counts = counting(answer)
        rows, here = answer.subject[counts], _SEVERITY[answer.outcome[counts]]
        # A subject stands once in an answer.
        rank[rows] = np.where(told[rows], np.maximum(rank[rows], here), here)
        told[rows] = True
    for verdict in bad:
        number = fleet.index_of(verdict.subject.node, verdict.subject.device)
        if number is not None:
            rank[number] = max(rank[number], SEVERITY[verdict.outcome])
    return _OF_RANK[rank]
