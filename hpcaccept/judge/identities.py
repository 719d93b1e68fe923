"""What the nodes say of themselves: the measured records of ``identity``, whatever its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import check_of
from hpcaccept.model.record_table import MEASURED

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.record import Record


def identities(evidence: Evidence) -> list[Record]:
    """The records of ``identity`` and ``identity:label``."""
    records = evidence.record_table
    names = [name for name in records.checks if check_of(name) == "identity"]
    return records.rows(records.of_checks(names) & ((records.flags & MEASURED) > 0))
