"""All machines of a run in a browser: one page that carries everything and loads nothing, in the style of the acceptance report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import report
from hpcaccept.provider.vast import failures
from hpcaccept.report.page.document import document
from hpcaccept.report.page.markup import Markup, joined, tag

if TYPE_CHECKING:
    from hpcaccept.app.vast.journal import Decided
    from hpcaccept.app.vast.results import Results

_STYLE = Path(report.__file__).parent / "page" / "page.css"
_WORDS = {0: "ACCEPTED", 1: "NOT ACCEPTED", 3: "NOT JUDGED"}
_STATES = {0: "PASS", 1: "FAIL", 3: "ERROR"}
_OF_OUTCOME = {"verified": "PASS", "failed": "FAIL", "refuted": "FAIL", "inconclusive": "ERROR"}
_LIMITS = (
    "Proved is a throughput that was reached behind the machine's address during the rental. It is not proved which GPU it was, where it stands, that nobody else "
    "uses it, and that the work was not passed on to another machine. Numbers under “claimed by host” were sent by the machine and checked by nobody."
)


def render(results: Results) -> str:
    """The page, whole."""
    style = _STYLE.read_text("utf-8")
    body = [
        _head(results),
        tag("main", _verdict(results), _machines(results), *map(_details, results.machines), _about(results)),
    ]
    return document(f"{_WORDS[results.exit_code]}: {results.begun.run}", style, body)


def _head(results: Results) -> Markup:
    facts = f"{len(results.machines)} machines · {results.since:%Y-%m-%d %H:%M} UTC · {results.usd:.4f} USD"
    return tag(
        "header",
        tag("p", "hpcaccept · rented machines", class_="eyebrow"),
        tag("h1", results.begun.run),
        tag("p", facts, class_="facts"),
        class_="page",
    )


def _verdict(results: Results) -> Markup:
    counts = ((each, results.count(each)) for each in failures.OUTCOMES)
    tiles = [
        tag("div", tag("dt", name.capitalize()), tag("dd", tag("span", str(count), class_="figure")))
        for name, count in counts
    ]
    notes = []
    if results.left:
        notes.append(
            f"Instances {', '.join(str(each) if each else 'of unknown number' for each in results.left)} may still be billed: hpcaccept vast reap --run {results.begun.run} --yes"
        )
    if not results.finished:
        notes.append("The client has not ended by itself; what it had not decided is inconclusive.")
    if results.rejected:
        notes.append(f"{results.rejected} price increases were rejected.")
    sentence = f"{results.count('verified')} of {len(results.machines)} machines are verified."
    return tag(
        "section",
        tag("h2", _WORDS[results.exit_code], id="verdict-title"),
        tag("p", sentence, class_="sentence"),
        tag("dl", joined(tiles), class_="tiles"),
        *(tag("p", note, class_="note") for note in notes),
        id="verdict",
        class_=f"verdict {_STATES[results.exit_code]}",
        aria_labelledby="verdict-title",
    )


def _machines(results: Results) -> Markup:
    header = tag(
        "tr",
        *(
            tag("th", each, scope="col")
            for each in ("Machine", "GPUs", "Outcome", "Code", "USD/h", "USD", "Load", "Tests")
        ),
    )
    rows = [tag("tr", *(tag("td", each) for each in _row(decided))) for decided in results.machines]
    table = tag("table", tag("thead", header), tag("tbody", joined(rows)))
    return tag(
        "section", tag("h2", "Machines", id="machines-title"), table, id="machines", aria_labelledby="machines-title"
    )


def _row(decided: Decided) -> list[str]:
    outcome = failures.outcome_of(decided.code)
    offer = decided.offer
    gpus = f"{offer.get('num_gpus', '?')} × {offer.get('gpu_name', '?')}" if offer else "not listed"
    return [
        tag("a", str(decided.machine), href=f"#m{decided.machine}"),
        gpus,
        tag("span", outcome, class_=f"badge {_OF_OUTCOME[outcome]}"),
        decided.code,
        f"{offer['dph_total']:.4f}" if "dph_total" in offer else "–",
        f"{decided.usd:.4f}",
        _seconds(decided, "load"),
        _seconds(decided, "tests"),
    ]


def _seconds(decided: Decided, stage: str) -> str:
    return f"{decided.seconds[stage]:.0f} s" if stage in decided.seconds else "–"


def _details(decided: Decided) -> Markup:
    failure = failures.FAILURES.get(decided.code)
    parts = [tag("h3", f"Machine {decided.machine}", id=f"m{decided.machine}")]
    if failure:
        parts += [tag("p", failure.summary), tag("p", failure.remedy, class_="quiet")]
    if decided.text:
        parts.append(tag("p", decided.text))
    for title, values in (("Proved", decided.proved), ("Claimed by host", decided.claimed), ("Listed", decided.offer)):
        if values:
            items = [joined((tag("dt", str(name)), tag("dd", str(value)))) for name, value in values.items()]
            parts.append(tag("details", tag("summary", title), tag("dl", joined(items), class_="tiles")))
    return tag("section", joined(parts))


def _about(results: Results) -> Markup:
    begun = results.begun
    facts = (
        f"Requirements: {begun.requirements}. Image: {begun.image}. Caps: {begun.max_usd:g} USD, {begun.max_hours:g} h. "
        f"Limits: loaded within {begun.load_s:g} s, tests within {begun.test_s:g} s, an answer every {begun.silence_s:g} s."
    )
    return tag(
        "section",
        tag("h2", "What this says", id="about-title"),
        tag("p", facts),
        tag("p", _LIMITS),
        id="about",
        aria_labelledby="about-title",
    )
