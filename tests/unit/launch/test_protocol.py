"""Every launcher keeps the protocol, and nobody outside of ``hpcaccept/launch/`` knows one by its name."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcaccept import container, launch
from hpcaccept.app.doctor import login, modules
from hpcaccept.launch import hosts, local, slurm
from hpcaccept.model.launcher import LauncherTraits

if TYPE_CHECKING:
    from collections.abc import Iterator

#: mypy holds each module to the protocol here, signatures and all.
TYPED: dict[str, launch.Launcher] = {"hosts": hosts, "local": local, "slurm": slurm}

NAMES = set(launch.names())
ROOT = Path(__file__).parents[3]
#: Strings that are no launcher's name, though they look like one: file, string → what it is.
UNRELATED = {
    ("hpcaccept/config/settings.py", "slurm"): "a table of the settings: options for sbatch",
    ("hpcaccept/app/run/rerun.py", "slurm"): "that table again",
    ("hpcaccept/checks/storage.py", "local"): "a place: the node's own disk",
    ("hpcaccept/parse/aznhc_conf.py", "hosts"): "the hosts of a line of a .conf, a group of a pattern",
    ("hpcaccept/app/tester/suite.py", "local"): "typed after --launcher, as a user would",
    ("hpcaccept/transport/matrix_inside.py", "local"): "typed after --launcher, as a user would",
    ("hpcaccept/app/node_check/deep.py", "local"): "typed after --launcher, as a user would",
    ("hpcaccept/app/schedule/on_slurm.py", "slurm"): "the cluster is asked for a job's state as the launcher asks it",
    ("hpcaccept/app/schedule/places.py", "slurm"): "a place where scheduled runs run",
    ("hpcaccept/app/schedule/recipe_file.py", "slurm"): "a table of run.toml: options for sbatch",
    ("hpcaccept/app/schedule/views.py", "slurm"): "a place where scheduled runs run",
    ("hpcaccept/cli/schedule.py", "slurm"): "a place where scheduled runs run",
    ("hpcaccept/model/schedule/entry.py", "slurm"): "a place where scheduled runs run",
    ("hpcaccept/report/redact.py", "slurm"): "a user whose name says nothing of a person",
    ("benchmarks/fidelity_host.py", "local"): "typed after --launcher, as a user would",
    ("benchmarks/laptop.py", "local"): "typed after --launcher, as a user would",
    ("benchmarks/torch_once.py", "local"): "typed after --launcher, as a user would",
}


def test_every_launcher_is_held_to_the_protocol_by_the_type_checker() -> None:
    assert set(TYPED) == set(launch.names())


@pytest.mark.parametrize("name", launch.names())
def test_a_launcher_takes_what_the_protocol_gives(name: str) -> None:
    place = launch.load(name)
    asked = [key for key, value in vars(launch.Launcher).items() if inspect.isfunction(value) and key[0] != "_"]
    assert "submit" in asked
    for key in asked:
        wanted = list(inspect.signature(getattr(launch.Launcher, key)).parameters)[1:]
        assert list(inspect.signature(getattr(place, key)).parameters) == wanted, key


@pytest.mark.parametrize("name", launch.names())
def test_what_a_launcher_provides_is_a_word_that_is_known(name: str) -> None:
    known = LauncherTraits.__doc__ or ""
    assert all(f"``{word}``" in known for word in launch.load(name).TRAITS.provides)


def test_what_runtimes_and_looks_need_some_launcher_provides() -> None:
    provided = frozenset().union(*(launch.load(name).TRAITS.provides for name in launch.names()))
    for name in container.names():
        assert provided.issuperset(container.load(name).NEEDS), name
    for look in modules(login):
        assert provided.issuperset(look.NEEDS), look.__name__


def test_each_runtime_is_used_by_the_launchers_that_can_start_it() -> None:
    fits = {name: launch.providing(*container.load(name).NEEDS) for name in ("none", "enroot", "pyxis", "docker")}
    assert fits == {
        "none": ("slurm", "local", "hosts"),
        "enroot": ("slurm", "local"),
        "pyxis": ("slurm",),
        "docker": ("local",),
    }


def test_at_night_auto_is_never_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "available", lambda: "no Slurm controller answers")
    assert launch.choose("auto") == "local"
    assert launch.choose_unattended("auto") == "slurm"
    assert launch.choose_unattended("local") == "local"


# --- nobody knows one by its name -------------------------------------------------------------------------------------


def names_in(source: str) -> Iterator[str]:
    """Strings of a program that are a launcher's name, and imports of a launcher."""
    names = NAMES
    modules_of = {f"hpcaccept.launch.{name}" for name in names}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in names or node.value in modules_of:
                yield node.value
        elif isinstance(node, ast.ImportFrom):
            imported = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
            yield from sorted(name for name in imported if name in modules_of or name.startswith("hpcaccept.launch._"))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules_of)


def sources() -> Iterator[Path]:
    for folder in ("hpcaccept", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if (ROOT / "hpcaccept/launch") not in file.parents:
                yield file


def test_no_code_outside_knows_a_launcher_by_its_name() -> None:
    texts = {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in sources()}
    # Most files need not be understood for that.
    suspect = {file: text for file, text in texts.items() if any(name in text for name in NAMES)}
    found = {(file, name) for file, text in suspect.items() for name in names_in(text)}
    assert found - set(UNRELATED) == set(), "ask launch.load(…).TRAITS or launch.providing(…) instead"
    assert set(UNRELATED) - found == set(), "an exception that nobody needs any more"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('if launcher == "slurm": pass', ["slurm"]),
        ('FOR = ("hosts", "x")', ["hosts"]),
        ("from hpcaccept.launch import local", ["hpcaccept.launch.local"]),
        ("from hpcaccept.launch.slurm import time_limit_s", ["hpcaccept.launch.slurm"]),
        ("import hpcaccept.launch.hosts", ["hpcaccept.launch.hosts"]),
        ("from hpcaccept.launch._slurm import doctor_job", ["hpcaccept.launch._slurm.doctor_job"]),
        ("from hpcaccept.launch.job.driver import drive", []),
        ("x.slurm = 'slurmctld'  # slurm", []),
    ],
)
def test_the_look_for_names_finds_them(line: str, found: list[str]) -> None:
    assert [name for name in names_in(line) if name != "hpcaccept.launch._slurm"] == found
