"""A diagnosis for people at a terminal: one line for each thing, and beneath what is not well what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpcaccept.report.phrases import counted, fold
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.doctor.finding import Finding, Mark

_STYLE: dict[Mark, str] = {"ok": "green", "warning": "yellow", "wrong": "bold red", "unknown": "magenta"}
#: Lines of what a container wrote: enough for Enroot's own log.
_SHOWN = 20


def render_findings(findings: Sequence[Finding], nodes: int) -> Table:
    """The lines, aligned.

    Args:
        findings: in their order.
        nodes: how many have spoken: what is said of all of them, or of most, needs no names.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.mark, style=_STYLE[finding.mark]), Text(safe(finding.look)), _told(finding, nodes))
    return table


def _told(finding: Finding, nodes: int) -> Text:
    text = Text(safe(f"{_whose(finding, nodes)}{finding.found}"))
    if finding.expected:
        text.append(safe(f", expected {finding.expected}"), style="dim" if finding.mark == "ok" else "")
    if finding.remedy:
        text.append(f"\n→ {safe(finding.remedy)}", style="dim")
    return text


def _whose(finding: Finding, nodes: int) -> str:
    """``4 nodes: `` for those that agree, ``node[2-3]: `` for those that differ."""
    many = len(finding.nodes)
    if not many:
        return ""
    if finding.mark == "ok" and many > 1 and 2 * many > nodes:
        return f"{counted(many, 'node')}: "
    return f"{fold(finding.nodes)}: " if many < nodes or many == 1 else f"{counted(many, 'node')}: "


def print_findings(findings: Sequence[Finding], nodes: int, stderr: str = "") -> None:
    """To standard output, as wide as it is: the lines, the last words of what did not start, and the conclusion."""
    console = Console(highlight=False)
    console.print(render_findings(findings, nodes))
    lines = [safe(line) for line in stderr.splitlines() if line.strip()]
    if lines:
        title = f"The last {_SHOWN} of {len(lines)} lines that" if len(lines) > _SHOWN else "What"
        console.print(Text(f"\n{title} the launcher and what it started wrote:", style="dim"))
        console.print(Text("\n".join(lines[-_SHOWN:]), style="dim"), soft_wrap=True)
        console.print()
    console.print(Text(conclusion(findings), style=_STYLE["ok" if _well(findings) else "wrong"]))


def _well(findings: Sequence[Finding]) -> bool:
    return not any(finding.mark in ("wrong", "unknown") for finding in findings)


def conclusion(findings: Sequence[Finding]) -> str:
    """In one sentence."""
    marks = [finding.mark for finding in findings]
    parts = [f"{marks.count('wrong')} wrong"] if "wrong" in marks else []
    parts += [f"{marks.count('unknown')} could not be looked at"] if "unknown" in marks else []
    parts += [counted(marks.count("warning"), "warning")] if "warning" in marks else []
    begin = "Nothing is wrong" if _well(findings) else "Not ready"
    return f"{begin}: {', '.join(parts)}." if parts else f"{begin}."
