"""Every sample of a run as a table for notebooks and spreadsheets (needs the [report] extra: pandas)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError
from hpcaccept.model.metric import split_key

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence


def render_csv(evidence: Evidence) -> str:
    """One line per sample: run, node, device, device_id, check, metric, variant, launch, repeat, value.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UsageError("CSV needs pandas.", "pip install 'hpcaccept[report]'") from None
    table = evidence.samples
    parts = [split_key(key) for key in table.keys]
    frame = pd.DataFrame(
        {
            "run": evidence.plan.run_id,
            "node": [table.units[u].node for u in table.unit],
            "device": [table.units[u].device for u in table.unit],
            "device_id": [table.units[u].device_id for u in table.unit],
            "check": [parts[k][0] for k in table.key],
            "metric": [parts[k][1] for k in table.key],
            "variant": [parts[k][2] for k in table.key],
            "launch": table.launch,
            "repeat": table.repeat,
            "value": table.value,
        }
    )
    text: str = frame.to_csv(index=False)
    return text
