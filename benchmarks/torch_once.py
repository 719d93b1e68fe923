"""How often is torch imported? Once per rank of a run whose checks need it, nowhere else; torchvision never.

Every process of a run (command, driver, ranks) says at its end which modules it holds: a ``sitecustomize`` of ours is on
its PYTHONPATH. How often a rank imported torch is in its journal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._child import environment
from benchmarks._row import CannotRun, Row, Target
from benchmarks._submission import submit

_AT_EXIT = """\
import atexit, json, os, sys
def tell(words=tuple(sys.orig_argv)):
    found = [name for name in ("torch", "torchvision", "numpy") if name in sys.modules]
    with open(os.path.join({folder!r}, f"{{os.getpid()}}.json"), "w") as file:
        json.dump({{"words": words, "found": found}}, file)
atexit.register(tell)
leave = os._exit  # some leave without atexit
os._exit = lambda code: (tell(), leave(code))
"""
_SMALL = """\
[checks.identity]
[checks.os_noise]
duration_s = 0.01
"""
_SEVERAL = f"""{_SMALL}
[checks.matmul]
dtypes = ["fp32"]
[checks."matmul:again"]
dtypes = ["fp64"]
[checks.memory_bandwidth]
[checks.train]
[checks.allreduce]
"""
_RANKS = 2
_COMMANDS = (["checks"], ["config"], ["runs"], ["report"], ["submit", "--dry-run", "--launcher", "local", "-s", "cpu"])


def measure(quick: bool) -> list[Row]:
    """Two local runs, one that needs torch and one that does not, and the commands of the login side."""
    del quick
    with tempfile.TemporaryDirectory() as folder:
        needy, imports = _run(Path(folder) / "needy", _SEVERAL)
        frugal, _ = _run(Path(folder) / "frugal", _SMALL)
        logins = _commands(Path(folder) / "commands", Path(folder) / "needy")
    login = [p for p in (*needy, *frugal, *logins) if "hpcaccept.rank" not in p["words"]]
    everyone = [*needy, *frugal, *logins]
    return [
        Row("imports of torch per rank, five checks that need it", "imports", imports, target=_exactly(1)),
        _holding(f"commands and drivers that hold torch, of {len(login)}", "torch", login),
        _holding(f"processes that hold torch where no check needs it, of {len(frugal)}", "torch", frugal),
        _holding(f"processes that hold torchvision, of {len(everyone)}", "torchvision", everyone),
    ]


def _exactly(count: int) -> Target:
    return Target("value", lower=count, upper=count)


def _holding(what: str, module: str, processes: list[dict[str, list[str]]]) -> Row:
    return Row(what, "processes", (float(sum(module in p["found"] for p in processes)),), target=_exactly(0))


def _run(place: Path, suite: str) -> tuple[list[dict[str, list[str]]], tuple[float, ...]]:
    """Every process of a run, and each rank's number of torch imports."""
    env = environment(HPCACCEPT_GPUS_PER_NODE="0", PYTHONPATH=str(_watch(place)))
    run = submit(place, suite, "--launcher", "local", "--nodes", str(_RANKS), env=env)
    found = _told(place)
    ranks = sum("hpcaccept.rank" in p["words"] for p in found)
    drivers = sum("hpcaccept.launch.job.driver" in p["words"] for p in found)
    if (ranks, drivers) != (2 * _RANKS, 1):  # each rank, and the parent that waits for it
        raise CannotRun(f"{ranks} ranks and {drivers} drivers told what they hold, expected {2 * _RANKS} and 1")
    return found, tuple(float(sum(module == "torch" for module, _ in rank.imports)) for rank in run.ranks)


def _commands(place: Path, runs: Path) -> list[dict[str, list[str]]]:
    env = environment(HPCACCEPT_RUNS_DIR=str(runs / "runs"), PYTHONPATH=str(_watch(place)))
    for words in _COMMANDS:  # the exit status of "report" is the run's, whatever that is
        command = [sys.executable, "-m", "hpcaccept", *words]
        subprocess.run(command, env=env, cwd=place, capture_output=True, timeout=60, check=False)
    return _told(place)


def _watch(place: Path) -> Path:
    """A folder for PYTHONPATH."""
    (place / "path").mkdir(parents=True)
    (place / "told").mkdir()
    (place / "path" / "sitecustomize.py").write_text(_AT_EXIT.format(folder=str(place / "told")))
    return place / "path"


def _told(place: Path) -> list[dict[str, list[str]]]:
    found = [json.loads(file.read_text()) for file in (place / "told").glob("*.json")]
    return [p for p in found if any(word.startswith("hpcaccept") for word in p["words"])]
