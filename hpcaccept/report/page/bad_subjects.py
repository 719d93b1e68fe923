"""What was found, subject by subject. A card each: every finding once with its plot, its variants folded, and what to do."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.model.history import subject_id
from hpcaccept.model.metric import describe
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.page import plots
from hpcaccept.report.page.markup import Markup, escaped, joined, separated, tag
from hpcaccept.report.page.names import anchor, link_to
from hpcaccept.report.phrases import EVERYBODY, counted, fold, place_name, place_of, troubles
from hpcaccept.units import show

Floats = npt.NDArray[np.float64]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.history import Past
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict import Subject, Verdict
    from hpcaccept.model.verdict_table import JudgedColumn, VerdictTable
    from hpcaccept.report.page.columns import Fleet
    from hpcaccept.report.phrases import Trouble

#: Subjects that get a card of their own, cards of what many have in common, and lines in a fold; what comes after that is counted.
CARDS, GROUPS, LINES = 60, 40, 40
#: Names in a folded list of nodes (characters).
_NAMES = 600


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


@dataclass(frozen=True)
class Drawn:
    """The plots of one verdict.

    Attributes:
        others: symbol that draws all values; the page has it once for many.
        figures: drawing and what it says: the value among the others, and where there is a past over the runs.
    """

    others: Markup
    figures: tuple[tuple[Markup, str], ...]


class Gallery:
    """Cards of bad subjects. Open while a page is made: distributions are drawn once and shared by the plots that need them."""

    def __init__(
        self,
        values: Sequence[Values],
        table: VerdictTable,
        fleet: Fleet,
        past: Past | None,
        serial: Callable[[Subject], str] = lambda _: "",
        words: Callable[[str], str] = str,
    ) -> None:
        """Nothing is drawn yet.

        Args:
            values: of the run.
            table: its verdicts.
            fleet: its subjects.
            past: earlier runs.
            serial: serial number of a subject; empty: not known.
            words: what each text of a plot goes through, such as a redaction.
        """
        self._serial, self._words = serial, words
        self._values = {column.key: column for column in values}
        self._bands = _bands(table)
        self._marks = _marks(table, fleet)
        self._fleet = fleet
        self._past = past
        self._past_subject = {name: number for number, name in enumerate(past.subjects)} if past else {}
        self._drawn: dict[tuple[str, int], _Like] = {}
        self._symbols: list[Markup] = []

    def cards(self, bad: Sequence[Verdict]) -> list[Markup]:
        """Every finding once, the worst first: a card per subject of which something was measured, then one per thing in common."""
        subjects = dict(list(measured_subjects(bad).items())[:CARDS])
        shown = {id(verdict) for mine in subjects.values() for verdict in mine}
        groups = troubles([verdict for verdict in bad if id(verdict) not in shown])
        place = {id(verdict): number for number, verdict in enumerate(bad)}
        found = [(place[id(mine[0])], self._card(subject, mine)) for subject, mine in subjects.items()]
        found += [(place[id(group.verdicts[0])], _group(group)) for group in groups[:GROUPS]]
        cards = [card for _, card in sorted(found, key=lambda one: one[0])]
        more = len(groups) - GROUPS
        return (
            [*cards, tag("p", f"{more:,} more kinds of findings: report.json", class_="quiet")] if more > 0 else cards
        )

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
        serial = self._serial(subject)
        whole = [*((known.model, known.device_id) if known else ()), f"serial {serial}" if serial else ""]
        kinds = _kinds(verdicts)
        # What to do follows from the worst that is said of a metric: a doubt beside a fault asks for nothing more.
        # Those that begin alike ask for the same first step, and the rest is that of the worst.
        remedies: dict[str, str] = {}
        for worst, *_ in kinds:
            remedies.setdefault(worst.remedy.partition(". ")[0], worst.remedy)
        return _framed(
            verdicts[0],
            place_name(subject),
            " · ".join(filter(None, whole)),
            *(self._finding(kind, number) for kind in kinds),
            *map(_to_do, filter(None, remedies.values())),
        )

    def _finding(self, alike: list[Verdict], number: int | None) -> Markup:
        """One metric: its worst variant against each that it was held against, drawn once; the other variants folded."""
        points: dict[tuple[str, ...], list[Verdict]] = {}
        for verdict in alike:
            points.setdefault((verdict.question or "", verdict.outcome.value, str(verdict.code or "")), []).append(
                verdict
            )
        said = [piece for (v, *_) in points.values() for piece in (_sentence(v, self._title(v)), _about(v))]
        others = [verdict.reason for _, *rest in points.values() for verdict in rest]
        return tag(
            "section",
            tag("div", joined(said), _lines(others, "more, of other variants"), class_="words"),
            self._plots(alike[0], number),
            class_="finding",
        )

    def _title(self, verdict: Verdict) -> str:
        """The metric in words; empty where nothing was measured."""
        column = self._values.get(verdict.key)
        return column.metric.named(column.variant) if column else ""

    def _plots(self, verdict: Verdict, number: int | None) -> Markup:
        drawn = self.drawn(verdict, number)
        if drawn is None:
            return Markup("")
        figures = [tag("figure", drawing, tag("figcaption", text)) for drawing, text in drawn.figures]
        return tag("div", joined(figures), class_="plots")

    def drawn(self, verdict: Verdict, number: int | None) -> Drawn | None:
        """The plots of a verdict; None where there is nothing to draw.

        Args:
            verdict: with a value.
            number: of its subject in the fleet; None: nothing was measured there.
        """
        if verdict.value is None or number is None or not math.isfinite(verdict.value):
            return None
        group = int(self._fleet.group[number])
        like = self.draw(verdict.key, group)
        if like is None or len(like.values) < 2:
            return None
        limits = (verdict.limit.lower, verdict.limit.upper) if verdict.limit else (None, None)
        where = place_of(int((like.values < verdict.value).sum()), int((like.values > verdict.value).sum()))
        text = f"{show(verdict.value, verdict.unit)}, {where} of {len(like.values):,}; median {show(like.center, verdict.unit)}"
        label = f"{self._title(verdict)}: {text}" + (f"; expected {describe(verdict.limit)}" if verdict.limit else "")
        band = self._bands.get((verdict.key, number))
        among = plots.distribution(like.ident, like.scale, verdict.value, limits, like.center, band, self._words(label))
        words = [text, f"baseline {_band_text(band, verdict.unit)}" if band else ""]
        past = self._over_runs(verdict, self._fleet.subjects[number])
        figures = ((among, self._words("; ".join(word for word in words if word))), *([past] if past else []))
        return Drawn(plots.symbol(like.ident, like.values, like.scale), figures)

    def _over_runs(self, verdict: Verdict, subject: MeasuredSubject) -> tuple[Markup, str] | None:
        past, place = self._past, self._past_subject.get(subject_id(subject))
        if past is None or place is None or verdict.key not in past.values or verdict.value is None:
            return None
        values = past.values[verdict.key][:, place].tolist()
        known = [value for value in values if math.isfinite(value)]
        if not known:
            return None
        changes = [
            number
            for number in range(1, len(past.runs))
            if past.runs[number].environment != past.runs[number - 1].environment
        ]
        middle = float(np.median(known))
        text = f"median of {counted(len(known), 'earlier run')} {show(middle, verdict.unit)}"
        if middle:
            text += f", now {(verdict.value / middle - 1) * 100:+.1f} %"
        # A unit that is faster than it used to be is not marked as a bad one.
        fell = (
            verdict.value > middle if self._values[verdict.key].metric.direction == "lower" else verdict.value < middle
        )
        label = self._words(f"{self._title(verdict)} over runs: {text}")
        return plots.over_runs(values, verdict.value, changes, label, worse=fell), self._words(text)


def measured_subjects(bad: Sequence[Verdict]) -> dict[Subject, list[Verdict]]:
    """Subject → what its measurements blame it for; what was not judged says the same of many and is no part of it."""
    subjects: dict[Subject, list[Verdict]] = {}
    for verdict in bad:
        if verdict.outcome in (Outcome.FAIL, Outcome.WARN):
            subjects.setdefault(verdict.subject, []).append(verdict)
    return {subject: found for subject, found in subjects.items() if any(v.value is not None for v in found)}


def _kinds(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Findings of one subject about one metric together; of what was not measured each cause by itself."""
    kinds: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        kinds.setdefault((verdict.check, verdict.metric if verdict.value is not None else verdict.reason), []).append(
            verdict
        )
    return list(kinds.values())


def _framed(worst: Verdict, name: Markup | str, beside: str, *content: Markup) -> Markup:
    """A card with its head."""
    return tag(
        "article",
        tag("header", badge(worst.outcome.value), tag("h3", name), tag("span", beside, class_="quiet") if beside else ""),
        joined(content),
        class_=f"card {worst.outcome.value}",
    )  # fmt: skip


def _group(trouble: Trouble) -> Markup:
    """What several subjects, or all together, have in common: there is one thing to do about it."""
    first, *others = trouble.sentences
    many = len(trouble.verdicts)
    return _framed(
        trouble.verdicts[0],
        names_of(trouble.where) if trouble.where else EVERYBODY,
        counted(many, "finding") if many > 1 else "",
        tag("div", tag("p", first), _about(trouble.verdicts[0]), _lines(others, "more"), class_="finding words"),
        _to_do(trouble.remedy) if trouble.remedy else Markup(""),
    )


def _to_do(remedy: str) -> Markup:
    """What to do; no line ends within an option."""
    parts = re.split(r"(?<!\S)(--[a-z][a-z-]*)", remedy)
    words = (tag("span", part, class_="option") if number % 2 else part for number, part in enumerate(parts))
    return tag("p", joined(words), class_="remedy")


def names_of(names: Sequence[str]) -> Markup:
    """Folded; a list that is longer than anybody reads is cut, and says so."""
    text = fold(names)
    if len(text) <= _NAMES:
        return escaped(text)
    return joined([f"{text[:_NAMES]}…", f" ({len(names):,} nodes; all of them: report.json)"])


def _sentence(verdict: Verdict, title: str) -> Markup:
    """The reason, in which the metric leads to what it means; what was not measured is named before it."""
    if not title:
        return tag("p", verdict.reason if verdict.value is not None else f"{verdict.key}: {verdict.reason}")
    name = link_to(verdict.key, title)
    before, found, after = verdict.reason.partition(title)
    return tag("p", before, name, after) if found else tag("p", name, ": ", verdict.reason)


def _about(verdict: Verdict) -> Markup:
    """Against what it was held, and the code that leads to its meaning."""
    words = [
        question_of(verdict),
        tag("a", str(verdict.code), href=f"#{anchor('code', str(verdict.code))}") if verdict.code else "",
        "" if verdict.required else "not required",
    ]
    return tag("p", separated(words), class_="quiet")


def _lines(lines: Sequence[str], noun: str) -> Markup:
    """A list that opens when it is asked for; nothing of nothing."""
    if not lines:
        return Markup("")
    items = [tag("li", line) for line in lines[:LINES]]
    if len(lines) > LINES:
        items.append(tag("li", f"{len(lines) - LINES:,} more: report.json", class_="quiet"))
    return tag("details", tag("summary", f"{len(lines):,} {noun}"), tag("ul", joined(items)))


def badge(outcome: str) -> Markup:
    """The outcome as a word with its sign: never by colour alone."""
    return tag("span", outcome.replace("_", " "), class_=f"badge {outcome}")


def question_of(verdict: Verdict) -> str:
    """Which of the questions was asked."""
    asked = {
        "peers": "against its peers",
        "baseline": "against the baseline",
        "history": "against its own past",
        "limits": "against a limit",
    }
    return asked[verdict.question] if verdict.question else ""


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
