"""The text of crontab lines and systemd units that start a run every night. Nothing is written here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Debian's cron refuses longer commands (MAX_COMMAND, cron.h); others take more.
_LONGEST_COMMAND = 998


@dataclass(frozen=True)
class Schedule:
    """One command, every day.

    Attributes:
        clock: time of day.
        command: words, the first an absolute path.
        folder: that it is started in: the settings file there counts.
        runs_dir: whose nights these are: it tells one schedule from another.
        log: that its output is added to.
        environment: that it is started with: what starts it gives next to nothing.
    """

    clock: time
    command: tuple[str, ...]
    folder: Path
    runs_dir: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """First and last line of its block in crontab."""
        return marks(self.runs_dir)

    @property
    def unit(self) -> str:
        """Name of its units without suffix."""
        return unit(self.runs_dir)


def marks(runs_dir: Path) -> tuple[bytes, bytes]:
    """First and last line of the block of a runs folder in crontab."""
    name = printable(str(runs_dir)).encode("utf-8", "surrogateescape")
    return b"# BEGIN hpcaccept nightly " + name, b"# END hpcaccept nightly " + name


def unit(runs_dir: Path) -> str:
    """Name of the units of a runs folder: a path is no unit's name, so its digest is in it."""
    return f"hpcaccept-nightly-{sha256(str(runs_dir).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def cron_block(schedule: Schedule) -> bytes:
    """The lines for crontab, marks included.

    Raises:
        UsageError: something in it cannot stand in a crontab.
    """
    encoded = cron_command(schedule.folder, schedule.environment, schedule.command, schedule.log)
    first, last = schedule.marks
    when = f"{schedule.clock.minute} {schedule.clock.hour} * * * ".encode()
    about = b'# Written by "hpcaccept nightly install"; "hpcaccept nightly uninstall" removes it.'
    return b"\n".join((first, about, when + encoded, last, b""))


def cron_command(folder: Path, environment: Mapping[str, str], command: Sequence[str], log: Path) -> bytes:
    """What stands in a line of crontab behind the time: a command in a folder, with an environment, its output added to a log.

    Raises:
        UsageError: something in it cannot stand in a crontab.
    """
    words = [
        "cd",
        str(folder),
        "&&",
        "exec",
        "/usr/bin/env",
        *(f"{name}={value}" for name, value in environment.items()),
        *command,
    ]
    for word in (*words, str(log)):
        if "\\" in word:
            raise UsageError(
                f"Crons do not agree on what a backslash means, and there is one in {word!r}.", "Use --systemd."
            )
    quoted = " ".join(word if word == "&&" else shlex.quote(printable(word)) for word in words)
    # An unescaped % is the end of the command. crontab(5)
    line = f"{quoted} >>{shlex.quote(printable(str(log)))} 2>&1".replace("%", "\\%")
    encoded = line.encode("utf-8", "surrogateescape")
    if len(encoded) > _LONGEST_COMMAND:
        raise UsageError(
            f"The command has {len(encoded)} bytes, and some crons take no more than {_LONGEST_COMMAND}.",
            "Put its options into a settings file, or use --systemd.",
        )
    return encoded


def with_block(crontab: bytes, schedule: Schedule) -> bytes:
    """The crontab with the block in it: in place of its own earlier one, else at the end. Nothing else is changed."""
    found = block_in(crontab, schedule.marks)
    block = cron_block(schedule)
    if found:
        return crontab[: found[0]] + block + crontab[found[1] :]
    # crontab takes no last line without its end.
    return crontab + (b"\n" if crontab and not crontab.endswith(b"\n") else b"") + block


def without_block(crontab: bytes, runs_dir: Path) -> bytes:
    """The crontab without the block of a runs folder. Nothing else is changed."""
    found = block_in(crontab, marks(runs_dir))
    return crontab[: found[0]] + crontab[found[1] :] if found else crontab


def block_in(crontab: bytes, of: tuple[bytes, bytes]) -> tuple[int, int] | None:
    """Where the block with these marks begins and ends.

    Raises:
        RunError: one of its marks is there without the other: somebody has edited it, and nobody knows what is theirs.
    """
    first, last = of
    begins: list[int] = []
    ends: list[int] = []
    place = 0
    for line in crontab.split(b"\n"):
        if line == first:
            begins.append(place)
        place = min(place + len(line) + 1, len(crontab))
        if line == last:
            ends.append(place)
    if not begins and not ends:
        return None
    if len(begins) == len(ends) == 1 and begins[0] < ends[0]:
        return begins[0], ends[0]
    raise RunError(
        f"The crontab does not have both {first.decode('utf-8', 'replace')!r} and its END line, once each and in order.",
        "Take what is left of that block out by hand: crontab -e",
    )


def units(schedule: Schedule) -> dict[str, str]:
    """File name → text of the service and of its timer, for systemd's manager of the user.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html (255)
    """
    for word in (*schedule.command, *schedule.environment.values(), str(schedule.folder), str(schedule.log)):
        printable(word)
    environment = " ".join(quoted_word(f"{name}={value}") for name, value in schedule.environment.items())
    log = specified(str(schedule.log))
    service = [
        "[Unit]",
        f"Description=hpcaccept nightly of {specified(str(schedule.runs_dir))}",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={specified(str(schedule.folder))}",
        *([f"Environment={environment}"] if environment else []),
        f"ExecStart={' '.join(quoted_word(word).replace('$', '$$') for word in schedule.command)}",
        f"StandardOutput=append:{log}",
        f"StandardError=append:{log}",
        "",
    ]
    timer = [
        "[Unit]",
        f"Description=hpcaccept nightly of {specified(str(schedule.runs_dir))}",
        "",
        "[Timer]",
        f"OnCalendar=*-*-* {schedule.clock:%H:%M}:00",
        "AccuracySec=1min",
        "# A night that was slept through is reported as missed, not run at breakfast.",
        "Persistent=false",
        "",
        "[Install]",
        "WantedBy=timers.target",
        "",
    ]
    return {f"{schedule.unit}.service": "\n".join(service), f"{schedule.unit}.timer": "\n".join(timer)}


def quoted_word(word: str) -> str:
    """A word of a unit, in quotes."""
    return '"' + specified(word).replace("\\", "\\\\").replace('"', '\\"') + '"'


def specified(text: str) -> str:
    """Percent signs are specifiers in units."""
    return text.replace("%", "%%")


def printable(text: str) -> str:
    """The text, once it can stand in a crontab or a unit.

    Raises:
        UsageError: it cannot.
    """
    if any(character < " " or character == "\x7f" for character in text):
        raise UsageError(f"{text!r} has a control character in it, which neither cron nor systemd takes.")
    return text
