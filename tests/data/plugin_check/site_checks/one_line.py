"""Prints a report as one line, for a chat room."""

from __future__ import annotations

from typing import Any

ABOUT = "One line for a chat room: the run and its exit code."


def render(judged: Any) -> str:
    """The run and its exit code."""
    return f"{judged.evidence.plan.run_id}: {judged.judgement.exit_code}\n"
