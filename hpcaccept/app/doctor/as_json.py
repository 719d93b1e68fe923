"""A diagnosis as JSON, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept import __version__
from hpcaccept.serial import to_plain

if TYPE_CHECKING:
    from hpcaccept.app.doctor import Diagnosis


def plain(diagnosis: Diagnosis) -> dict[str, Any]:
    """Tables, lists and scalars: ``findings`` in the order of the page, and the nodes' own words."""
    heard = diagnosis.heard
    return {
        "version": __version__,
        "launcher": diagnosis.case.launcher,
        "exit_code": diagnosis.exit_code,
        "findings": [to_plain(finding) for finding in diagnosis.findings],
        "nodes": [to_plain(node) for node in heard.nodes] if heard else [],
        "clocks": [to_plain(clock) for clock in heard.clocks] if heard else [],
        "stderr": heard.stderr if heard else "",
    }
