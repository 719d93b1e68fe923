"""The files of a run: two logs, one JSON document, one page. Each is whole or as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.app.vast import results as results_of
from hpcaccept.app.vast.page import render
from hpcaccept.app.vast.results import ERROR_LOG, PAGE, PASS_LOG, RESULTS
from hpcaccept.store.replaced_files import OWNER_ONLY, replace_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hpcaccept.app.vast.results import Results


def write(folder: Path, results: Results) -> None:
    """All four files, each whole or as it was.

    Raises:
        RunError: they cannot be written.
    """
    texts = {
        PASS_LOG: results_of.pass_log(results),
        ERROR_LOG: results_of.error_log(results),
        RESULTS: json.dumps(results_of.as_plain(results), indent=1, ensure_ascii=False) + "\n",
        PAGE: render(results),
    }
    _replace(folder, texts)


def write_logs(folder: Path, results: Results) -> None:
    """The two logs, of what is decided so far."""
    decided = tuple(each for each in results.machines if each.code not in ("client-died", "interrupted"))
    so_far = replace(results, machines=decided)
    _replace(folder, {PASS_LOG: results_of.pass_log(so_far), ERROR_LOG: results_of.error_log(so_far)})


def _replace(folder: Path, texts: Mapping[str, str]) -> None:
    replace_files({name: text.encode("utf-8", "replace") for name, text in texts.items()}, folder, OWNER_ONLY)
