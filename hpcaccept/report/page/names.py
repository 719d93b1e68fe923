"""What the names on the page mean: metrics and codes lead from where they stand to one list at its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.report.page.markup import Markup, joined, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.finding_code import FindingCode
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.verdict import Verdict

_BETTER = {"higher": "higher is better", "lower": "lower is better", "exact": "neither side is better"}


def anchor(kind: Literal["metric", "code"], name: str) -> str:
    """The id of an entry; nothing but letters, digits and ``._-``."""
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}"


def link_to(key: str, title: str) -> Markup:
    """The words for a metric, which lead to what it means."""
    return tag("a", title, href=f"#{anchor('metric', _bare(key))}", class_="term")


def without_variant(metric: Metric) -> str:
    """The words for all variants of a metric together."""
    return metric.named("…" if metric.title.endswith("{}") else "")


def meanings(values: Sequence[Values], bad: Iterable[Verdict]) -> Markup:
    """An entry for each metric, whatever its variants, and for each code."""
    metrics = {_bare(column.key): column.metric for column in values}
    entries = [
        joined([
            tag("dt", without_variant(metric), id=anchor("metric", key)),
            tag("dd", metric.help, " ", tag("span", f"{_BETTER[metric.direction]}; ", tag("code", key), class_="quiet")),
        ])
        for key, metric in sorted(metrics.items())
    ]  # fmt: skip
    codes = dict.fromkeys(verdict.code for verdict in bad if verdict.code)
    entries += [_code(code) for code in codes]
    return tag("dl", joined(entries), class_="about meanings")


def _code(code: FindingCode) -> Markup:
    return joined([
        tag("dt", tag("code", str(code)), id=anchor("code", str(code))),
        tag("dd", code.about.meaning, " ", tag("span", f"False alarms: {code.about.false_alarms}", class_="quiet")),
    ])  # fmt: skip


def _bare(key: str) -> str:
    return str(MetricKey.parse(key).bare)
