"""The questions of ``init``: all of them where there is no run.toml; afterwards only those whose answer has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hpcaccept.model.schedule.recipe import Recipe

#: Frozen beside run.toml.
FROZEN = ".hpcaccept/requirements.txt"
#: Question → key of run.toml, and whether several answers are separated by commas.
QUESTIONS = {
    "Command": ("command", False),
    "Folders and files to send, by commas (. is the working tree)": ("send", True),
    "Not to be sent, patterns by commas": ("exclude", True),
    "Python that the command needs (empty: as the machine has it)": ("python", False),
    "Least CUDA (empty: any)": ("cuda", False),
    "Least cuDNN (empty: any)": ("cudnn", False),
    "Image of a rented machine (empty: none)": ("rental.image", False),
    "Disk of a rented machine in GB": ("rental.disk_gb", False),
}


@dataclass(frozen=True)
class Change:
    """Why a question is asked again.

    Attributes:
        key: of run.toml.
        why: what has changed.
    """

    key: str
    why: str


def changed(recipe: Recipe, top: Path) -> list[Change]:
    """What of a recipe does not fit this working tree and this environment any more."""
    found = [Change("send", f"there is no {each}") for each in recipe.send if each != "." and not (top / each).exists()]
    if recipe.python and not (top / recipe.python).exists():
        found.append(Change("python", f"there is no {recipe.python}"))
    if recipe.requirements == FROZEN:
        file = top / FROZEN
        there = file.read_bytes() if file.is_file() else b""
        now = freeze(recipe.python or "python3")
        if hashlib.sha256(there).digest() != hashlib.sha256(now).digest():
            found.append(Change("requirements", _difference(there, now)))
    return found


def _difference(before: bytes, now: bytes) -> str:
    old, new = set(before.decode("utf-8", "replace").splitlines()), set(now.decode("utf-8", "replace").splitlines())
    return (
        f"the environment has {len(new - old)} packages that are new or of another version, and lacks {len(old - new)}"
    )


def freeze(python: str) -> bytes:
    """What is installed in an environment, as ``pip freeze`` lists it; packages of local folders are left out.

    Raises:
        UsageError: that Python has no pip.
    """
    try:
        done = ask([python, "-m", "pip", "freeze", "--exclude-editable"], timeout_s=120)
    except (LaunchError, OSError) as fault:
        raise UsageError(f"Cannot freeze the environment of {python}: {fault}.") from None
    if not done.ok:
        raise UsageError(f"{python} -m pip freeze: {done.stderr.strip()[:300]}.")
    kept = [line for line in done.stdout.splitlines() if " @ file:" not in line]
    return ("\n".join(kept) + "\n").encode()


def asked(recipe: Recipe, keys: set[str] | None, prompt: Callable[[str, str], str]) -> Recipe:
    """The recipe with what somebody has answered.

    Args:
        recipe: its values are offered.
        keys: to ask about; None: all.
        prompt: gives the answer to a question with a default.

    Raises:
        UsageError: a number is none.
    """
    for question, (key, several) in QUESTIONS.items():
        if keys is not None and key not in keys:
            continue
        inside, _, name = key.rpartition(".")
        before = getattr(recipe.rental if inside else recipe, name)
        shown = ", ".join(before) if several else f"{before:g}" if isinstance(before, float) else before
        value: dict[str, Any] = {name: _value(key, prompt(question, shown), before, several=several)}
        recipe = replace(recipe, rental=replace(recipe.rental, **value)) if inside else replace(recipe, **value)
    return recipe


def _value(key: str, answer: str, before: Any, *, several: bool) -> Any:
    if several:
        return tuple(each.strip() for each in answer.split(",") if each.strip())
    if isinstance(before, float):
        try:
            return float(answer)
        except ValueError:
            raise UsageError(f"{key}: found {answer!r}, expected a number.") from None
    return answer.strip()
