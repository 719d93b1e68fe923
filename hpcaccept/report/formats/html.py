"""A run in a browser: one page that carries everything. No network, no code but its own, no text that acts.

Verdict first, then every finding once with its plots and what to do, what was measured, matrices, every node and device, what the run
was, and what the names mean. Verdicts and findings are plain HTML; only the long tables need the page's script. The Content-Security-Policy
allows exactly the style and the script of this page, by their hashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.model.verdict import Outcome
from hpcaccept.report.model import ORDER
from hpcaccept.report.page import matrix
from hpcaccept.report.page.bad_subjects import Gallery, names_of
from hpcaccept.report.page.columns import Fleet, tables
from hpcaccept.report.page.document import document
from hpcaccept.report.page.markup import Markup, data_block, joined, tag
from hpcaccept.report.page.measured import measured
from hpcaccept.report.page.names import meanings
from hpcaccept.report.page.node_map import node_map
from hpcaccept.report.phrases import ASKED, conclusion, counted, sight, stated_rate
from hpcaccept.report.provenance import duration_in_words, fact_of, limits_in_force, parameters_in_force, software_line
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge import Judgement
    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.event import Event
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past
    from hpcaccept.report.judged import Judged
    from hpcaccept.report.model import Summary
    from hpcaccept.report.phrases import Conclusion

ABOUT = "For a browser, a customer or an archive: one page that needs no network, with everything but single repeats."

_HERE = Path(__file__).parents[1] / "page"
#: Events that are shown; the rest is counted.
_EVENTS = 100
_STATE = {"ACCEPTED": "PASS", "NOT ACCEPTED": "FAIL", "NOT JUDGED": "ERROR"}


def render(judged: Judged) -> str:
    """The page, whole."""
    evidence, values, judgement = judged.evidence, judged.values, judged.judgement
    summary, past = judged.summary, judged.past
    ended = conclusion(judged)
    fleet = Fleet(evidence, judgement.table.subjects)
    gallery = Gallery(values, judgement.table, fleet, past, lambda subject: fact_of(evidence, subject, "gpu_serial"))
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
        _head(run),
        tag(
            "main",
            _verdict(judged, ended),
            _findings(cards, past),
            _checks(values, summary, gallery, fleet),
            _matrices(values, fleet, summary),
            _grid("nodes", "Nodes", counted(len(fleet.nodes), "node")),
            _grid("devices", "Devices", counted(len(fleet.devices), "device")) if len(fleet.devices) else "",
            _about(judged, left_out),
            _section("names", "What the names mean", meanings(values, summary.bad)),
        ),
        _foot(run),
        gallery.symbols(),
        data_block("data", data),
    ]
    return document(f"{ended.word}: {run}", style, body, script)


def _head(run: str) -> Markup:
    return tag("header", tag("p", "hpcaccept · acceptance report", class_="eyebrow"), tag("h1", run), class_="page")


def _section(ident: str, title: str, *content: str, note: str = "") -> Markup:
    heading = tag("h2", title, tag("span", note, class_="count") if note else "", id=f"{ident}-title")
    return tag("section", heading, joined(content), id=ident, aria_labelledby=f"{ident}-title")


# --- the verdict ------------------------------------------------------------------------------------------------------


def _verdict(judged: Judged, ended: Conclusion) -> Markup:
    judgement, summary = judged.judgement, judged.summary
    tiles = [_nodes_tile(judged.evidence, summary), _coverage_tile(judgement), _baseline_tile(summary)]
    silent = judgement.coverage.nodes_silent
    parts = [
        tag("h2", ended.word, id="verdict-title"),
        tag("p", ended.sentence, class_="sentence"),
        tag("dl", joined(tiles), class_="tiles"),
        node_map(summary.nodes, ORDER),
        _facts(judged),
        tag("p", tag("strong", "Never reported: "), names_of(silent), class_="note") if silent else "",
        *(tag("p", note, class_="note") for note in summary.notes),
    ]
    state = f"verdict {_STATE[ended.word]}"
    return tag("section", joined(parts), id="verdict", class_=state, aria_labelledby="verdict-title")


def _facts(judged: Judged) -> Markup:
    """What was tested where, for whom, when, and with what: a line each."""
    evidence, bound = judged.evidence, judged.summary.bound
    plan = evidence.plan
    started = next((event for event in evidence.events if event.kind == "started"), None)
    parts = sorted({subject.model for subject in evidence.samples.subjects if subject.model})
    per_node = f" × {counted(plan.request.gpus_per_node, 'GPU')}" if plan.request.gpus_per_node else ""
    account = f"account {plan.request.account}" if plan.request.account else ""
    facts = {
        "Cluster": (started.cluster if started else "") or f"not known (launcher {plan.launcher})",
        "Partition": ", ".join(filter(None, (plan.request.partition, account))) or "the default one",
        "Tested": f"{counted(plan.request.nodes, 'node')}{per_node}, suite {plan.suite.name}",
        "Hardware": ", ".join(parts) or "not known",
        "Run by": (started.user if started else "") or "not known",
        "When": f"{plan.created_at[:19].replace('T', ' ')} UTC",
        "Took": duration_in_words(evidence) or "not known",
        "Job": bound.job or "not known",
        "Software": software_line(bound.software) or "not known",
        "Image": " ".join(filter(None, (bound.image, bound.digest[:19]))) or "none: on the nodes themselves",
    }
    rows = [tag("div", tag("dt", name), tag("dd", text)) for name, text in facts.items()]
    return tag("dl", joined(rows), class_="lines")


def _tile(name: str, figure: str, text: str = "", drawing: str = "") -> Markup:
    return tag("div", tag("dt", name), tag("dd", tag("span", figure, class_="figure"), drawing, tag("span", text, class_="quiet")))  # fmt: skip


def _nodes_tile(evidence: Evidence, summary: Summary) -> Markup:
    counts = dict.fromkeys(ORDER, 0)
    for outcome in summary.nodes.values():
        counts[outcome] += 1
    asked = evidence.plan.request.nodes
    unknown = max(asked - len(summary.nodes), 0)
    words = [f"{count:,} {outcome.value.replace('_', ' ')}" for outcome, count in counts.items() if count]
    words += [f"{unknown:,} not in the job"] if unknown else []
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
    return _tile("Checks judged", text, f"{cover.judged:,} of {cover.asked:,}, counted per node", bar)


def _baseline_tile(summary: Summary) -> Markup:
    if not summary.no_baseline or Outcome.FAIL in summary.nodes.values():
        return Markup("")
    return _tile("Baseline", "none fits", f"{', '.join(summary.no_baseline)}: when these nodes are good, learn one")


# --- what was found ---------------------------------------------------------------------------------------------------


def _findings(cards: list[Markup], past: Past | None) -> Markup:
    title = "Findings, and what to do"
    if not cards:
        return _section("findings", title, tag("p", "None: there is nothing to do.", class_="quiet"))
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
    drawn = any("<figure>" in card for card in cards)
    legend = tag("ul", joined(marks), class_="legend") if drawn else ""
    return _section(
        "findings", title, legend, tag("div", joined(cards), class_="cards"), note=f"{len(cards):,}, the worst first"
    )


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
        "Slowdowns found": _seen(judged.judgement),
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


def _seen(judgement: Judgement) -> str:
    """How small a slowdown each comparison finds."""
    found = [
        f"against {ASKED[question]}: {', '.join(sight(kind) for kind in sensitivity.kinds)}"
        for question, sensitivity in judgement.sensitivity.items()
        if sensitivity.kinds and question in ASKED
    ]
    return f"half of the time (19 times of 20) {'; '.join(found)}" if found else "not known"


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
        where = names_of(event.nodes) if event.nodes and event.kind not in ("started", "step_started") else ""
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
