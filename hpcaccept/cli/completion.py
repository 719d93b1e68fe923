"""Values that a shell completes: runs, suites, checks, partitions. Whatever fails, or takes long, completes nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import click

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

#: Seconds that Slurm may take while somebody presses Tab.
_PATIENCE_S = 2.0


def _completer(values: Callable[[dict[str, Any]], Iterator[tuple[str, str]]]) -> Completer:
    """A completer of click for (value, help) pairs."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        with contextlib.suppress(Exception):
            return [
                CompletionItem(value, help=said) for value, said in values(context.params) if value.startswith(begun)
            ]
        return []

    return complete


def _runs(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from pathlib import Path

    from hpcaccept.config.settings import load_settings
    from hpcaccept.store.folder import LATEST, all_runs, short_id

    yield LATEST, "the run that was submitted last"
    runs_dir = Path(load_settings({"runs_dir": options.get("runs_dir")}).settings.runs_dir)
    for folder in reversed(all_runs(runs_dir)):
        yield short_id(folder.run_id), folder.run_id


def _suites(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from hpcaccept.config.suites import built_in, read_suite

    for name in built_in():
        yield name, str(read_suite(name).tables.get("about", ""))


def _checks(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from hpcaccept import checks

    for name in checks.names():
        yield name, ""


def _partitions(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from hpcaccept.transport.slurm import ask_slurm

    for name in dict.fromkeys(ask_slurm(["sinfo", "-h", "-o", "%R"], timeout_s=_PATIENCE_S).stdout.split()):
        yield name, ""


complete_run = _completer(_runs)
complete_suite = _completer(_suites)
complete_check = _completer(_checks)
complete_partition = _completer(_partitions)
