"""Every sample of a run as a table for notebooks and spreadsheets: nothing is left out and nothing rounded."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.report.printable import cell

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

ABOUT = "For notebooks and spreadsheets: every sample, with all digits, in SI units."

HEADER = ("run", "node", "device", "device_id", "check", "metric", "variant", "launch", "repeat", "value")


def render(judged: Judged) -> str:
    """One line per sample, RFC 4180 with line feeds; values in SI units, as many digits as they have.

    Text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    evidence = judged.evidence
    table = evidence.samples
    subjects = [tuple(map(cell, (subject.node, subject.device, subject.device_id))) for subject in table.subjects]
    named = map(MetricKey.parse, table.keys)
    keys = [tuple(map(cell, (key.check_name, key.metric, key.variant))) for key in named]
    run = cell(evidence.plan.run_id)
    columns = (
        table.subject.tolist(),
        table.key.tolist(),
        table.launch.tolist(),
        table.repeat.tolist(),
        table.value.tolist(),
    )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(
        (run, *subjects[subject], *keys[key], launch, repeat, value)
        for subject, key, launch, repeat, value in zip(*columns, strict=True)
    )
    return out.getvalue()
