"""Two runs side by side at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from hpcaccept.model.comparison import Comparison, MetricChange

_STYLES = {"alike": "green", "environment": "yellow", "hardware": "bold red", "undecided": "magenta"}
#: Names and sentences shown of each kind; all of them are in the JSON.
_SHOWN = 30


def render_comparison(found: Comparison) -> RenderableType:
    """What is different, number by number, then what follows."""
    parts: list[RenderableType] = [Text(safe(f"{found.earlier} → {found.later}"), style="bold")]
    for what, names in (
        ("nodes gone", found.nodes_gone),
        ("nodes new", found.nodes_new),
        ("subjects gone", found.subjects_gone),
        ("subjects new", found.subjects_new),
        ("subjects moved", tuple(f"{subject}: {old} → {new}" for subject, (old, new) in found.moved.items())),
        ("verdicts", tuple(f"{node}: {old} → {new}" for node, (old, new) in found.outcomes.items())),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(Text(safe(f"{what}: {', '.join(names[:_SHOWN])}{more}"), overflow="fold"))
    parts += [_metrics(found.metrics)] if found.metrics else []
    for key, why in found.not_compared.items():
        parts.append(Text(safe(f"not compared {key}: {why}"), style="dim"))
    lines = (
        found.conclusion if len(found.conclusion) <= _SHOWN else (*found.conclusion[: _SHOWN - 1], found.conclusion[-1])
    )
    parts += [Text(safe(line), overflow="fold") for line in lines]
    if len(lines) < len(found.conclusion):
        parts.append(Text(f"{len(found.conclusion) - len(lines)} more sentences with --json.", style="dim"))
    parts.append(Text(f"{found.cause.upper()} (exit code {found.exit_code})", style=_STYLES[found.cause]))
    return Group(*parts)


def _metrics(metrics: tuple[MetricChange, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("metric", "pairs", "in common", "seen from", "worse", "better", "cause"):
        table.add_column(name, justify="left" if name in ("metric", "cause") else "right", overflow="fold")
    for row in metrics:
        table.add_row(
            Text(safe(row.key)),
            str(row.pairs),
            f"{0.0 - row.common:+.2%}",
            f"{row.seen:.2%}",
            str(len(row.worse) or ""),
            str(len(row.better) or ""),
            Text(row.cause if not row.worse else "hardware", style=_STYLES["hardware" if row.worse else row.cause]),
        )
    return table
