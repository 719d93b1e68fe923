"""The answer of an isolation for programs: ``isolation-report.json``, schema 1 (docs/reference/isolation-json.md)."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hpcaccept.report.isolation.answer import excluded, exit_code_of, findings, sentence_of, word_of
from hpcaccept.serial import to_plain

if TYPE_CHECKING:
    from hpcaccept.model.isolation import Fault, Suspicion
    from hpcaccept.model.isolation_order import EndedTest
    from hpcaccept.report.isolation.answer import IsolationAnswer

SCHEMA = 1


def render(answer: IsolationAnswer) -> str:
    """Indented JSON, keys in a fixed order. What is no number (nothing was measured) is null."""
    conclusion, order = answer.conclusion, answer.order
    missable = conclusion.missable
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": answer.run_id,
        "exit_code": exit_code_of(answer),
        "word": word_of(answer),
        "sentence": sentence_of(answer),
        "what": {"check": order.check, "command": list(order.command), "metric": order.metric if order.check else ""},
        "until": order.until,
        "budget_s": order.budget_s,
        "earlier_run": order.earlier,
        "nodes": list(answer.nodes),
        "exclude": excluded(answer),
        "nothing_wrong": _number(conclusion.nothing_wrong),
        "findings": [
            {
                "code": str(one.code),
                "where": one.where,
                "posterior": _number(one.posterior),
                "blamed": one.blamed,
                "sentence": one.sentence,
                "action": one.action,
                "next_test": one.next_test,
            }
            for one in findings(answer)
        ],
        "suspicions": [_suspicion(one) for one in conclusion.suspicions],
        "unattributed": list(conclusion.unattributed),
        "at_scale": conclusion.at_scale,
        "missable": {
            "untested": list(missable.untested),
            "remaining": _number(missable.remaining),
            "fabric": _number(missable.fabric),
            "fail_share": _number(missable.fail_share),
            "loss": _number(missable.loss),
            "largest_group": missable.largest_group,
            "links_tested": _number(missable.links_tested),
        },
        "end": to_plain(answer.end) if answer.end else None,
        "rounds": [to_plain(one) for one in answer.rounds],
        "tests": [_test(test) for test in answer.tests],
        "posterior": {node: _number(value) for node, value in conclusion.posterior.items()},
        "unreadable_lines": answer.unreadable,
    }
    return (
        json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode() + "\n"
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _fault(fault: Fault) -> dict[str, Any]:
    return {"kind": fault.kind, "where": list(fault.where), "size": fault.size, "loss": _number(fault.loss)}


def _suspicion(one: Suspicion) -> dict[str, Any]:
    return {
        "fault": _fault(one.fault),
        "posterior": _number(one.posterior),
        "blamed": one.blamed,
        "confirmed": one.confirmed,
        "for": list(one.evidence_for),
        "against": list(one.evidence_against),
        "instead": [{"fault": _fault(fault), "posterior": _number(value)} for fault, value in one.instead],
        "next_test": list(one.next_test) if one.next_test else None,
    }


def _test(test: EndedTest) -> dict[str, Any]:
    return {
        "id": test.test.id,
        "round": test.test.round,
        "nodes": list(test.test.nodes),
        "suspects": list(test.test.suspects),
        "asks": test.test.asks,
        "outcome": test.kind,
        "silent": list(test.silent),
        "value": test.value,
        "wall_s": test.wall_s,
        "measured_s": test.measured_s,
        "step": test.step,
        "how": test.how,
    }
