"""A run for a continuous-integration server: JUnit XML with a test case per check and node, and one for the run as a whole.

FAIL is ``<failure>``, ERROR is ``<error>``. What was not judged (NOT_RUN; NO_BASELINE, where nothing else judged the node by that check) is
``<skipped>`` with its reason: it blames nobody. Because a server takes skipped for good, the run as a whole is a case of its own,
which fails or errs whenever the exit code is not 0. WARN passes, and its words are in ``<system-out>``.

The form that Jenkins, GitLab and GitHub's actions read: https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from hpcaccept.model.verdict import Outcome, worst
from hpcaccept.report.junit_parts import sum_up, xml_text
from hpcaccept.report.phrases import conclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.judged import Judged

ABOUT = "For a CI server: one test case per check and node."

#: Findings quoted in one case; the rest is counted.
SHOWN = 20
#: Records of runs whose cases have a duration.
TIMED = 20_000
_ELEMENT = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.NOT_RUN: "skipped", Outcome.NO_BASELINE: "skipped"}


def render(judged: Judged) -> str:
    """An XML document with one ``testsuite`` per check; nodes that never said their name have a case too."""
    evidence, judgement, summary = judged.evidence, judged.judgement, judged.summary
    by_place: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in judgement.verdicts:
        by_place.setdefault((verdict.check, verdict.subject.node), []).append(verdict)
    seconds = _seconds(evidence)
    root = ET.Element("testsuites", name=xml_text(f"hpcaccept {evidence.plan.run_id}"))
    root.append(_run(judged))
    for row in summary.rows:
        missing = judgement.coverage.gaps.get(row.name, ())
        gaps = frozenset(missing)
        suite = ET.SubElement(
            root, "testsuite", name=xml_text(row.name), timestamp=xml_text(evidence.plan.created_at[:19])
        )
        for node in evidence.nodes:
            place = (row.name, node)
            suite.append(_case(row.name, node, by_place.get(place, []), node in gaps, seconds.get(place, 0.0)))
        for number in range(missing.count("?")):
            suite.append(_case(row.name, f"node without a name {number + 1}", [], True, 0.0))
        if together := by_place.get((row.name, "")):
            suite.append(_case(row.name, "all nodes together", together, False, 0.0))
        sum_up(suite)
    sum_up(root)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _seconds(evidence: Evidence) -> dict[tuple[str, str], float]:
    """(check, node) → longest measurement of its ranks; empty for large runs, whose records take long to read."""
    found: dict[tuple[str, str], float] = {}
    for record in evidence.records if len(evidence.records) <= TIMED else ():
        place = (record.check, record.node)
        found[place] = max(found.get(place, 0.0), record.duration_s)
    return found


def _run(judged: Judged) -> ET.Element:
    """The verdict on the run: a case that is never skipped."""
    ended = conclusion(judged)
    suite = ET.Element("testsuite", name="run", timestamp=xml_text(judged.evidence.plan.created_at[:19]))
    case = ET.SubElement(suite, "testcase", classname="hpcaccept.run", name="accepted", time="0.000")
    if judged.judgement.exit_code:
        kind = "failure" if judged.judgement.exit_code == 1 else "error"
        ET.SubElement(case, kind, type=ended.word, message=xml_text(ended.sentence))
    sum_up(suite)
    return suite


def _case(check: str, node: str, verdicts: Sequence[Verdict], gap: bool, seconds: float) -> ET.Element:
    """One check on one node, by the worst that counts; a gap that nothing explains is skipped and says so."""
    counting = [v for v in verdicts if v.outcome.is_judged or v.required or gap]
    outcome = worst([v.outcome for v in counting]) if counting else Outcome.NOT_RUN if gap else Outcome.PASS
    if outcome in (Outcome.NOT_RUN, Outcome.NO_BASELINE) and not gap:
        outcome = Outcome.PASS  # something else was judged here: one number without a baseline does not skip the rest
    case = ET.Element("testcase", classname=xml_text(f"hpcaccept.{check}"), name=xml_text(node), time=f"{seconds:.3f}")
    mine = [v for v in verdicts if v.outcome is outcome]
    told = mine or list(verdicts)
    body = "\n".join(
        f"{v.outcome.value}{f' [{v.code}]' if v.code else ''} {v.subject} {v.key}: {v.reason}{f' → {v.remedy}' if v.remedy else ''}"
        for v in told[:SHOWN]
    )
    body += f"\nand {len(told) - SHOWN} more: report.json" if len(told) > SHOWN else ""
    if outcome in _ELEMENT:
        message = mine[0].reason if mine else "nothing was judged here"
        found = ET.SubElement(case, _ELEMENT[outcome], message=xml_text(message))
        if outcome in (Outcome.FAIL, Outcome.ERROR):
            found.set("type", outcome.value)
        found.text = _lines(body)
    elif body:
        ET.SubElement(case, "system-out").text = _lines(body)
    return case


def _lines(text: str) -> str:
    return "\n".join(xml_text(line) for line in text.split("\n"))
