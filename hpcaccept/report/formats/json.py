"""The report for programs: ``report.json``, schema 3 (docs/reference/report-json.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hpcaccept.model.verdict import Outcome, Verdict
from hpcaccept.report.phrases import conclusion
from hpcaccept.report.provenance import limits_in_force, parameters_in_force
from hpcaccept.serial import to_plain

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

ABOUT = "For programs: every verdict with its value, limit and reason."

SCHEMA = 3
#: So many passing verdicts are listed one by one; of more it is said how many there are.
MOST_PASSES = 10_000


def render(judged: Judged) -> str:
    """Indented JSON with a line per verdict, keys in a fixed order, NaN refused."""
    evidence, judgement, summary = judged.evidence, judged.judgement, judged.summary
    plan, bound = evidence.plan, summary.bound
    end = evidence.ended_from_outside or (None if evidence.last_word else evidence.job)
    listed = summary.counts.get(Outcome.PASS.value, 0) <= MOST_PASSES
    verdicts = [*judgement.verdicts, *(judgement.passes() if listed else ())]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": plan.run_id,
        "hpcaccept": {"version": bound.version, "commit": bound.commit},
        "job": bound.job,
        "software": to_plain(dict(bound.software)),
        "not_bound_to": list(bound.lacking),
        "created_at": plan.created_at,
        "exit_code": judgement.exit_code,
        "strict_exit_code": judgement.strict_exit_code,
        "conclusion": to_plain(conclusion(judged)),
        "left_out": list(summary.left_out),
        "suite": {"name": plan.suite.name, "source": plan.suite.source, "baseline": plan.suite.baseline},
        "request": to_plain(plan.request),
        "image": {**to_plain(plan.image), "digest": bound.digest},
        "launcher": plan.launcher,
        "nodes": {name: outcome.value for name, outcome in summary.nodes.items()},
        "counts": summary.counts,
        "coverage": to_plain(judgement.coverage),
        "sensitivity": {question: to_plain(sensitivity) for question, sensitivity in judgement.sensitivity.items()},
        "notes": list(summary.notes),
        "checks": [to_plain(row) for row in summary.rows],
        "parameters": [to_plain(one) for one in parameters_in_force(evidence)],
        "limits": [to_plain(one) for one in limits_in_force(judgement)],
        "imports_s": evidence.imports_s,
        "job_end": to_plain(end) if end else None,
        "events": [to_plain(event) for event in evidence.events],
        "passes": "listed" if listed else "counted",
    }
    head = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    # One line each: indenting is done in Python, and there may be tens of thousands.
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    lines = ",\n  ".join(encode(_verdict(verdict)) for verdict in verdicts)
    return f'{head},\n "verdicts": [\n  {lines}\n ]\n}}\n'


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome.value,
        "code": str(verdict.code) if verdict.code else None,
        "question": verdict.question,
        "node": verdict.subject.node,
        "device": verdict.subject.device,
        "check": verdict.check,
        "metric": verdict.metric,
        "variant": verdict.variant,
        "value": verdict.value,
        "unit": verdict.unit,
        "limit": vars(verdict.limit) if verdict.limit else None,
        "required": verdict.required,
        "reason": verdict.reason,
        "remedy": verdict.remedy,
    }
