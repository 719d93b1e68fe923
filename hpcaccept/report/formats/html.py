"""A run in a browser: one page that carries everything. No network, no code but its own, no text that acts.

Verdict first, then what to do, every bad subject with its plots, what was measured, matrices, every node and device, and what the run
was. Verdicts and bad subjects are plain HTML; only the long tables need the page's script. The Content-Security-Policy
allows exactly the style and the script of this page, by their hashes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.model.verdict import Outcome
from hpcaccept.report.model import ORDER
from hpcaccept.report.page import matrix
from hpcaccept.report.page.bad_subjects import CARDS, Gallery, badge, measured_subjects
from hpcaccept.report.page.columns import Fleet, tables
from hpcaccept.report.page.document import document
from hpcaccept.report.page.markup import Markup, data_block, joined, tag
from hpcaccept.report.page.measured import measured
from hpcaccept.report.page.node_map import node_map
from hpcaccept.report.phrases import ASKED, EVERYBODY, conclusion, counted, fold, sight, stated_rate, troubles
from hpcaccept.report.provenance import duration_in_words, limits_in_force, parameters_in_force, software_line
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.judge import Judgement
    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.event import Event
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past
    from hpcaccept.report.judged import Judged
    from hpcaccept.report.model import Summary
    from hpcaccept.report.phrases import Conclusion, Trouble

ABOUT = "For a browser, a customer or an archive: one page that needs no network, with everything but single repeats."

_HERE = Path(__file__).parents[1] / "page"
#: Things to do, names in a folded list (characters), and events that are shown; the rest is counted.
_TROUBLES, _NAMES, _EVENTS = 40, 600, 100
_STATE = {"ACCEPTED": "PASS", "NOT ACCEPTED": "FAIL", "NOT JUDGED": "ERROR"}


def render(judged: Judged) -> str:
    """The page, whole."""
    evidence, values, judgement = judged.evidence, judged.values, judged.judgement
    summary, past = judged.summary, judged.past
    ended = conclusion(judged)
    fleet = Fleet(evidence, judgement.table.subjects)
    gallery = Gallery(values, judgement.table, fleet, past)
    data, left_out = tables(evidence, values, judgement, summary, fleet)
    cards = gallery.cards(summary.bad)
    for metric in data["metrics"]:
        # The script draws a device's values with the same distributions.
        drawn = [gallery.draw(metric["key"], group) for group in range(len(fleet.groups))]
        metric["drawn"] = [like and [like.ident, like.scale.low, like.scale.high] for like in drawn]
    style, script = (_HERE / "page.css").read_text("utf-8"), (_HERE / "page.js").read_text("utf-8")
    run = evidence.plan.run_id
    body = [
        tag("a", "Skip to the verdict", href="#verdict", class_="skip"),
        _head(judged),
        tag(
            "main",
            _verdict(judged, ended),
            _to_do(troubles(summary.bad)),
            _bad_subjects(cards, summary, past),
            _checks(values, summary, gallery, fleet),
            _matrices(values, fleet, summary),
            _grid("nodes", "Nodes", counted(len(fleet.nodes), "node")),
            _grid("devices", "Devices", counted(len(fleet.devices), "device")) if len(fleet.devices) else "",
            _about(judged, left_out),
        ),
        _foot(run),
        gallery.symbols(),
        data_block("data", data),
    ]
    return document(f"{ended.word}: {run}", style, body, script)


def _head(judged: Judged) -> Markup:
    evidence, bound = judged.evidence, judged.summary.bound
    plan = evidence.plan
    per_node = f" × {counted(plan.request.gpus_per_node, 'GPU')}" if plan.request.gpus_per_node else ""
    facts = [
        f"suite {plan.suite.name}",
        f"{counted(plan.request.nodes, 'node')}{per_node}",
        plan.launcher,
        f"partition {plan.request.partition}" if plan.request.partition else "",
        f"account {plan.request.account}" if plan.request.account else "",
        f"job {bound.job}" if bound.job else "",
        f"{plan.created_at[:19].replace('T', ' ')} UTC",
        f"took {took}" if (took := duration_in_words(evidence)) else "",
    ]
    parts = Counter(subject.model for subject in evidence.samples.subjects if subject.model)
    image = " ".join(filter(None, (bound.image, bound.digest[:19])))
    measured = [*parts, software_line(bound.software), f"image {image}" if image else ""]
    return tag(
        "header",
        tag("p", "hpcaccept · acceptance report", class_="eyebrow"),
        tag("h1", plan.run_id),
        tag("p", " · ".join(filter(None, facts)), class_="facts"),
        tag("p", " · ".join(filter(None, measured)), class_="facts"),
        class_="page",
    )


def _section(ident: str, title: str, *content: str, note: str = "") -> Markup:
    heading = tag("h2", title, tag("span", note, class_="count") if note else "", id=f"{ident}-title")
    return tag("section", heading, joined(content), id=ident, aria_labelledby=f"{ident}-title")


# --- the verdict ------------------------------------------------------------------------------------------------------


def _verdict(judged: Judged, ended: Conclusion) -> Markup:
    judgement, summary = judged.judgement, judged.summary
    tiles = [
        _nodes_tile(judged.evidence, summary),
        _coverage_tile(judgement),
        *_power_tiles(judgement),
        _baseline_tile(summary),
    ]
    silent = judgement.coverage.nodes_silent
    parts = [
        tag("h2", ended.word, id="verdict-title"),
        tag("p", ended.sentence, class_="sentence"),
        tag("dl", joined(tiles), class_="tiles"),
        node_map(summary.nodes, ORDER),
        tag("p", tag("strong", "Nothing is known of: "), _names(silent), class_="note") if silent else "",
        *(tag("p", note, class_="note") for note in summary.notes),
    ]
    state = f"verdict {_STATE[ended.word]}"
    return tag("section", joined(parts), id="verdict", class_=state, aria_labelledby="verdict-title")


def _tile(name: str, figure: str, text: str = "", drawing: str = "") -> Markup:
    return tag("div", tag("dt", name), tag("dd", tag("span", figure, class_="figure"), drawing, tag("span", text, class_="quiet")))  # fmt: skip


def _nodes_tile(evidence: Evidence, summary: Summary) -> Markup:
    counts = dict.fromkeys(ORDER, 0)
    for outcome in summary.nodes.values():
        counts[outcome] += 1
    asked = evidence.plan.request.nodes
    unknown = max(asked - len(summary.nodes), 0)
    words = [f"{count:,} {outcome.value.replace('_', ' ')}" for outcome, count in counts.items() if count]
    words += [f"{unknown:,} without a name"] if unknown else []
    good = counts[Outcome.PASS]
    return _tile("Nodes that passed", f"{good:,} of {asked:,}", ", ".join(words), _bar(counts, max(asked, 1)))


def _bar(counts: dict[Outcome, int], total: int) -> Markup:
    """How the nodes are shared out; the words stand beside it."""
    parts, start = [], 0.0
    for outcome in reversed(ORDER):
        if counts[outcome]:
            # One node of 16,384 must still be seen.
            width = max(200 * counts[outcome] / total, 2.0)
            parts.append(tag("rect", x=round(min(start, 198.0), 2), y=0, width=round(width, 2), height=6, class_=f"fill {outcome.value}"))  # fmt: skip
            start += width
    return tag("svg", joined(parts), viewBox="0 0 200 6", preserveAspectRatio="none", class_="bar", aria_hidden="true")


def _coverage_tile(judgement: Judgement) -> Markup:
    cover = judgement.coverage
    share = cover.judged / cover.asked if cover.asked else 0.0
    # 99.99 % is not all.
    text = "100 %" if cover.judged == cover.asked else f"{min(share * 100, 99.9):.1f} %"
    bar = tag(
        "svg",
        tag("rect", x=0, y=0, width=round(200 * share, 2), height=6, class_="fill known"),
        viewBox="0 0 200 6", preserveAspectRatio="none", class_="bar", aria_hidden="true",
    )  # fmt: skip
    return _tile("Coverage", text, f"{cover.judged:,} of {cover.asked:,} checks on nodes judged", bar)


def _power_tiles(judgement: Judgement) -> Iterable[Markup]:
    for question, sensitivity in judgement.sensitivity.items():
        if not sensitivity.kinds or question not in ASKED:
            continue
        seen = ", ".join(sight(kind) for kind in sensitivity.kinds)
        text = "slowdowns that are found half of the time (19 times of 20)"
        yield tag("div", tag("dt", f"Against {ASKED[question]}"), tag("dd", tag("span", seen, class_="seen"), tag("span", text, class_="quiet")))  # fmt: skip


def _baseline_tile(summary: Summary) -> Markup:
    if not summary.no_baseline or Outcome.FAIL in summary.nodes.values():
        return Markup("")
    return _tile("Baseline", "none fits", f"{', '.join(summary.no_baseline)}: when these nodes are good, learn one")


def _names(names: Sequence[str]) -> Markup:
    """Folded; a list that is longer than anybody reads is cut, and says so."""
    text = fold(names)
    if len(text) <= _NAMES:
        return tag("code", text)
    return joined([tag("code", f"{text[:_NAMES]}…"), f" ({len(names):,} nodes; all of them: report.json)"])


# --- what to do -------------------------------------------------------------------------------------------------------


def _to_do(found: list[Trouble]) -> Markup:
    if not found:
        return _section("todo", "What to do", tag("p", "Nothing: no finding asks for anything.", class_="quiet"))
    rows = [_trouble(trouble) for trouble in found[:_TROUBLES]]
    if len(found) > _TROUBLES:
        rows.append(tag("li", f"{len(found) - _TROUBLES:,} more kinds of findings: report.json", class_="quiet"))
    return _section("todo", "What to do", tag("ol", joined(rows), class_="todo"), note=counted(len(found), "item"))


def _trouble(trouble: Trouble) -> Markup:
    first = trouble.verdicts[0]
    where = _names(trouble.where) if trouble.where else tag("code", EVERYBODY)
    of = f", {counted(len(trouble.verdicts), 'finding')}" if len(trouble.verdicts) > 1 else ""
    optional = "" if first.required else tag("span", "not required", class_="quiet")
    return tag(
        "li",
        badge(trouble.outcome.value),
        tag(
            "div",
            tag(
                "p",
                where,
                tag("span", of, class_="quiet"),
                " ",
                optional,
                " ",
                tag("span", trouble.code, class_="quiet"),
            ),
            tag("p", trouble.sentence, title=trouble.what),
            tag("p", trouble.remedy, class_="remedy") if trouble.remedy else "",
        ),
    )


def _bad_subjects(cards: list[Markup], summary: Summary, past: Past | None) -> Markup | str:
    if not cards:
        return ""
    subjects = len(measured_subjects(summary.bad))
    marks = [
        tag("li", tag("span", class_="key mark"), "this unit"),
        tag("li", tag("span", class_="key bars"), "its like, √ count"),
        tag("li", tag("span", class_="key center"), "their median"),
        tag("li", tag("span", class_="key outside"), "outside of its limit"),
        tag("li", tag("span", class_="key band"), "the baseline allows"),
    ]
    marks += (
        [tag("li", tag("span", class_="key line"), "earlier runs; dashed: the environment changed")] if past else []
    )
    rest = f"{subjects - CARDS:,} more: they are in the tables below and in report.json." if subjects > CARDS else ""
    return _section(
        "bad", "Bad units", tag("ul", joined(marks), class_="legend"), tag("div", joined(cards), class_="cards"),
        tag("p", rest, class_="note") if rest else "", note=counted(subjects, "unit"),
    )  # fmt: skip


# --- what was measured ------------------------------------------------------------------------------------------------


def _checks(values: Sequence[Values], summary: Summary, gallery: Gallery, fleet: Fleet) -> Markup:
    table = measured(values, summary, gallery, frozenset(fleet.nodes))
    return _section("checks", "What was measured", table, note=counted(len(summary.rows), "check"))


def _matrices(values: Sequence[Values], fleet: Fleet, summary: Summary) -> Markup | str:
    bad: dict[str, set[str]] = {}
    for verdict in summary.bad:
        if verdict.outcome in (Outcome.FAIL, Outcome.WARN) and verdict.subject.node:
            bad.setdefault(verdict.key, set()).add(verdict.subject.node)
    found = matrix.matrices(values, fleet.nodes, bad)
    if not found:
        return ""
    figures = [matrix.heat_map(one) for one in found]
    return _section("matrices", "Pairs", matrix.legend(), tag("div", joined(figures), class_="matrices"))


def _grid(ident: str, title: str, note: str) -> Markup:
    """Where the script puts a long table; without it, where else its content is."""
    words = "This table needs JavaScript. Its content is in run.h5: hpcaccept report --format csv."
    return _section(
        ident, title, tag("noscript", tag("p", words)), tag("div", class_="grid", data_grid=ident), note=note
    )


# --- what the run was -------------------------------------------------------------------------------------------------


def _about(judged: Judged, left_out: list[str]) -> Markup:
    evidence = judged.evidence
    plan, bound = evidence.plan, judged.summary.bound
    image = " ".join(part for part in (plan.image.runtime, bound.image, bound.digest) if part and part != "none")
    facts = {
        "Suite": f"{plan.suite.name}: {plan.suite.about} ({plan.suite.source})",
        "Asked for": _request(evidence),
        "Image": image or "none: the ranks ran on the nodes themselves",
        "Job": bound.job or "not known",
        "Versions": software_line(bound.software) or "not known",
        "hpcaccept": f"{bound.version} {bound.commit}",
        "Comparisons": _comparisons(judged.judgement),
        "Not bound to": ", ".join(bound.lacking) or "nothing that should be known: commit, image and driver are",
        "Nodes": _span(evidence.nodes),
        "Kinds of devices": ", ".join(sorted({subject.model for subject in evidence.samples.subjects if subject.model})) or "none",
        "Numbers": f"{len(evidence.samples):,} samples of {len(evidence.samples.keys):,} metrics in {len(evidence.records):,} records",
        "Not on this page": "; ".join(left_out) if left_out else "single repeats, texts that checks recorded, outputs of tools",
        "All of it": "run.h5 and report.json beside this page; as text: hpcaccept report --format csv",
    }  # fmt: skip
    rows = [joined([tag("dt", name), tag("dd", text)]) for name, text in facts.items()]
    parts = [tag("dl", joined(rows), class_="about"), _parameters(evidence), _limits(judged.judgement)]
    if evidence.events:
        parts.append(_events(evidence.events))
    return _section("about", "About this run", *parts)


def _comparisons(judgement: Judgement) -> str:
    """What each comparison was set for: the statistics behind the verdicts."""
    found = [
        f"against {ASKED[question]}: {sensitivity.comparisons:,} comparisons{stated_rate(sensitivity)}"
        for question, sensitivity in judgement.sensitivity.items()
        if sensitivity.comparisons and question in ASKED
    ]
    return "; ".join(found) or "none"


def _span(nodes: Sequence[str]) -> str:
    """First and last: all of them are in the table (and folding 16,384 names takes a second)."""
    if not nodes:
        return "none has said its name"
    return ", ".join(nodes) if len(nodes) < 4 else f"{nodes[0]} … {nodes[-1]}, {counted(len(nodes), 'node')}"


def _request(evidence: Evidence) -> str:
    request = evidence.plan.request
    words = [
        counted(request.nodes, "node"),
        f"{counted(request.gpus_per_node, 'GPU')} each" if request.gpus_per_node else "no GPU",
    ]
    words += [counted(request.ranks_per_node, "rank") + " each"]
    named = {"partition": request.partition, "nodelist": request.nodelist, "exclude": request.exclude}
    return ", ".join([*words, *(f"{name} {text}" for name, text in named.items() if text)])


def _parameters(evidence: Evidence) -> Markup:
    """Each parameter that a check was measured with, and who has set it."""
    rows = [(one.check, one.name, str(one.value), one.origin) for one in parameters_in_force(evidence)]
    return _details("Parameters in force", ("check", "parameter", "value", "set by"), rows)


def _limits(judgement: Judgement) -> Markup:
    """Each limit that values were held against, and where it comes from."""
    rows = []
    for one in limits_in_force(judgement):
        bounds = [f"{word} {_between(span, one.unit)}" for word, span in (("≥", one.lower), ("≤", one.upper)) if span]
        rows.append((one.key, " and ".join(bounds), f"{one.subjects:,}", one.origin, one.source))
    return _details("Limits in force", ("metric", "limit", "units", "set by", "because"), rows)


def _between(span: tuple[float, float], unit: str) -> str:
    loosest, tightest = (show(bound, unit) for bound in span)
    return loosest if loosest == tightest else f"{loosest} … {tightest}"


def _details(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table that opens when it is asked for."""
    lines = [tag("tr", tag("td", row[0], class_="name"), *(tag("td", text) for text in row[1:])) for row in rows]
    head = tag("thead", tag("tr", joined(tag("th", name, scope="col") for name in heads)))
    table = tag("div", tag("table", head, tag("tbody", joined(lines))), class_="wide")
    return tag("details", tag("summary", title), table)


def _events(events: Sequence[Event]) -> Markup:
    rows = []
    for event in events[:_EVENTS]:
        words = joined([event.detail, tag("span", f" → {event.remedy}", class_="quiet") if event.remedy else ""])
        where = _names(event.nodes) if event.nodes and event.kind not in ("started", "step_started") else ""
        rows.append(tag("tr", tag("td", event.at[11:19]), tag("td", event.kind.replace("_", " ")), tag("td", where), tag("td", event.check), tag("td", words)))  # fmt: skip
    if len(events) > _EVENTS:
        rows.append(tag("tr", tag("td", f"{len(events) - _EVENTS:,} more: report.json", colspan=5, class_="quiet")))
    heads = joined(tag("th", name, scope="col") for name in ("UTC", "what", "nodes", "check", "detail"))
    return tag(
        "details", tag("summary", "What happened, in order"),
        tag("div", tag("table", tag("thead", tag("tr", heads)), tag("tbody", joined(rows))), class_="wide"),
    )  # fmt: skip


def _foot(run: str) -> Markup:
    return tag("footer", tag("p", "Again, on whatever records there are: ", tag("code", f"hpcaccept report {run}")))
