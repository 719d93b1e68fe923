"""Each judged value beside baseline, peers and own past, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hpcaccept.model.verdict import device_name
from hpcaccept.report.deviations import deviations_of, lines_of
from hpcaccept.report.printable import safe
from hpcaccept.units import show

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

#: Rows for people; all of them are in deviations-csv.
SHOWN = 500


def deviation_table(judged: Judged, node: str = "") -> Table:
    """Node, device, metric, value, and its deviation from baseline, peers and own past."""
    found = deviations_of(judged.judgement.table, node)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("node", overflow="fold")
    table.add_column("device", no_wrap=True)
    table.add_column("metric", overflow="fold")
    for name in ("value", "baseline", "peers", "own past"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one, said in lines_of(found[:SHOWN]):
        table.add_row(
            Text(safe(one.node)),
            Text(safe(device_name(one.device))),
            Text(safe(one.title)),
            show(one.value, one.metric.unit),
            *said.values(),
            one.outcome.value,
        )
    if len(found) > SHOWN:
        table.caption = (
            f"The worst {SHOWN} of {len(found):,} values; all of them: hpcaccept report --format deviations-csv"
        )
    return table
