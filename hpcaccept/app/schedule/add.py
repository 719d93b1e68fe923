"""Records a run: the commit, the difference from it, a copy of what will run and its hashes, all on the disk before anything is started."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import git, records, snapshot
from hpcaccept.app.schedule.places import place_of
from hpcaccept.app.schedule.recipe_file import recipe_text
from hpcaccept.app.schedule.script import script_of
from hpcaccept.errors import RunError, UsageError
from hpcaccept.model.schedule.entry import Added, Place
from hpcaccept.model.schedule.recipe import Recipe
from hpcaccept.provider.vast.labels import run_id
from hpcaccept.store.new_file import write_new
from hpcaccept.store.one_writer import locked
from hpcaccept.store.replaced_files import OWNER_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.app.schedule.records import Record, Records

#: What the command gets of the environment of whoever adds it, where it runs on the machines of this site.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Request:
    """A run that somebody asks for.

    Attributes:
        top: of the working tree.
        recipe: what is run.
        place: where.
        at: when (UTC).
    """

    top: Path
    recipe: Recipe
    place: Place
    at: dt.datetime


@dataclass(frozen=True)
class Preview:
    """What would be recorded.

    Attributes:
        commit: of the working tree.
        contents: of what is sent.
        script: start-up script.
    """

    commit: snapshot.Commit
    contents: snapshot.Contents
    script: str


def preview(request: Request) -> Preview:
    """What ``add`` would record; nothing is written.

    Raises:
        UsageError: a recipe that cannot be run there, no commit, or a file that holds a secret.
    """
    place_of(request.place).check(request.recipe)
    commit = snapshot.commit_of(request.top)
    contents = snapshot.contents_of(request.top, request.recipe)
    snapshot.refuse_secrets(contents)
    _refuse_pointers(contents)
    if not contents.files:
        raise UsageError(
            "Nothing would be sent: no file is tracked, or all are excluded.", "Edit send in .hpcaccept/run.toml."
        )
    added = _added("RUN", request, commit, contents, "")
    return Preview(commit, contents, script_of(request.recipe, added, _variables(request.place)))


def add(request: Request, there: Records, now: dt.datetime, say: Callable[[str], None]) -> Record:
    """Record a run; after return it is on the disk, and will be started at its time by whoever looks then.

    Raises:
        UsageError: as ``preview``; or the tree was changed while it was copied.
        RunError: no space, or another process is at work.
    """
    shown = preview(request)
    run = run_id(now, secrets.token_hex(4))
    with locked(there.lock, "recording a run", 60.0):
        made = there.begin(run)
        try:
            added = _fill(made, run, request, shown, say)
            if snapshot.commit_of(request.top) != shown.commit:
                raise UsageError(
                    "The working tree was changed while it was copied; nothing was recorded.", "Type it again."
                )
            made.write(added, now)
            return there.name(made, run)
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(made.folder)
            raise


def _fill(made: Record, run: str, request: Request, shown: Preview, say: Callable[[str], None]) -> Added:
    work = made.file(records.WORK)
    try:
        work.mkdir()
        manifest, _ = snapshot.copy(shown.contents, work, say)
        added = _added(run, request, shown.commit, shown.contents, manifest)
        script = script_of(request.recipe, added, _variables(request.place))
        for name, text in {
            records.RECIPE: recipe_text(request.recipe),
            records.MANIFEST: manifest,
            records.UNTRACKED: "".join(f"{each}\n" for each in shown.commit.untracked),
            records.SCRIPT: script,
            "command.sh": request.recipe.command + "\n",
        }.items():
            write_new(made.file(name), text.encode("utf-8", "surrogateescape"), OWNER_ONLY)
        if shown.commit.diff:
            write_new(made.file(records.DIFF), shown.commit.diff, OWNER_ONLY)
        if request.recipe.requirements:
            write_new(made.file("requirements.txt"), _requirements(request), OWNER_ONLY)
    except OSError as fault:
        raise RunError(f"Cannot write {made.folder}: {fault.strerror}.") from None
    return added


def _requirements(request: Request) -> bytes:
    file = request.top / request.recipe.requirements
    try:
        return file.read_bytes()
    except OSError as fault:
        raise UsageError(
            f"requirements: cannot read {file}: {fault.strerror}.", "hpcaccept schedule init --freeze"
        ) from None


def _added(run: str, request: Request, commit: snapshot.Commit, contents: snapshot.Contents, manifest: str) -> Added:
    return Added(
        run,
        request.at.isoformat(timespec="seconds"),
        request.place,
        commit.hash,
        commit.subject,
        commit.branch,
        bool(commit.diff),
        hashlib.sha256(commit.diff).hexdigest() if commit.diff else "",
        len(commit.untracked),
        commit.submodules,
        contents.lfs,
        len(contents.lfs_missing),
        hashlib.sha256(manifest.encode("utf-8", "surrogateescape")).hexdigest(),
        len(contents.files),
        contents.size_bytes,
    )


def _variables(place: Place) -> dict[str, str]:
    """A rented machine has its own."""
    return {} if place == "rented" else {name: os.environ[name] for name in _KEPT_VARIABLES if os.environ.get(name)}


def _refuse_pointers(contents: snapshot.Contents) -> None:
    if contents.lfs_missing:
        raise UsageError(
            f"{len(contents.lfs_missing)} files of Git LFS are only pointers here, the first {contents.lfs_missing[0]}.",
            "git lfs pull",
        )


def top_and_records(folder: Path) -> tuple[Path, Records]:
    """The working tree that a folder is in, and where its runs are recorded."""
    from hpcaccept.app.schedule.recipe_file import FOLDER

    top = git.top_of(folder)
    return top, records.Records(top / FOLDER / "runs")
