"""The page of answers, docs/reference/answers.md: "it says X, what now?", from the table of codes and from every error that the code raises."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.model.finding_code import FindingCode

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "hpcaccept"
#: Errors of which a person reads message and remedy.
_ERRORS = {
    "UsageError",
    "PluginError",
    "RunError",
    "StoreError",
    "RunFolderFull",
    "LaunchError",
    "ToolError",
    "HpcacceptError",
}
#: Part of the package → whom its errors speak to, in the order of the page.
_ROOMS = {
    "cli": "Options and arguments",
    "config": "Settings, suites and files that people write",
    "plan": "Settings, suites and files that people write",
    "app/run": "Submitting and reading a run",
    "store": "Run folders, baselines and the history",
    "app/baseline": "Run folders, baselines and the history",
    "launch": "Starting a job",
    "container": "Images",
    "app/images": "Images",
    "app/azure": "Azure",
    "provider/azure": "Azure",
    "app/vast": "Rented machines",
    "provider/vast": "Rented machines",
    "app/schedule": "Scheduled runs",
    "app/matrix": "The matrix",
    "": "Everything else",
}
_HEAD = """# It says …, what now?

Made from the table of codes and from every error of the code; a test holds it to both (`HPCACCEPT_ACCEPT=1 pytest tests/unit/test_answers.py` writes it).
Search this page for the words that you see; `…` stands for a name or a number, `NODE` for the node, `RUN` for the run.

## The first line of a report, and the exit code

| it says | exit code | what now |
|---|---|---|
| `ACCEPTED` | 0 | Nothing: every node passed all that is required. What was left out stands in the same sentence. |
| `NOT ACCEPTED` | 1 | Keep work off the nodes that are named. Each stands below with its finding and what to do. |
| `NOT JUDGED` | 3 | No node is blamed. The sentence and *Not judged:* below say what is missing; mend that and submit again. |
| `Error: …` | 2 | The command or a file is wrong, and nothing was started. The line after `→` says what to type; below is each by its words. |
| `Error: …` | 3 | Something outside is wrong: a scheduler, an image, a disk. The line after `→` says what to do. |
"""


@functools.cache
def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## A code in brackets\n", "Evidence and known false alarms of each: [codes.md](codes.md).\n"]
    parts += ["| it says | that means | what now |", "|---|---|---|"]
    parts += [
        f"| [`{code}`](codes.md#{code}) | {_cell(code.about.meaning)} | {_cell(code.about.action)} |"
        for code in FindingCode
    ]
    rooms: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text("utf-8")
        rooms[_room(str(file.relative_to(PACKAGE)))].update(errors_of(source) if "Error(" in source else ())
    for room in dict.fromkeys(_ROOMS.values()):
        if rooms[room]:
            parts += [f"\n## {room}\n", "| it says | what now |", "|---|---|"]
            parts += [f"| {_cell(says)} | {_cell(then)} |" for says, then in sorted(rooms[room])]
    return "\n".join(parts) + "\n"


def errors_of(source: str) -> Iterator[tuple[str, str]]:
    """Message and remedy of each error that has both, with … for what is only known when it is raised."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ERRORS:
            given = {word.arg: word.value for word in node.keywords}
            says, then = (_text(part) for part in [*node.args, given.get("remedy")][:2]) if node.args else ("", "")
            if len(re.sub(r"\W|…", "", says)) > 8 and then:
                yield says, then


def _text(node: ast.AST | None) -> str:
    """A literal; nothing where it is put together elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return re.sub(r"…[…\s]*…", "…", "".join(_text(part) or "…" for part in node.values))
    return ""


def _room(name: str) -> str:
    return next(room for start, room in _ROOMS.items() if name.startswith(start))


def _cell(text: str) -> str:
    """One cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
