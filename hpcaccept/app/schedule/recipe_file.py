"""Reads and writes ``run.toml``, strictly: an unknown key or an impossible value is reported with its place."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from hpcaccept.config.toml import parse_toml
from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.recipe import Recipe
from hpcaccept.serial import from_plain, to_plain
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ".hpcaccept"
NAME = "run.toml"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = """\
# What "hpcaccept schedule" sends and runs. Written by "hpcaccept schedule init"; edit it as you like.
# Keys: docs/how-to/schedule.md.
"""


def read_recipe(file: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        UsageError: absent, not TOML, an unknown key or an impossible value.
    """
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise UsageError(f"No {file}.", "hpcaccept schedule init") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"Cannot read {file}: {fault}.") from None
    return parse_recipe(text, str(file))


def parse_recipe(text: str, place: str) -> Recipe:
    """Like ``read_recipe``, of a text."""
    plain = parse_toml(text, place)
    slurm = plain.get("slurm")
    if isinstance(slurm, dict):
        plain["slurm"] = {key: _option(value) for key, value in slurm.items()}
    try:
        recipe = from_plain(plain, Recipe)
    except ValueError as fault:
        raise UsageError(f"{place}: {fault}.", "The keys are in docs/how-to/schedule.md.") from None
    check(recipe, place)
    return recipe


def _option(value: Any) -> Any:
    """A flag (true) has an empty value; numbers are text for sbatch."""
    if value is True:
        return ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check(recipe: Recipe, place: str) -> None:
    """Refuse what could not be run or judged.

    Raises:
        UsageError: which key, what was found, what was expected.
    """
    _check_command(recipe, place)
    _check_numbers(recipe, place)
    _check_metric(recipe, place)
    if recipe.stop.deadline:
        _deadline(recipe.stop.deadline, place)


def _check_command(recipe: Recipe, place: str) -> None:
    if not recipe.command.strip() or "\0" in recipe.command:
        raise UsageError(f"{place}: command is empty, expected a shell command.", 'command = "python train.py"')
    if not recipe.send:
        raise UsageError(f"{place}: send is empty, expected at least the working tree.", 'send = ["."]')


def _check_numbers(recipe: Recipe, place: str) -> None:
    bounds = {
        "rental.disk_gb": (recipe.rental.disk_gb, 1, 100_000),
        "grace_s": (recipe.grace_s, 0, 3600),
        "latest_h": (recipe.latest_h, 0, 24 * 366),
        "rental.max_price": (recipe.rental.max_price, 0, 10_000),
        "rental.premium": (recipe.rental.premium, 0, 100),
        "rental.upload_mbit_s": (recipe.rental.upload_mbit_s, 0.01, 1_000_000),
        "rental.load_s": (recipe.rental.load_s, 1, 86_400),
        "stop.max_hours": (recipe.stop.max_hours, 0, 24 * 366),
        "stop.max_usd": (recipe.stop.max_usd, 0, 1_000_000),
        "stop.idle_gpu_minutes": (recipe.stop.idle_gpu_minutes, 1, 24 * 60),
    }
    for name, (value, least, most) in bounds.items():
        if value is not None and not least <= value <= most:
            raise UsageError(f"{place}: {name} is {value:g}, expected {least:,} to {most:,}.")


def _check_metric(recipe: Recipe, place: str) -> None:
    rule = recipe.stop.metric
    if rule is None:
        return
    if rule.patience < 1 or rule.min_delta < 0:
        raise UsageError(f"{place}: stop.metric needs patience ≥ 1 and min_delta ≥ 0.")
    if rule.format != "text":
        return
    try:
        groups = re.compile(rule.pattern).groupindex
    except re.error as fault:
        raise UsageError(f"{place}: stop.metric.pattern: {fault}.") from None
    if "value" not in groups:
        raise UsageError(
            f"{place}: stop.metric.pattern has no group 'value'.",
            r"pattern = 'epoch (?P<step>\d+): " + rule.name + r" (?P<value>\S+)'",
        )


def _deadline(text: str, place: str) -> None:
    try:
        when = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise UsageError(
            f"{place}: stop.deadline is {text!r}, expected a time with its offset.", "2026-12-02T08:00+01:00"
        )


def write_recipe(file: Path, recipe: Recipe) -> None:
    """Replace the file, and keep records out of the repository that surrounds it.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, recipe_text(recipe))
        ignored = file.parent / ".gitignore"
        if not ignored.exists():
            replace_file(ignored, "/runs/\n")
    except OSError as fault:
        raise UsageError(f"Cannot write {file}: {fault.strerror}.") from None


def recipe_text(recipe: Recipe) -> str:
    """The recipe as TOML; ``parse_recipe`` gives the same again. What is at its default is left out."""
    plain, default = to_plain(recipe), to_plain(Recipe(""))
    lines = [_HEAD.rstrip("\n")]
    _table(lines, "", plain, default)
    return "\n".join([*lines, ""])


def _table(lines: list[str], name: str, plain: dict[str, Any], default: dict[str, Any] | None) -> None:
    known = default or {}
    own = {key: value for key, value in plain.items() if not isinstance(value, dict)}
    shown = {
        key: value for key, value in own.items() if value is not None and (key not in known or value != known[key])
    }
    if name and (shown or name == "stop.metric"):
        lines += ["", f"[{name}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in shown.items()]
    for key, value in plain.items():
        if isinstance(value, dict):
            _table(lines, f"{name}.{key}" if name else key, value, known.get(key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A basic string of TOML is one of JSON, but for the sign DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
