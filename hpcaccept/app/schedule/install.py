"""Makes a timer that calls ``run-once`` every minute, without touching anything that is not ours.

A line of the user's crontab, or a timer of systemd's manager of the user; text here, written as those of ``nightly`` are.
"""

from __future__ import annotations

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.nightly import install as nightly
from hpcaccept.app.nightly.schedule import block_in, cron_command, printable, quoted_word, specified
from hpcaccept.errors import LaunchError, RunError
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Programs that runs are started and asked with.
_PROGRAMS = ("git", "ssh", "ssh-keygen", "rsync", "bash", "sbatch", "squeue", "scontrol", "scancel", "sacct", "sinfo")
#: Variables without which these may find another cluster, or none; the marketplace's address is no secret, its key is.
_NEEDED = ("SLURM_CONF", "LD_LIBRARY_PATH", "XDG_CONFIG_HOME", "VAST_URL")
_LOG = "timer.log"
#: Variables that hold a key, and are therefore not copied.
SECRET = ("VAST_API_KEY",)


def command() -> tuple[str, ...]:
    """What the timer starts."""
    return (sys.executable, "-m", "hpcaccept", "schedule", "run-once")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What it is started with: what starts it gives next to nothing."""
    found = [shutil.which(each, path=environ.get("PATH")) for each in _PROGRAMS]
    folders = [str(Path(path).parent) for path in (sys.executable, *found) if path]
    path = ":".join(dict.fromkeys((*folders, "/usr/local/bin", "/usr/bin", "/bin")))
    return {"PATH": path, **{name: environ[name] for name in _NEEDED if environ.get(name)}}


def left_behind(environ: Mapping[str, str]) -> list[str]:
    """Secrets that are set here and that the timer will not have."""
    return [name for name in SECRET if environ.get(name)]


def log_of(top: Path) -> Path:
    """What the timer says."""
    return top / ".hpcaccept" / "runs" / _LOG


def marks(top: Path) -> tuple[bytes, bytes]:
    """First and last line of the block of a working tree in crontab."""
    name = printable(str(top)).encode("utf-8", "surrogateescape")
    return b"# BEGIN hpcaccept schedule " + name, b"# END hpcaccept schedule " + name


def cron_block(top: Path, environ: Mapping[str, str]) -> bytes:
    """The lines for crontab, marks included.

    Raises:
        UsageError: something in it cannot stand in a crontab.
    """
    first, last = marks(top)
    line = b"* * * * * " + cron_command(top, environment(environ), command(), log_of(top))
    about = b'# Written by "hpcaccept schedule install"; "hpcaccept schedule uninstall" removes it.'
    return b"\n".join((first, about, line, last, b""))


def unit(top: Path) -> str:
    """Name of the units of a working tree, without suffix."""
    return f"hpcaccept-schedule-{sha256(str(top).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def units(top: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """File name → text of the service and of its timer.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html (255)
    """
    variables = environment(environ)
    for word in (*command(), *variables.values(), str(top)):
        printable(word)
    about = f"Description=hpcaccept schedule of {specified(str(top))}"
    pairs = " ".join(quoted_word(f"{name}={value}") for name, value in variables.items())
    service = [
        "[Unit]", about, "", "[Service]", "Type=oneshot",
        f"WorkingDirectory={specified(str(top))}",
        f"Environment={pairs}",
        f"ExecStart={' '.join(quoted_word(word).replace('$', '$$') for word in command())}",
        # What it has started goes on when it has ended.
        "KillMode=process",
        f"StandardOutput=append:{specified(str(log_of(top)))}",
        f"StandardError=append:{specified(str(log_of(top)))}",
        "",
    ]  # fmt: skip
    timer = [
        "[Unit]", about, "", "[Timer]",
        "# A minute after the end of the last one, and after a boot.",
        "OnBootSec=1min", "OnUnitInactiveSec=1min", "OnActiveSec=1s", "AccuracySec=5s",
        "", "[Install]", "WantedBy=timers.target", "",
    ]  # fmt: skip
    return {f"{unit(top)}.service": "\n".join(service), f"{unit(top)}.timer": "\n".join(timer)}


def install_cron(top: Path, environ: Mapping[str, str]) -> None:
    """Put the block into the user's crontab, in place of its own earlier one; nothing else is changed.

    Raises:
        RunError: somebody has changed it meanwhile, or half of our block is there.
        LaunchError: there is no crontab, or it refuses.
    """
    before, block = nightly.read_crontab(), cron_block(top, environ)
    found = block_in(before, marks(top))
    if found:
        after = before[: found[0]] + block + before[found[1] :]
    else:
        after = before + (b"\n" if before and not before.endswith(b"\n") else b"") + block
    if after != before:
        nightly.write_crontab(before, after)


def uninstall_cron(top: Path) -> bool:
    """Take the block out again; False when there is none. Raises as ``install_cron``."""
    if not shutil.which("crontab"):
        return False
    before = nightly.read_crontab()
    found = block_in(before, marks(top))
    if not found:
        return False
    nightly.write_crontab(before, before[: found[0]] + before[found[1] :])
    return True


def install_systemd(top: Path, environ: Mapping[str, str]) -> str:
    """Write the units and start the timer; gives what is still to be done by hand.

    Raises:
        RunError: the units cannot be written.
        LaunchError: systemd refuses; the units are written.
    """
    folder = nightly.units_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units(top, environ).items():
            replace_file(folder / name, text)
    except OSError as fault:
        raise RunError(f"Cannot write under {folder}: {fault.strerror}.") from None
    for words in (["daemon-reload"], ["enable", "--now", f"{unit(top)}.timer"]):
        done = ask(["systemctl", "--user", *words])
        if not done.ok:
            raise LaunchError(
                f"systemctl --user {' '.join(words)}: {done.stderr.strip()[:300]}",
                f"The units are in {folder}. Where no manager of the user runs, use --cron.",
            )
    return "It runs only while you are logged in, unless once: loginctl enable-linger"


def uninstall_systemd(top: Path) -> bool:
    """Stop the timer and remove the units; False when there are none."""
    folder, name = nightly.units_folder(os.environ), unit(top)
    files = [each for each in (folder / f"{name}.timer", folder / f"{name}.service") if each.exists()]
    if not files:
        return False
    there = bool(shutil.which("systemctl"))
    if there:
        ask(["systemctl", "--user", "disable", "--now", f"{name}.timer"])
    for file in files:
        file.unlink(missing_ok=True)
    if there:
        ask(["systemctl", "--user", "daemon-reload"])
    return True
