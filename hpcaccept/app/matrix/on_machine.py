"""What the machine of a cell does: claims the attempt, so that no second job can run it; describes itself; enters the image; records how that ended.

Started as ``hpcaccept matrix cell FOLDER``, by a job of the scheduler or as a process of this machine.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.matrix.folder import now
from hpcaccept.app.matrix.order import WORK, order_in
from hpcaccept.app.matrix.said import MACHINE, Began, Over
from hpcaccept.bounded import end_of
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError
from hpcaccept.store import entry_journal
from hpcaccept.transport.process import ask, run_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.matrix.attempt import Order

TAKEN = "taken"
OUT, ERR = "cell.out", "cell.err"
_DRIVER = Path("/proc/driver/nvidia/version")


def run_cell(folder: Path) -> int:
    """Try the cell whose order is in the folder.

    Returns:
        0: its results are there, whatever they say. 3: another job has claimed it.

    Raises:
        RunError: there is no order.
    """
    order = order_in(folder)
    if not claim(folder):
        return 3
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: stop.append(got))
    _say(folder, Began(now(), facts(order.gpus)))
    began = time.monotonic()
    try:
        fetch_content(folder, order)
        status, late = run_until(
            with_us(order.command),
            out=folder / OUT,
            err=folder / ERR,
            deadline_s=order.limit_s,
            env=environment(order, os.environ),
            should_stop=lambda: bool(stop),
        )
        why = f"it did not end within {order.limit_s:g} s" if late else "it was ended from outside" if stop else ""
    except (LaunchError, OSError) as fault:
        status, why = 127, str(fault).splitlines()[0]
    _leave(folder, order)
    _say(folder, Over(status, why, time.monotonic() - began))
    return 0


def claim(folder: Path) -> bool:
    """True for one process alone: an attempt is run once, however often it is started."""
    try:
        handle = os.open(folder / TAKEN, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(f"{os.uname().nodename} {os.getpid()}\n")
    return True


def _say(folder: Path, entry: Any) -> None:
    entry_journal.append(folder / MACHINE, [entry], now())


def fetch_content(folder: Path, order: Order) -> None:
    """A copy of the branch of its own: tests may write."""
    if order.content:
        shutil.copytree(order.content, folder / WORK, symlinks=True, dirs_exist_ok=True)


def _leave(folder: Path, order: Order) -> None:
    """Remove what entering has left, and the copies that tests ran in."""
    if order.leave:
        try:
            ask(order.leave, timeout_s=60)
        except LaunchError as fault:
            with (folder / ERR).open("a") as file:
                file.write(f"{fault.message}\n")
    shutil.rmtree(folder / WORK, ignore_errors=True)


def with_us(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command so that it ends with this process, whatever ends that (``setpriv`` is util-linux's)."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--", *command) if setpriv else command


def environment(order: Order, environ: Mapping[str, str]) -> dict[str, str]:
    """What the command is started with: the job's own, less its secrets and this Python's environment."""
    kept = without_secrets({k: v for k, v in environ.items() if k not in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")})
    return {**kept, **{k: v.replace("$PATH", kept.get("PATH", "/usr/bin:/bin")) for k, v in order.env.items()}}


def facts(gpus: int) -> dict[str, str]:
    """What this machine is: its name, processors, kernel, driver and GPUs."""
    found = {
        "machine.host": os.uname().nodename,
        "machine.arch": platform.machine(),
        "machine.kernel": platform.release(),
    }
    driver = re.search(r"Kernel Module(?: for \S+)?\s+([\d.]+)", end_of(_DRIVER, 4096)) if _DRIVER.exists() else None
    if driver:
        found["driver.version"] = driver[1]
    if gpus and shutil.which("nvidia-smi"):
        try:
            done = ask(["nvidia-smi", "--query-gpu=name,uuid,driver_version", "--format=csv,noheader"], timeout_s=30)
        except LaunchError:
            return found
        rows = [[word.strip() for word in line.split(",")] for line in done.stdout.splitlines() if line.count(",") == 2]
        if done.ok and rows:
            found["machine.gpus"] = f"{len(rows)} × {rows[0][0]}"
            found["machine.gpu_ids"] = " ".join(row[1] for row in rows)
            found["driver.version"] = rows[0][2]
    return found
