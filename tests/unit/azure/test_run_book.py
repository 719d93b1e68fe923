"""Every command of hpcaccept that the run book, the scripts and the pages about Azure print can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcaccept.cli.azure import azure
from hpcaccept.cli.bundle import bundle

if TYPE_CHECKING:
    import click

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "azure/README.md", ROOT / "docs/how-to/bundle.md", ROOT / "docs/reference/azure-node-health.md"]
_TYPED = re.compile(r"^(?:[A-Z_]+=\S+ )*hpcaccept (azure|bundle) (.*?)(?:\s+#.*|\\)?$", re.M)
_QUOTED = re.compile(r"`hpcaccept (azure|bundle) ([^`]*)`")


def commands() -> list[str]:
    """Lines of code blocks, and whole commands in the text; a name of a command alone is looked up below."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
        found += [" ".join(match) for block in blocks for match in _TYPED.findall(block)]
        found += [" ".join(match).strip() for match in _QUOTED.findall(re.sub(r"```.*?```", "", text, flags=re.S))]
    return sorted(set(found))


def test_there_are_commands() -> None:
    assert len([each for each in commands() if each.startswith("azure ")]) > 15


@pytest.mark.parametrize("typed", commands())
def test_what_is_printed_can_be_typed(typed: str) -> None:
    words = shlex.split(typed)
    command: click.Command = bundle
    if words[0] == "azure":
        found = azure.commands.get(words[1]) if len(words) > 1 else azure
        assert found is not None, f"there is no azure {words[1]}"
        command = found
    given = words[2:] if words[0] == "azure" else words[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in given:
        if word == "--":
            break
        assert not word.startswith("-") or word in known, f"{typed}: there is no option {word}"
    # A line with its arguments is parsed as a whole; a name in a sentence has none.
    if any(not word.startswith("-") for word in given):
        command.make_context(command.name, list(given), resilient_parsing=False)


def test_every_command_is_in_the_run_book() -> None:
    text = PAGES[0].read_text("utf-8")
    for name in azure.commands:
        assert re.search(rf"`?(hpcaccept azure )?{name}\b", text), f"azure/README.md does not speak of {name}"
