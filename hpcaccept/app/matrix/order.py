"""What the machine of a cell is handed: a folder with everything that its tests need, and the command that enters the image."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept import container
from hpcaccept.app.run.image_digest import identified
from hpcaccept.app.tester import sent_files
from hpcaccept.app.tester.cell import packed
from hpcaccept.bounded import read_text
from hpcaccept.errors import RunError, UsageError
from hpcaccept.model.matrix.attempt import Order, Rent
from hpcaccept.model.plan import Image
from hpcaccept.provider.vast.requests import MOST_ONSTART
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.transport import matrix_inside

if TYPE_CHECKING:
    from collections.abc import Collection

    from hpcaccept.model.matrix.matrix import Cell, CellTest

ORDER, INNER, PROGRAM = "order.json", "inner.json", "inside.py"
#: Folder of an attempt in which the tests' files are.
WORK = "work"
#: The shell is handed everything as arguments, and none of it as its own text. ``module`` is a function of login shells.
_MODULES = 'n=$1; shift; while [ "$n" -gt 0 ]; do module load "$1" || exit 90; shift; n=$((n-1)); done; exec "$@"'
#: Characters of a rented machine's start command beside the tests.
_ONSTART_REST = 700
#: What places provide whose jobs begin inside the image.
INSIDE = "inside the image"
#: Exit status of that shell where a module is missing.
NO_MODULE = 90


def prepare(folder: Path, cell: Cell, number: int, content: str, provides: Collection[str]) -> Order:
    """Fill the folder of an attempt; after return its machine can begin.

    Args:
        folder: of the attempt; what an earlier client left there is replaced.
        cell: that is to be tried.
        number: of the attempt.
        content: folder with the branch's files; empty: none.
        provides: what the place of the machine provides (``LauncherTraits.provides``), by which a container runtime is chosen.

    Raises:
        RunError: the folder cannot be written.
        UsageError: the image cannot be entered there.
    """
    order = order_of(folder, cell, number, content, provides)
    try:
        (folder / WORK).mkdir(parents=True, exist_ok=True)
        for test in cell.tests:
            for file in files_of(test):
                shutil.copy(file, folder / WORK / _copied(test, file))
        shutil.copy(matrix_inside.__file__, folder / PROGRAM)
        replace_file(folder / INNER, json.dumps(order.inner))
        replace_file(folder / ORDER, dumps(order))
    except OSError as fault:
        raise RunError(f"Cannot write into {folder}: {fault.strerror}.") from None
    return order


def order_in(folder: Path) -> Order:
    """The order that a folder holds.

    Raises:
        RunError: there is none that can be read.
    """
    try:
        return from_plain(loads(read_text(folder / ORDER)), Order)
    except (OSError, ValueError) as fault:
        raise RunError(f"{folder / ORDER} cannot be read: {fault}.") from None


def order_of(folder: Path, cell: Cell, number: int, content: str, provides: Collection[str]) -> Order:
    """The same, written nowhere."""
    work = folder / WORK
    inner: dict[str, Any] = {"work": str(work), "tests": [_test(test, cell, work) for test in cell.tests]}
    command: tuple[str, ...] = (python_of(cell), str(folder / PROGRAM), str(folder))
    env = dict(cell.image.env)
    entered = _Entered()
    # Pods and rented machines are in the image already.
    if cell.image.container and INSIDE not in provides:
        entered = _contained(folder, cell, command, provides)
        command, env = entered.command, entered.env
    elif cell.image.venv:
        env = {**env, "VIRTUAL_ENV": cell.image.venv, "PATH": f"{cell.image.venv}/bin{os.pathsep}$PATH"}
    elif cell.image.modules:
        names = cell.image.modules
        command = ("bash", "-lc", _MODULES, "modules", str(len(names)), *names, *command)
    env = {**env, **{f"HPCACCEPT_MATRIX_{name.upper()}": value for name, value in cell.factors.items()}}
    rent = rent_of(cell, inner, content) if cell.machine.where == "rented" else None
    return Order(
        cell.id, number, inner, command, env, cell.limit_s, entered.leave, cell.machine.gpus, content, entered.runtime, entered.digest, rent
    )  # fmt: skip


def rent_of(cell: Cell, inner: dict[str, Any], content: str) -> Rent:
    """What is rented, and the texts that go along; paths in ``inner`` become names.

    Raises:
        UsageError: there is more than a rented machine is sent.
    """
    files: dict[str, str] = {}
    for test, plain in zip(cell.tests, inner["tests"], strict=True):
        for key in ("script", "notebook", "suite"):
            if test.from_content:
                plain[key] = getattr(test, key)
            elif file := next((each for each in files_of(test) if each == getattr(test, key)), ""):
                plain[key] = _copied(test, file)
                files[plain[key]] = read_text(Path(file), follow=True)
    inner["work"] = ""
    more = any(test.from_content for test in cell.tests) or len(packed(inner, files)) > MOST_ONSTART - _ONSTART_REST
    if more:
        files = {}
        # Each is held to what may be sent, before anything is rented.
        list(sent_files.files_in(Path(content)) if content else ())
    if (long := len(packed(inner, files, more=more))) > MOST_ONSTART - _ONSTART_REST:
        raise UsageError(
            f"the tests have {long:,} characters packed, a rented machine is sent {MOST_ONSTART - _ONSTART_REST:,} at most.",
            "Have fewer tests, or put what they do into a script.",
        )
    machine = cell.machine
    return Rent(machine.gpu_model, machine.gpus or 1, machine.usd_per_hour, cell.image.container, cell.test_s, files, more)  # fmt: skip


def python_of(cell: Cell) -> str:
    """The interpreter inside."""
    return cell.image.python or (f"{cell.image.venv}/bin/python" if cell.image.venv else "python3")


def files_of(test: CellTest) -> list[str]:
    """What is copied for a test: scripts, notebooks, suites of one's own."""
    suite = test.suite if test.suite.endswith(".toml") else ""
    return [] if test.from_content else [file for file in (test.script, test.notebook, suite) if file]


def _copied(test: CellTest, file: str) -> str:
    return f"{test.name}{Path(file).suffix}"


def _test(test: CellTest, cell: Cell, work: Path) -> dict[str, Any]:
    def place(file: str) -> str:
        return "" if not file else str(work / (file if test.from_content else _copied(test, file)))

    return {
        "name": test.name,
        "kind": test.kind,
        "imports": list(test.imports),
        "versions": test.versions,
        "suite": place(test.suite) if test.suite.endswith(".toml") else test.suite,
        "gpus": cell.machine.gpus,
        "command": list(test.command),
        "script": place(test.script),
        "notebook": place(test.notebook),
        "arguments": list(test.arguments),
        "output": test.output,
        "limit_s": test.limit_s,
        "cell_s": test.cell_s,
    }


@dataclass(frozen=True)
class _Entered:
    """How a container is entered and left."""

    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    leave: tuple[str, ...] = ()
    runtime: str = ""
    digest: str = ""


def _contained(folder: Path, cell: Cell, command: tuple[str, ...], provides: Collection[str]) -> _Entered:
    image = image_of(folder, cell, provides)
    runtime = container.load(image.runtime)
    if not set(runtime.NEEDS) <= set(provides):
        raise UsageError(f"{cell.image.name}: {image.runtime} cannot be used on {cell.machine.name}.", "Name another runtime.")  # fmt: skip
    if why := runtime.unfit(image):
        raise UsageError(f"{cell.image.name}: {why}.")
    names = tuple(f"HPCACCEPT_MATRIX_{name.upper()}" for name in cell.factors)
    inside = tuple(runtime.enter(image, command, step="cell", names=names, gpus=bool(cell.machine.gpus)))
    # A runtime that is a plugin of srun enters where srun starts something, so a cell in it is a step of its job.
    srun = ("srun", "--nodes=1", "--ntasks=1", "--mpi=none", *runtime.srun_flags(image))
    entered = (*srun, *inside) if "srun" in runtime.NEEDS else inside
    leave = tuple(runtime.after_job(image)) or tuple(runtime.after_step(image, "cell"))
    return _Entered(entered, dict(runtime.environment(image)), leave, image.runtime, image.digest)


def image_of(folder: Path, cell: Cell, provides: Collection[str]) -> Image:
    """The image of a cell in a container, with its digest where that can be known here."""
    found = cell.image.runtime or container.usual(provides, cell.image.container, lambda name: bool(shutil.which(name)))
    name = f"matrix-{folder.parents[2].name}-{cell.id}-{folder.name}"
    return identified(
        Image(
            runtime=found,
            reference=cell.image.container,
            mounts=(f"{folder}:{folder}", *cell.image.mounts),
            python=python_of(cell),
            env=cell.image.env,
            name="".join(sign if sign.isalnum() else "-" for sign in name),
            writable=True,
        )
    )
