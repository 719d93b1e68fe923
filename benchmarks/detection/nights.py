"""What does the judge make of night after night: how often does a healthy fleet get a WARN or FAIL, and when is a loss told?

Whole nights go through the code that judges real runs (``simulate.ours``): peers, retests, the own past, slow decline, repeat
offenders. What was said of a night is remembered, and is the past of the next. The first nights of a fleet have no past to speak of
and are not counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.simulate.faults import KINDS, Fault
from hpcaccept.simulate.fleet import SPREADS, Fleet, Site
from hpcaccept.simulate.ours import Memory, run_of
from hpcaccept.simulate.score import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcaccept.model.verdict_table import JudgedColumn

#: Nights that only make a past, and nights that are counted: the past grows from 5 to 25 runs, of which the last 20 are looked at.
FIRST, COUNTED = 5, 20
QUESTIONS = ("peers", "own past", "slow decline", "repeat offenders")
_QUIET = Site(disturbed=0.0)
#: How the numbers of a healthy fleet vary from night to night.
NOISES: dict[str, Site] = {
    "normal": replace(_QUIET, run_noise="normal"),
    "t(5)": replace(_QUIET, run_noise="t(5)"),
    "t(3)": replace(_QUIET, run_noise="t(3)"),
    "0.1 % of launches disturbed": replace(_QUIET, disturbed=0.001),
    "1 % of launches disturbed": replace(_QUIET, disturbed=0.01),
    "autocorrelated, AR(1) 0.5": replace(_QUIET, memory=0.5),
}
#: Nodes → fleets of each noise.
FLEETS = {16: 50, 128: 20, 1024: 5, 4096: 3}
#: What a GPU loses: at once, or (the last one) a little more each night.
SUDDEN, EACH_NIGHT = (0.005, 0.01, 0.02, 0.05), 0.001
#: Healthy nights before it, and after how many nights with it is asked who is told of.
HEALTHY, ASKED_AFTER = 20, (1, 2, 3, 5, 10, 20)
#: Of which fault, in how many fleets and in which noise, it is asked how soon it is told.
FAULTS = ("memory", "power", "pcie", "network")
FAULT_FLEETS = 24
FAULT_NOISES = ("normal", "t(5)", "0.1 % of launches disturbed", "autocorrelated, AR(1) 0.5")
_SEED = 20261129
_BAD = (CODE[Outcome.WARN], CODE[Outcome.FAIL])


def question_of(answer: JudgedColumn, row: int) -> str:
    """Which of ``QUESTIONS`` has told a row."""
    if answer.question == "peers":
        return "peers"
    if answer.key == "history.failed_runs":
        return "repeat offenders"
    remark = answer.remarks.get(row)
    return "slow decline" if remark is not None and remark.code is FindingCode.PAST_DECLINE else "own past"


def told(answers: Iterable[JudgedColumn]) -> Iterator[tuple[str, str, int, bool]]:
    """(question, metric key, subject, whether it is a FAIL) of every WARN and FAIL of a night."""
    for answer in answers:
        for row in np.flatnonzero(np.isin(answer.outcome, _BAD)).tolist():
            failed = bool(answer.outcome[row] == CODE[Outcome.FAIL])
            yield question_of(answer, row), answer.key, int(answer.subject[row]), failed


def healthy_nights(noise: str, nodes: int, number: int) -> dict[str, Any]:
    """One healthy fleet: of its nights, those with any WARN or FAIL of each question, those with any FAIL, and units told."""
    site = replace(NOISES[noise], nodes=nodes)
    fleet = Fleet(site, np.random.default_rng([_SEED, nodes, number]))
    memory = Memory(site)
    nights: Counter[str] = Counter()
    for night in range(FIRST + COUNTED):
        run = run_of(fleet, [], memory=memory if night >= FIRST else None)
        memory.remember(run)
        if night < FIRST:
            continue
        found = list(told(run.answers))
        nights.update({question for question, *_ in found})
        past = [one for one in found if one[0] != "peers"]
        nights.update({"any of the past": bool(past), "FAIL by the past": any(failed for *_, failed in past)})
        nights.update({"units told by the past": len({subject for _, _, subject, _ in past})})
    return {"noise": noise, "nodes": nodes, "nights": COUNTED, "told": dict(nights)}


def losses_told(noise: str, number: int) -> dict[str, Any]:
    """One fleet of 256 nodes that gets a fault of each kind and size after 20 healthy nights: who is told of, when?

    Returns:
        ``told``: "kind loss after" → how many (of one fault: 0 or 1) are a WARN or FAIL that night, "kind loss after FAIL" likewise.
    """
    site = replace(NOISES[noise], nodes=256, missing=0.0, crashed=0.0)
    fleet, memory = Fleet(site, np.random.default_rng([_SEED, number])), Memory(site)
    hits: Counter[str] = Counter()
    for night in range(HEALTHY + max(ASKED_AFTER)):
        after = night - HEALTHY + 1
        faults = _faults(after) if after > 0 else {}
        run = run_of(fleet, list(faults.values()), memory=memory if night >= FIRST else None)
        memory.remember(run)
        if after in ASKED_AFTER:
            found = [(key, subject, failed) for _, key, subject, failed in told(run.answers)]
            for (kind, loss), fault in faults.items():
                mine = [failed for key, subject, failed in found if (key, subject) in _spoilt(fault, site)]
                hits.update({f"{kind} {loss:g} {after}": bool(mine), f"{kind} {loss:g} {after} FAIL": any(mine)})
    return {"noise": noise, "told": dict(hits)}


def _faults(after: int) -> dict[tuple[str, float], Fault]:
    """One of each kind and size, on nodes of their own."""
    sizes = {**{loss: loss for loss in SUDDEN}, EACH_NIGHT: EACH_NIGHT * after}
    cells = [(kind, loss) for kind in FAULTS for loss in sizes]
    return {(kind, loss): Fault(kind, sizes[loss], 7 + 11 * i, 3) for i, (kind, loss) in enumerate(cells)}


def _spoilt(fault: Fault, site: Site) -> set[tuple[str, int]]:
    """Metric and subject of the table of everything that a fault spoils."""
    return {
        (SPREADS[name].key, row + (0 if SPREADS[name].scope == "device" else site.nodes * site.gpus))
        for name in KINDS[fault.kind].spoils
        for row in fault.rows(name, site).tolist()
    }


def share_of_nights(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Any]:
    """Nights of some fleets in which something was told, with Wilson's interval.

    What is told of a unit is often told again the next night: nights of one fleet are no independent runs. So the interval is that of
    as many nights as would tell the share as well as these fleets do (the design effect of a cluster sample).
    """
    counts = [row["told"].get(what, 0) for row in rows]
    nights, per = sum(row["nights"] for row in rows), rows[0]["nights"]
    share = sum(counts) / nights
    effect = 1.0
    if 0 < share < 1 and len(rows) > 1:
        effect = max(1.0, float(np.var([count / per for count in counts], ddof=1)) * per / (share * (1 - share)))
    return {"hits": sum(counts), "of": nights, "share": round(share, 6),
            "interval_95": [round(bound, 6) for bound in wilson(share, nights / effect)]}  # fmt: skip
