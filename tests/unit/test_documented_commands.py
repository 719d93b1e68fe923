"""Every command that a page of the docs shows exists as it is typed: programs, options and their values.

A word in capitals, or one with … in it, stands for what the reader fills in (``RUN``, ``--nodelist NODE,…``): such a line is a shape, and only
its commands and options are held to the program. All others are read as a shell and click would.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from hpcaccept.cli import group as root
from hpcaccept.cli.options import NodesOrWord

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "azure/README.md"])
#: What ends a command in a shell.
_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", ")"}
#: A word that stands for another one.
_SHAPE = re.compile(r"[…]|\.\.\.|(?<![A-Za-z0-9$_{-])[A-Z][A-Z0-9_]*(?![A-Za-z0-9_}=])|^[A-Z]+=?$|<\w+>")
#: The program, where a shell would take it for one; not in the comment behind another command.
_START = re.compile(r"(?<![\w./~=\x22-])(?:(?:\S*/)?python3? -m hpcaccept|(?:\S*/)?hpcaccept)(?= (?:[a-z]|--))")


@dataclass(frozen=True)
class Typed:
    """One command of a page.

    Attributes:
        place: page and line.
        words: after ``hpcaccept``.
    """

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: hpcaccept {' '.join(self.words)}"


def code_of(page: str) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of code: blocks that are fenced (but for output) or indented, and spans within a line."""
    fence, joined_from, held = "", 0, ""
    for number, line in enumerate(page.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = "" if fence else line.strip("` \t") or "sh"
            continue
        if fence == "text":
            continue
        if fence or line.startswith("    "):
            joined_from, held = joined_from or number, held + line.strip()
            if held.endswith("\\"):
                held = held[:-1]
                continue
            yield joined_from, held
        else:
            yield from ((number, span) for span in re.findall(r"`([^`]+)`", line))
        joined_from, held = 0, ""


def commands_in(name: str, page: str) -> Iterator[Typed]:
    """Those of hpcaccept, also within others: ``srun --exclude="$(hpcaccept report …)"``."""
    for number, line in code_of(page):
        for start in _START.finditer(line):
            if re.search(r"(?:^|\s)#", line[: start.start()]):
                break
            text = re.sub(r"\$\([^)]*\)", "SHAPE", line[start.end() :])
            before = line[: start.start()]
            if before.count("'") % 2 or before.endswith("$("):
                text = re.split(r"[)']", text)[0]
            try:
                words = shlex.split(text, comments=True)
            except ValueError:
                words = text.split()
            ends = [at for at, word in enumerate(words) if word in _ENDS or word.endswith(";")]
            last = words[ends[0]] if ends else ""
            words = [*words[: ends[0]], *([last[:-1]] if last.endswith(";") and last != ";" else [])] if ends else words
            yield Typed(f"{name}:{number}", tuple(words))


def fault_of(typed: Typed) -> str:
    """What the program would refuse; empty: nothing."""
    command: click.Command = root
    context = click.Context(command, info_name="hpcaccept")
    known = {option: param for param in command.params for option in (*param.opts, *param.secondary_opts)}
    words, given = [*typed.words], 0
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if word.startswith("-") and word != "-" and not re.fullmatch(r"-\d.*", word):
            name, eq, value = word.partition("=")
            if name in ("--help", "--version"):
                continue
            if name not in known:
                return f"no option {name}"
            param = known[name]
            if isinstance(param, click.Option) and not (param.is_flag or param.count):
                for _ in range(param.nargs):
                    if not eq and not words:
                        return f"{name} has no value"
                    value = value if eq else words.pop(0)
                    if not is_shape(value) and isinstance(
                        param.type, (click.Choice, click.types.IntParamType, NodesOrWord)
                    ):
                        try:
                            param.type_cast_value(context, value)
                        except click.BadParameter as fault:
                            return f"{name}: {fault.message}"
        elif isinstance(command, click.Group):
            if is_shape(word):
                return ""
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word}"
            command, context = found, click.Context(found, parent=context, info_name=word)
            known |= {option: param for param in command.params for option in (*param.opts, *param.secondary_opts)}
        else:
            given += 1
    most = sum(
        param.nargs if param.nargs > 0 else 10**6 for param in command.params if isinstance(param, click.Argument)
    )
    return f"{given} arguments, at most {most}" if given > most and not any(map(is_shape, typed.words)) else ""


def is_shape(word: str) -> bool:
    """Whether a reader puts something else there."""
    return bool(_SHAPE.search(word)) or "|" in word or word.startswith("[")


def typed_on(page: Path) -> list[Typed]:
    return list(commands_in(str(page.relative_to(ROOT)), page.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists_as_it_is_typed(page: Path) -> None:
    assert [f"{typed}: {fault}" for typed in typed_on(page) if (fault := fault_of(typed))] == []


def test_the_pages_show_commands() -> None:
    assert sum(len(typed_on(page)) for page in PAGES) > 250


@pytest.mark.parametrize(
    "line",
    [
        "hpcaccept submti --nodes 4",
        "hpcaccept submit --node 4",
        "hpcaccept submit --nodes four",
        "hpcaccept report RUN --format htm",
        "hpcaccept baseline lern RUN",
        "x=$(hpcaccept report --formt nodes-bad)",
        "hpcaccept runs prune 3 --keep 50",
    ],
)
def test_what_does_not_exist_is_found(line: str) -> None:
    (typed,) = commands_in("page", f"    {line}\n")
    assert fault_of(typed)


def test_every_target_of_make_and_every_script_exists() -> None:
    elsewhere = {"setcap"}  # of Enroot's own Makefile
    targets = elsewhere | set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    lost = []
    for page in PAGES:
        for number, line in code_of(page.read_text("utf-8")):
            place = f"{page.relative_to(ROOT)}:{number}"
            lost += [
                f"{place}: make {name}" for name in re.findall(r"(?:^|&& )make ([a-z-]+)", line) if name not in targets
            ]
            lost += [
                f"{place}: {file}"
                for file in re.findall(r"(?:^|\s)((?:sbatch|azure|containers|enroot|tests/system)/[\w./-]+\.\w+)", line)
                if not (ROOT / file).exists()
            ]
    assert lost == []
