"""What is bad, subject by subject. A card each: what was found, what to do, and a plot per judged value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.model.history import subject_id
from hpcaccept.model.metric import describe
from hpcaccept.report.page import plots
from hpcaccept.report.page.markup import Markup, joined, tag
from hpcaccept.report.phrases import counted, place_name, place_of
from hpcaccept.units import show

Floats = npt.NDArray[np.float64]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.history import Past
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict import Subject, Verdict
    from hpcaccept.model.verdict_table import JudgedColumn, VerdictTable
    from hpcaccept.report.page.columns import Fleet

#: Subjects that get a card, and verdicts shown on one; what comes after that is counted.
CARDS, SHOWN = 60, 8


@dataclass(frozen=True)
class _Like:
    """All values that one value is compared with.

    Attributes:
        ident: id of the symbol that draws them.
        scale: of it.
        values: float64[n].
        center: their median.
    """

    ident: str
    scale: plots.Scale
    values: Floats
    center: float


class Gallery:
    """Cards of bad subjects. Open while a page is made: distributions are drawn once and shared by the plots that need them."""

    def __init__(self, values: Sequence[Values], table: VerdictTable, fleet: Fleet, past: Past | None) -> None:
        self._values = {column.key: column for column in values}
        self._bands = _bands(table)
        self._marks = _marks(table, fleet)
        self._fleet = fleet
        self._past = past
        self._past_subject = {name: number for number, name in enumerate(past.subjects)} if past else {}
        self._drawn: dict[tuple[str, int], _Like] = {}
        self._symbols: list[Markup] = []

    def cards(self, bad: Sequence[Verdict]) -> list[Markup]:
        """One per subject of which something was measured, in the order of the first verdict of each; at most ``CARDS``."""
        subjects = measured_subjects(bad)
        return [self._card(subject, subjects[subject]) for subject in list(subjects)[:CARDS]]

    def symbols(self) -> Markup:
        """The distributions of everything that was drawn so far."""
        if not self._symbols:
            return Markup("")
        return tag("svg", joined(self._symbols), class_="symbols", width=0, height=0, aria_hidden="true")

    def draw(self, key: str, group: int) -> _Like | None:
        """The distribution of a metric among the subjects of a group; None where there is nothing to draw."""
        if (key, group) in self._drawn:
            return self._drawn[key, group]
        column = self._values.get(key)
        if column is None:
            return None
        mine = column.value[self._fleet.group[column.subject] == group]
        if not len(mine):
            return None
        ident = f"d{len(self._drawn)}"
        scale = plots.scale_of(mine, self._marks.get((key, group), ()))
        center = 2 * float(np.median(mine / 2))
        like = self._drawn[key, group] = _Like(ident, scale, mine, center)
        self._symbols.append(plots.symbol(ident, mine, scale))
        return like

    def _card(self, subject: Subject, verdicts: list[Verdict]) -> Markup:
        number = self._fleet.index_of(subject.node, subject.device)
        known = self._fleet.subjects[number] if number is not None else None
        identity = " · ".join(text for text in (known.model, known.device_id) if text) if known else ""
        more = f"and {counted(len(verdicts) - SHOWN, 'more finding')}: report.json" if len(verdicts) > SHOWN else ""
        return tag(
            "article",
            tag(
                "header",
                badge(verdicts[0].outcome.value),
                tag("h3", place_name(subject)),
                tag("span", identity, class_="quiet") if identity else "",
            ),
            joined(
                self._finding(verdict, number, verdict.remedy if new else "")
                for verdict, new in zip(verdicts[:SHOWN], _first_time(verdicts), strict=False)
            ),
            tag("p", more, class_="quiet") if more else "",
            class_=f"card {verdicts[0].outcome.value}",
        )

    def _finding(self, verdict: Verdict, number: int | None, remedy: str) -> Markup:
        return tag(
            "section",
            tag(
                "div",
                tag("p", tag("code", verdict.key), " ", question_of(verdict), class_="what"),
                tag("p", verdict.reason),
                tag("p", remedy, class_="remedy") if remedy else "",
                class_="words",
            ),
            self._plots(verdict, number),
            class_="finding",
        )

    def _plots(self, verdict: Verdict, number: int | None) -> Markup:
        if verdict.value is None or number is None or not math.isfinite(verdict.value):
            return Markup("")
        group = int(self._fleet.group[number])
        like = self.draw(verdict.key, group)
        if like is None or len(like.values) < 2:
            return Markup("")
        limits = (verdict.limit.lower, verdict.limit.upper) if verdict.limit else (None, None)
        where = place_of(int((like.values < verdict.value).sum()), int((like.values > verdict.value).sum()))
        text = f"{show(verdict.value, verdict.unit)}, {where} of {len(like.values):,}; median {show(like.center, verdict.unit)}"
        label = f"{verdict.key}: {text}" + (f"; expected {describe(verdict.limit)}" if verdict.limit else "")
        band = self._bands.get((verdict.key, number))
        among = plots.distribution(like.ident, like.scale, verdict.value, limits, like.center, band, label)
        words = [text, f"baseline {_band_text(band, verdict.unit)}" if band else ""]
        return tag(
            "div",
            tag("figure", among, tag("figcaption", "; ".join(word for word in words if word))),
            self._over_runs(verdict, self._fleet.subjects[number]),
            class_="plots",
        )

    def _over_runs(self, verdict: Verdict, subject: MeasuredSubject) -> Markup:
        past, place = self._past, self._past_subject.get(subject_id(subject))
        if past is None or place is None or verdict.key not in past.values or verdict.value is None:
            return Markup("")
        values = past.values[verdict.key][:, place].tolist()
        known = [value for value in values if math.isfinite(value)]
        if not known:
            return Markup("")
        changes = [
            number
            for number in range(1, len(past.runs))
            if past.runs[number].environment != past.runs[number - 1].environment
        ]
        middle = float(np.median(known))
        text = f"median of {counted(len(known), 'earlier run')} {show(middle, verdict.unit)}"
        if middle:
            text += f", now {(verdict.value / middle - 1) * 100:+.1f} %"
        drawing = plots.over_runs(values, verdict.value, changes, f"{verdict.key} over runs: {text}")
        return tag("figure", drawing, tag("figcaption", text))


def measured_subjects(bad: Sequence[Verdict]) -> dict[Subject, list[Verdict]]:
    """Subject → what is bad of it, where any of it is a number; of what was not measured there is no more than its cause."""
    subjects: dict[Subject, list[Verdict]] = {}
    for verdict in bad:
        subjects.setdefault(verdict.subject, []).append(verdict)
    return {subject: found for subject, found in subjects.items() if any(v.value is not None for v in found)}


def _first_time(verdicts: Sequence[Verdict]) -> list[bool]:
    """Which of them say a remedy that none before them says."""
    remedies = [verdict.remedy for verdict in verdicts]
    return [remedy not in remedies[:number] for number, remedy in enumerate(remedies)]


def badge(outcome: str) -> Markup:
    """The outcome as a word with its sign: never by colour alone."""
    return tag("span", outcome.replace("_", " "), class_=f"badge {outcome}")


def question_of(verdict: Verdict) -> Markup | str:
    """Which of the questions was asked."""
    asked = {
        "peers": "against its peers",
        "baseline": "against the baseline",
        "history": "against its own past",
        "limits": "against a limit",
    }
    return tag("span", asked[verdict.question], class_="quiet") if verdict.question else ""


def _band_text(band: tuple[float | None, float | None], unit: str) -> str:
    lower, upper = (show(bound, unit) if bound is not None else "" for bound in band)
    return f"{lower} – {upper}" if lower and upper else f"≥ {lower}" if lower else f"≤ {upper}"


def _bands(table: VerdictTable) -> _Bands:
    return _Bands([answer for answer in table.answers if answer.question == "baseline"])


class _Bands:
    """What the baseline allows a subject in a metric, looked up only for what is drawn."""

    def __init__(self, answers: list[JudgedColumn]) -> None:
        self._answers = answers

    def get(self, place: tuple[str, int]) -> tuple[float | None, float | None] | None:
        """Lower and upper; None where no baseline fits."""
        key, subject = place
        for answer in self._answers:
            if answer.key != key:
                continue
            rows = np.flatnonzero(answer.subject == subject)
            if len(rows):
                bounds = [float(x) for x in (answer.lower[rows[0]], answer.upper[rows[0]])]
                lower, upper = (bound if math.isfinite(bound) else None for bound in bounds)
                return None if lower is None and upper is None else (lower, upper)
        return None


def _marks(table: VerdictTable, fleet: Fleet) -> dict[tuple[str, int], set[float]]:
    """(metric key, group) → limits that a plot of it must show: those of the subject that has the tightest ones, and the loosest."""
    found: dict[tuple[str, int], set[float]] = {}
    for answer in table.answers:
        for bounds in (answer.lower, answer.upper):
            known = np.isfinite(bounds)
            if not known.any():
                continue
            groups = fleet.group[answer.subject[known]]
            for group in np.unique(groups).tolist():
                mine = bounds[known][groups == group]
                found.setdefault((answer.key, group), set()).update((float(mine.min()), float(mine.max())))
    return found
