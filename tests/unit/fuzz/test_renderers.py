"""Nothing that somebody types, sets or stands in becomes a line of a script, nor an option of ssh: over every renderer there is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import pytest
from support.hostile import Site, typed

from hpcaccept.cli import group
from hpcaccept.config.settings import Settings, load_settings
from hpcaccept.config.suites import read_suite
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.launch import hosts
from hpcaccept.model.plan import Image
from hpcaccept.plan.make import make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What renders a script, a unit, a manifest or a command line.
RENDERERS = {
    "local": ["submit", "--dry-run", "--launcher", "local", "-g", "0"],
    "sbatch": ["submit", "--dry-run", "--launcher", "slurm", "-g", "0", "--mpi", "pmix"],
    "hosts": ["submit", "--dry-run", "--launcher", "hosts", "-g", "0", "--nodelist", "node1"],
    **{
        runtime: ["submit", "--dry-run", "--launcher", "slurm", "-g", "8", "--mpi", "pmix", "--container-runtime", runtime, "--container-image", "reg.example.com/a:1"]
        for runtime in ("pyxis", "enroot", "docker", "podman", "apptainer")
    },
    "kubernetes": ["k8s", "render", "--image", "reg/a@sha256:" + "0" * 64, "-g", "8", "--log"],
    "cron": ["nightly", "install", "--cron", "--"],
    "systemd": ["nightly", "install", "--systemd", "--"],
}  # fmt: skip
PLANTED = "touch planted"
#: Line ends of every kind that a shell, YAML, cron or systemd could see.
ENDS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\0")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.made(tmp_path_factory.mktemp("site")) as made:
        yield made


def options_of(words: list[str]) -> list[str]:
    """Every option that takes a text."""
    first = ["nightly", "run"] if words[:2] == ["nightly", "install"] else words[: 2 if words[0] == "k8s" else 1]
    command: click.Command = group
    for word in first:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return [
        one.opts[-1]
        for one in command.params
        if isinstance(one, click.Option) and one.type is click.STRING and not one.is_flag
    ]


def must_not_be_a_line(said: str) -> None:
    for line in said.replace("\r", "\n").splitlines():
        assert not line.strip().startswith(PLANTED), line


@pytest.mark.parametrize("renderer", RENDERERS)
def test_no_option_becomes_a_line_of_a_script(site: Site, renderer: str) -> None:
    names = options_of(RENDERERS[renderer])
    assert len(names) > 5
    for number, name in enumerate(names):
        end = ENDS[number % 3]
        forms = {
            "--slurm": f"comment=x{end}{PLANTED}",
            "--container-env": f"A=x{end}{PLANTED}",
            "--set": f"matmul.dtypes=x{end}{PLANTED}",
        }
        said = typed(*RENDERERS[renderer], f"{name}={forms.get(name, f'x{end}{PLANTED}')}")
        assert said.code == 2, (name, said.out[:500])
        must_not_be_a_line(said.out)
    site.must_be_clean()


@pytest.mark.parametrize("end", ENDS[:-1])
def test_no_kind_of_line_end_passes(site: Site, end: str) -> None:
    for renderer in ("sbatch", "pyxis", "cron", "systemd", "hosts"):
        said = typed(*RENDERERS[renderer], f"--suite=x{end}{PLANTED}.toml")
        assert said.code == 2
        said = typed(*RENDERERS[renderer], f"--account=x{end}{PLANTED}")
        assert said.code == 2, (renderer, said.out[:300])


@pytest.mark.parametrize("renderer", ["local", "sbatch", "hosts", "pyxis", "cron", "systemd"])
def test_nor_does_the_folder_that_it_is_typed_in(site: Site, renderer: str) -> None:
    odd = site.made_here / f"x\n{PLANTED}\n#"
    odd.mkdir(exist_ok=True)
    os.chdir(odd)
    try:
        said = typed(*RENDERERS[renderer])
    finally:
        os.chdir(site.place)
    assert said.code == 2, said.out[:500]
    must_not_be_a_line(said.out)


@pytest.mark.parametrize(
    "names", ["-oProxyCommand=touch planted", "node1,-oX", "node1 -oX", "node1!-oX", "node1&-oX", "node1^-oX", "[a-b,-oX]", "-o[1-2]", "node1\t-oX"]
)  # fmt: skip
@pytest.mark.parametrize("launcher", ["hosts", "slurm", "local"])
def test_no_host_is_an_option(site: Site, names: str, launcher: str) -> None:
    for option in ("--nodelist", "--exclude"):
        more = ["--nodelist", "node1"] if option == "--exclude" else []
        said = typed("submit", "--dry-run", "--launcher", launcher, "-g", "0", *more, f"{option}={names}")
        assert said.code == 2, said.out
        assert said.err.count("Error") == 1


@pytest.mark.parametrize("names", ["-oProxyCommand=x", "node1,-oX", "$(id)", "a;b", "a'b"])
def test_a_plan_that_somebody_changed_starts_no_ssh_with_an_option(names: str, tmp_path: Path) -> None:
    request = request_of(Settings(nodelist="node1"), 0)
    plan = make_plan(
        Settings(), resolve_suite(read_suite("cpu")), request, Image(), launcher="hosts", run_id="r", now="", version="", commit=""
    )  # fmt: skip
    object.__setattr__(plan.request, "nodelist", names)
    with pytest.raises((UsageError, LaunchError), match="not a host name"):
        hosts.nodes(plan, {})


def test_the_name_of_a_host_stands_behind_the_end_of_the_options_of_ssh(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def ask(command: list[str], **_: object) -> None:
        asked.append(command)
        raise LaunchError("not now")

    monkeypatch.setattr("hpcaccept.launch.hosts.ask", ask)
    from hpcaccept.store.folder import RunFolder

    plan = make_plan(
        Settings(), resolve_suite(read_suite("cpu")), request_of(Settings(nodelist="node1"), 0), Image(),
        launcher="hosts", run_id="r", now="", version="", commit="",
    )  # fmt: skip
    hosts.unreachable(plan, ["node1"], RunFolder(tmp_path), {})
    words = asked[-1]
    assert words[words.index("node1") - 1] == "--"


def test_a_setting_may_have_no_line_end_wherever_it_comes_from() -> None:
    for end in ENDS[:-1]:
        with pytest.raises(UsageError, match="one line"):
            load_settings({}, {"HPCACCEPT_ACCOUNT": f"x{end}y"})
