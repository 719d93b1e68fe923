"""The parent of a rank: how the rank ended stands in its journal, and the parent ends the same way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcaccept.model.record import CheckStarted, RankExited, UnreadableLine
from hpcaccept.store.journal import read

ROOT = Path(__file__).parents[3]
#: A rank whose program is the text in ``argv[1]``.
RANK = """
import os, resource, signal, sys, time
from hpcaccept.rank import guard, program
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def main(argv):
    print(os.getpid(), flush=True)
    exec(body)
    return 0
body, program.main = sys.argv[1], main
sys.exit(guard.guarded(sys.argv[2:]))
"""


def start(folder: Path, body: str, rank: str | None = "3", before: str = "") -> subprocess.Popen[str]:
    (folder / "records" / "00").mkdir(parents=True, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI", "SLURM"))}
    if rank is not None:
        environ["PMI_RANK"] = rank
    command = [sys.executable, "-c", before + RANK, body, str(folder), "00"]
    environ["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, cwd=folder)


def ended(folder: Path, body: str, rank: str | None = "3") -> int:
    with start(folder, body, rank) as parent:
        return parent.wait(60)


def journal(folder: Path) -> Path:
    return folder / "records" / "00" / "r000003.jsonl"


def test_a_rank_that_ends_well_leaves_no_line_of_its_end(tmp_path: Path) -> None:
    assert ended(tmp_path, "pass") == 0
    assert not journal(tmp_path).exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("os._exit(5)", 5),
        ("raise ZeroDivisionError", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_how_a_rank_ended_stands_in_its_journal_and_its_parent_ends_alike(
    tmp_path: Path, body: str, status: int
) -> None:
    before = time.time()
    assert ended(tmp_path, body) == status
    (line,) = read(journal(tmp_path))
    assert isinstance(line, RankExited)
    assert line.status == status
    assert before <= line.at <= time.time()


def test_what_the_rank_has_written_stays_and_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    whole = '{"kind":"check_started","data":{"check":"speed"}}'
    body = f"f = open({str(journal(tmp_path))!r}, 'a'); f.write({whole!r} + chr(10) + {whole[:20]!r}); f.close(); os._exit(5)"
    assert ended(tmp_path, body) == 5
    first, torn, last = read(journal(tmp_path))
    assert first == CheckStarted("speed")
    assert isinstance(torn, UnreadableLine)
    assert isinstance(last, RankExited)


def test_a_signal_of_the_launcher_reaches_the_rank(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: os._exit(143)); print('ready', flush=True); time.sleep(60)"
    with start(tmp_path, body) as parent:
        assert parent.stdout
        assert [parent.stdout.readline(), parent.stdout.readline()][1] == "ready\n"
        parent.terminate()
        assert parent.wait(60) == 143


def test_a_signal_that_comes_before_anybody_forwards_it_waits_for_the_one_that_does(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: os._exit(143)); print('ready', flush=True); time.sleep(60)"
    slow = "import os, time\nfork = os.fork\nos.fork = lambda: (pid := fork(), pid and time.sleep(1.0))[0]\n"
    with start(tmp_path, body, before=slow) as parent:
        assert parent.stdout
        assert [parent.stdout.readline(), parent.stdout.readline()][1] == "ready\n"
        parent.terminate()  # while the parent, which has forked, sleeps
        assert parent.wait(60) == 143


def test_a_parent_that_is_killed_takes_its_rank_with_it_and_leaves_no_line(tmp_path: Path) -> None:
    with start(tmp_path, "time.sleep(60)") as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(60)
        until = time.monotonic() + 10
        while time.monotonic() < until and runs(child):
            time.sleep(0.01)
        assert not runs(child)
    assert not journal(tmp_path).exists()


def runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 (gone at any moment)
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_rank_without_a_launcher_is_called_by_its_process(tmp_path: Path) -> None:
    with start(tmp_path, "os._exit(5)", rank=None) as parent:
        assert parent.stdout
        child = parent.stdout.readline().strip()
        assert parent.wait(60) == 5
    assert [file.name for file in (tmp_path / "records" / "00").iterdir()] == [f"pid{child}.jsonl"]


def test_a_folder_that_is_gone_costs_only_the_line(tmp_path: Path) -> None:
    assert ended(tmp_path, f"import shutil; shutil.rmtree({str(tmp_path / 'records')!r}); os._exit(5)") == 5


def test_the_parent_is_small() -> None:
    program = "import sys, hpcaccept.rank.guard; print(*sorted(n for n in sys.modules if '.' not in n))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "mpi4py", "psutil", "dataclasses", "subprocess", "asyncio"} & set(done.stdout.split())
