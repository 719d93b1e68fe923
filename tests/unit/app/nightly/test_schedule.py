"""What is written into crontabs and units: ours and nothing else, whatever stands there and whatever the paths are called."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from datetime import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.app.nightly.schedule import Schedule, cron_block, marks, units, with_block, without_block
from hpcaccept.errors import RunError, UsageError

PLAIN = Schedule(
    clock=time(2, 5),
    command=("/opt/venv/bin/python", "-m", "hpcaccept", "nightly", "run", "--max-nodes", "4"),
    folder=Path("/home/ops"),
    runs_dir=Path("/shared/runs"),
    log=Path("/shared/runs/nightly/nightly.log"),
    environment={"PATH": "/opt/slurm/bin:/usr/bin:/bin"},
)
NASTY = '/shared/it\'s 100% $(touch x) "quoted" `y` ü'


def nasty() -> Schedule:
    return Schedule(
        clock=time(23, 30),
        command=(f"{NASTY}/python", "-m", "hpcaccept", "nightly", "run", "--suite", NASTY),
        folder=Path(NASTY),
        runs_dir=Path(NASTY),
        log=Path(f"{NASTY}/log"),
        environment={"PATH": f"{NASTY}/bin:/usr/bin"},
    )


def cron_line(block: bytes) -> str:
    """The shell command that cron makes of the line: everything behind five fields, up to an unescaped %."""
    line = block.splitlines()[2].decode()
    command = line.split(" ", 5)[5]
    assert "%" not in command.replace("\\%", "")
    return command.replace("\\%", "%")


def test_the_line_starts_the_right_command_at_the_right_time() -> None:
    block = cron_block(PLAIN)
    assert block.splitlines()[2].startswith(b"5 2 * * * cd /home/ops && exec /usr/bin/env PATH=/opt/slurm/bin")
    assert block.splitlines()[0] == b"# BEGIN hpcaccept nightly /shared/runs"
    assert block.endswith(b"# END hpcaccept nightly /shared/runs\n")
    assert cron_line(block).endswith("--max-nodes 4 >>/shared/runs/nightly/nightly.log 2>&1")


def test_a_shell_makes_of_the_line_the_words_that_were_meant(tmp_path: Path) -> None:
    """By a real shell: a folder whose name is made of what shells and cron give a meaning."""
    home = tmp_path / NASTY.removeprefix("/shared/")
    (home / "bin").mkdir(parents=True)
    program = home / "python"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$PATH" "$@"\n')
    program.chmod(0o755)
    words = ("-m", "100%", "a b", "it's", "$(touch x)", "")
    schedule = Schedule(
        time(1), (str(program), *words), home, home, home / "the log", {"PATH": f"{home}/bin:/usr/bin:/bin"}
    )
    subprocess.run(["/bin/sh", "-c", cron_line(cron_block(schedule))], check=True, cwd="/")
    assert (home / "the log").read_text().splitlines() == [str(home), f"{home}/bin:/usr/bin:/bin", *words]
    assert sorted(file.name for file in home.iterdir()) == ["bin", "python", "the log"]


@pytest.mark.parametrize("bad", ["/shared/a\nb", "/shared/a\\b", "/shared/a\x07b", "/shared/" + "x" * 1000])
def test_what_no_crontab_takes_is_refused(bad: str) -> None:
    with pytest.raises(UsageError):
        cron_block(Schedule(time(2), (bad, "run"), Path("/home"), Path("/shared/runs"), Path("/log")))


#: Lines of others: comments, variables, our marks for another folder, half marks, bytes that are not UTF-8, DOS ends.
LINES = st.one_of(
    st.sampled_from(
        [
            b"# BEGIN hpcaccept nightly /other/runs",
            b"# END hpcaccept nightly /other/runs",
            b"# BEGIN hpcaccept nightly /shared/runs2",
            b" # BEGIN hpcaccept nightly /shared/runs",
            b"# BEGIN hpcaccept nightly /shared/runs\r",
            b"0 2 * * * date +\\%F | tee $HOME/x",
            b"MAILTO=\xff\xfe",
            b"",
            b"\t",
        ]
    ),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")),
)
CRONTABS = st.lists(LINES, max_size=8).map(lambda found: b"".join(line + b"\n" for line in found))


@given(CRONTABS)
def test_installing_and_removing_leaves_every_byte_of_others(crontab: bytes) -> None:
    installed = with_block(crontab, PLAIN)
    assert installed == crontab + cron_block(PLAIN)
    assert with_block(installed, PLAIN) == installed  # a second time changes nothing
    assert without_block(installed, PLAIN.runs_dir) == crontab
    assert without_block(crontab, PLAIN.runs_dir) == crontab


@given(CRONTABS, CRONTABS)
def test_a_new_schedule_takes_the_place_of_the_old_one(above: bytes, below: bytes) -> None:
    later = Schedule(time(4), PLAIN.command, PLAIN.folder, PLAIN.runs_dir, PLAIN.log)
    assert with_block(above + cron_block(PLAIN) + below, later) == above + cron_block(later) + below
    assert without_block(above + cron_block(PLAIN) + below, PLAIN.runs_dir) == above + below


def test_two_folders_have_two_blocks() -> None:
    both = with_block(cron_block(PLAIN), nasty())
    assert without_block(both, PLAIN.runs_dir) == cron_block(nasty())
    assert without_block(both, nasty().runs_dir) == cron_block(PLAIN)


def test_a_last_line_without_its_end_gets_one() -> None:
    assert with_block(b"0 1 * * * x", PLAIN) == b"0 1 * * * x\n" + cron_block(PLAIN)


@pytest.mark.parametrize("edit", ["no end", "no begin", "twice", "crossed"])
def test_a_block_that_somebody_has_edited_is_left_to_them(edit: str) -> None:
    first, last = marks(PLAIN.runs_dir)
    crontab = {
        "no end": first + b"\n0 1 * * * x\n",
        "no begin": b"0 1 * * * x\n" + last + b"\n",
        "twice": cron_block(PLAIN) * 2,
        "crossed": last + b"\n" + first + b"\n",
    }[edit]
    with pytest.raises(RunError, match="by hand"):
        with_block(crontab, PLAIN)
    with pytest.raises(RunError, match="by hand"):
        without_block(crontab, PLAIN.runs_dir)


@pytest.mark.parametrize("schedule", [PLAIN, nasty()], ids=["plain", "nasty"])
def test_systemd_takes_the_units(tmp_path: Path, schedule: Schedule) -> None:
    program = tmp_path / Path(schedule.command[0]).name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    there = Schedule(
        schedule.clock, (str(program), *schedule.command[1:]), schedule.folder, schedule.runs_dir, schedule.log,
        schedule.environment,
    )  # fmt: skip
    for name, text in units(there).items():
        (tmp_path / name).write_text(text)
    service = (tmp_path / f"{there.unit}.service").read_text()
    assert "%" not in service.replace("%%", "")
    assert f"OnCalendar=*-*-* {schedule.clock:%H:%M}:00" in (tmp_path / f"{there.unit}.timer").read_text()
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze on this machine")
    done = subprocess.run(
        [verify, "verify", "--user", *sorted(map(str, tmp_path.glob("hpcaccept-nightly-*")))],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr}")
    assert (done.returncode, [x for x in done.stderr.splitlines() if "hpcaccept-nightly" in x]) == (0, []), done.stderr


def test_systemd_is_given_the_words_that_were_meant() -> None:
    service = units(nasty())[f"{nasty().unit}.service"]
    start = next(line for line in service.splitlines() if line.startswith("ExecStart="))
    # systemd's quoting of these characters is that of a shell within double quotes.
    assert shlex.split(start.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%")) == list(nasty().command)
