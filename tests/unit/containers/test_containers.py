"""What can be wrong in the image's definition before it is built: pins, labels, users, programs, and what its scripts choose."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hpcaccept
from hpcaccept.app.commit import commit
from hpcaccept.cli import _COMMANDS
from hpcaccept.config.settings import Settings
from hpcaccept.config.toml import read_toml

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[3]
CONTAINERS = ROOT / "containers"
PAGE = ROOT / "docs/how-to/images.md"
VARIANTS = ("cpu", "cuda", "micromamba", "ngc")


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Containerfile with its words, continued lines joined, comments left out."""
    lines = [x for x in (CONTAINERS / "Containerfile").read_text().splitlines() if not x.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def entrypoint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("entrypoint", CONTAINERS / "entrypoint.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the definition


def test_every_base_is_pinned_by_a_version_and_every_other_stage_is_defined() -> None:
    arguments = dict(x.split("=", 1) for x in of_kind("ARG") if "=" in x)
    defined = {"scratch"}
    for stage in of_kind("FROM"):
        base, _, name = stage.partition(" AS ")
        if base.startswith("${") and not base.endswith("-${VARIANT}"):
            base = arguments[base.strip("${}")]
            assert re.search(r":[^:/]*\d+\.\d+[^:/]*$", base), f"{base} is not pinned"
        else:
            needed = {base.replace("${VARIANT}", variant) for variant in VARIANTS} if "${" in base else {base}
            assert needed <= defined, f"{stage}: {needed - defined} come later or never"
        defined.add(name)
    for base in re.findall(r"base=([^\s\"$]+)", (CONTAINERS / "build.sh").read_text()):
        assert re.search(r":\d+\.\d+\S*$", base), f"{base} of build.sh is not pinned"


def test_every_package_of_python_is_pinned_and_fits_pyproject() -> None:
    pins = dict(
        line.split("==")
        for line in (CONTAINERS / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    torch = next(x for x in of_kind("ARG") if x.startswith("TORCH="))
    pins |= dict(pair.split("==") for pair in torch.partition("=")[2].strip('"').split())
    found = {canonicalize_name(name): version for name, version in pins.items()}
    project = read_toml(ROOT / "pyproject.toml")["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["rank"]):
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"python_version": "3.12"}):
            continue
        assert wanted.specifier.contains(found[canonicalize_name(wanted.name)]), text


def test_sources_of_tools_are_single_commits() -> None:
    text = (CONTAINERS / "tools.sh").read_text()
    commits = re.findall(r"^readonly (\w+)_commit=(\S+)", text, re.MULTILINE)
    assert {name for name, _ in commits} == set(re.findall(r"^build_(\w+)\(\)", text, re.MULTILINE))
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for _, commit in commits)


def test_the_image_runs_as_nobody_special_under_tini() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", of_kind("USER")[-1]), "Kubernetes' runAsNonRoot needs a number"
    assert of_kind("ENTRYPOINT") == ['["/usr/bin/tini", "-s", "-g", "--", "hpcaccept-entrypoint"]']
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")


def test_labels_tell_version_commit_source_and_base() -> None:
    (labels,) = of_kind("LABEL")
    for label, value in {
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "source": "${SOURCE}",
        "base.name": "${BASE}",
    }.items():
        assert f'org.opencontainers.image.{label}="{value}"' in labels


def test_an_image_sets_its_name_and_no_setting_of_hpcaccept() -> None:
    # Where Pyxis starts the ranks, the image's variables would win over the caller's.
    own = {word.partition("=")[0] for words in of_kind("ENV") for word in words.split()} - {"PATH"}
    assert own == {"HPCACCEPT_IMAGE"}


def test_what_the_wheel_holds_is_copied_to_where_it_is_built() -> None:
    build = read_toml(ROOT / "pyproject.toml")["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*build["force-include"], *build["packages"], "pyproject.toml", "hatch_build.py", "LICENSE"}
    lines = [line.split() for line in of_kind("COPY") if "--from=" not in line and line.split()[-1].startswith("/src/")]
    assert {word for words in lines for word in words[:-1]} == needed


def test_dependencies_come_before_the_source_and_nothing_else_is_copied() -> None:
    copied = [line.split() for line in of_kind("COPY") if "--from=" not in line]
    sources = {word for words in copied for word in words[:-1] if not word.startswith("--")}
    assert not of_kind("ADD")
    assert all((ROOT / source).exists() for source in sources)
    ignored, *allowed = (ROOT / ".containerignore").read_text().splitlines()[1:]
    assert ignored == "*"
    assert {x[1:] for x in allowed if x.startswith("!")} == {source.partition("/")[0] for source in sources}
    # docker reads another name.
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()
    order = [rest for _, rest in instructions()]
    first_source = next(i for i, rest in enumerate(order) if rest.startswith("hpcaccept /src"))
    assert all(
        i < first_source for i, rest in enumerate(order) if "apt-get" in rest or "requirements.txt $TORCH" in rest
    )


def test_scripts_and_definition_know_the_same_variants() -> None:
    stages = {x.partition(" AS ")[2] for x in of_kind("FROM")}
    for kind in ("python", "tools"):
        assert {x.partition("-")[2] for x in stages if x.startswith(f"{kind}-")} == set(VARIANTS)
    page = PAGE.read_text()
    assert all(f"`{variant}`" in page for variant in VARIANTS)


# ---- programs


def first_words(module: ast.Module) -> set[str]:
    """The programs that a check's module starts, read from its calls; ``*`` stands for what is known only at run time."""
    assigned: dict[str, ast.expr] = {}
    returned: dict[str, ast.expr] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            assigned.setdefault(node.target.id, node.value)
        elif isinstance(node, ast.FunctionDef) and isinstance(end := node.body[-1], ast.Return) and end.value:
            returned[node.name] = end.value

    def words(node: ast.expr) -> set[str]:
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name) if name in assigned:
                return words(assigned[name])
            case ast.JoinedStr(values=values):
                return {"".join(str(v.value) if isinstance(v, ast.Constant) else "*" for v in values)}
            case (
                ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]) | ast.BinOp(left=first) | ast.IfExp(body=first)
            ):
                return words(first)
            case ast.Dict(values=values):
                return set().union(*map(words, values))
            case ast.Subscript(value=inner) | ast.Starred(value=inner):
                return words(inner)
            case ast.Call(func=ast.Name(id="found" | "param"), args=[inner, *_]):
                return words(inner)
            # checks/shared/nccl_perf.py: a build for MPI, where it is asked for, else the usual one.
            case ast.Call(func=ast.Attribute(attr="program_of"), keywords=asked):
                return {"*_perf", "*_perf_mpi"} if asked else {"*_perf"}
            # A method that makes the command line, or a parameter of the same name that was given one.
            case ast.Call(func=ast.Attribute(attr=name)) | ast.Name(id=name) if name in returned:
                return words(returned[name])
        raise AssertionError(f"line {node.lineno}: which program is started by {ast.unparse(node)}?")

    found = set()
    for call in (x for x in ast.walk(module) if isinstance(x, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        # "ask" is also what one does to a GPU, as a method.
        if name in {"found", "started"} or (name == "ask" and isinstance(call.func, ast.Name)):
            found |= words(call.args[0])
        elif name == "run_tool":
            found |= words(call.args[1])
    return found


def programs() -> set[str]:
    files = (ROOT / "hpcaccept/checks").glob("*.py")
    return set().union(*(first_words(ast.parse(file.read_text())) for file in files))


def table() -> dict[str, str]:
    """The page's table of programs: name → what provides it."""
    section = PAGE.read_text().partition("\n## What is inside\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`|]+)` \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    return {program: provided.strip() for program, provided in rows}


def test_every_program_that_a_check_starts_is_in_the_image_or_said_to_be_left_out() -> None:
    found = programs()
    assert {"fio", "stress-ng", "ib_write_bw", "dcgmi", "*_perf", "gpu_burn", "dmesg", "docker"} <= found, (
        "was it read?"
    )
    assert set(table()) == found


def test_what_the_page_says_to_be_installed_is_installed_by_the_definition() -> None:
    (system,) = [x for x in of_kind("RUN") if "apt-get install" in x]
    packages = set(re.findall(r"[a-z][a-z0-9+.-]+", " ".join(re.findall(r'packages="([^"]*)"', system))))
    tools = (CONTAINERS / "tools.sh").read_text()
    for program, provided in table().items():
        kind, _, what = provided.partition(": ")
        if kind == "package":
            assert what.strip("`") in packages, program
        elif kind == "compiled":
            assert f'{program} "$target/bin/"' in tools or f'/{program} "$target/bin/"' in tools, program
        else:
            assert kind in {"on request", "not in the image"}, f"{program}: {provided}"
            assert len(what) > 20, f"{program}: no reason is given"


# ---- the entry point


@pytest.mark.parametrize("words", [[name] for name in _COMMANDS] + [["--version"], ["-h"], ["submit", "--nodes", "1"]])
def test_commands_and_options_go_to_hpcaccept(words: list[str]) -> None:
    assert entrypoint().chosen(words) == ["hpcaccept", *words]


def test_no_word_is_help_and_any_other_word_is_a_program() -> None:
    chosen = entrypoint().chosen
    assert chosen([]) == ["hpcaccept", "--help"]
    for words in (
        ["python3", "-m", "hpcaccept.rank", "r", "00"],
        ["bash"],
        ["/bin/sh", "-c", "submit"],
        ["hpcaccept", "runs"],
    ):
        assert chosen(words) == words


def started(*words: str, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}
    return subprocess.Popen(
        [sys.executable, CONTAINERS / "entrypoint.py", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip


def test_the_entry_point_becomes_hpcaccept_and_passes_its_exit_code() -> None:
    out, _ = (process := started("--version")).communicate(timeout=30)
    of = f" (commit {commit()})" if commit() else ""
    assert (process.returncode, out.strip()) == (0, f"hpcaccept, version {hpcaccept.__version__}{of}")
    _, err = (process := started("report", "no-such-run", "--runs-dir", "no-such-folder")).communicate(timeout=30)
    assert process.returncode == 2, err


def test_the_entry_point_passes_programs_exit_codes_and_signals() -> None:
    process = started("sh", "-c", "exit 7")
    process.communicate(timeout=30)
    assert process.returncode == 7
    process = started("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 9


def test_a_mistyped_command_is_named_with_the_nearest() -> None:
    _, err = (process := started("sumbit")).communicate(timeout=30)
    assert process.returncode == 127
    assert "'sumbit' is neither a command of hpcaccept nor a program" in err
    assert "submit" in err.partition("image.")[2]


def test_a_user_without_a_name_and_a_home_gets_both(tmp_path: Path) -> None:
    surroundings = entrypoint().surroundings
    assert surroundings({"HOME": "/", "A": "b"}) == {"HOME": "/tmp", "USER": "hpcaccept", "A": "b"}
    kept = {"HOME": str(tmp_path), "USER": "me"}
    assert surroundings(kept) == kept


# ---- build.sh and sqsh.sh


def checkout(tmp_path: Path) -> Path:
    """A repository with as much of this one as build.sh reads, in one commit."""
    folder = tmp_path / "checkout"
    for name in ("containers/build.sh", "containers/sqsh.sh", "containers/Containerfile", "hpcaccept/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    for words in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://me:secret@git.example/hpcaccept.git"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example", "commit", "--quiet", "-m", "one"],
    ):
        subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)
    return folder


def builders(tmp_path: Path, **programs: str) -> str:
    """A PATH with git, what scripts need, and these builders: shell code of each."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("bash", "env", "git", "sed", "realpath", "dirname", "timeout", "stat"):
        if not (folder / name).exists():
            (folder / name).symlink_to(f"/usr/bin/{name}")
    for name, code in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def build(script: Path, path: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": str(script.parents[1]), **variables}
    return subprocess.run(
        ["/bin/bash", script, *words], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


SHOW = 'printf "%s\\n" "$0" "$@"'


def test_docker_without_its_daemon_is_passed_over_and_the_builder_is_named(tmp_path: Path) -> None:
    script = checkout(tmp_path) / "containers/build.sh"
    path = builders(tmp_path, docker="exit 1", buildah=SHOW)
    done = build(script, path, "--no-cache", VARIANT="cpu")
    assert done.returncode == 0, done.stderr
    assert "with buildah" in done.stdout
    assert "chroot" in done.stdout
    assert "--no-cache" in done.stdout
    done = build(script, builders(tmp_path, docker=f'[ "$1" = version ] || {SHOW}'), VARIANT="cpu")
    assert "with docker" in done.stdout


def test_without_any_builder_it_says_what_to_install(tmp_path: Path) -> None:
    script = checkout(tmp_path) / "containers/build.sh"
    done = build(script, builders(tmp_path))
    assert done.returncode == 2
    assert "apt-get install buildah" in done.stderr
    done = build(script, builders(tmp_path, buildah=SHOW), BUILDER="podman")
    assert (done.returncode, "podman was asked for" in done.stderr) == (2, True)
    done = build(script, builders(tmp_path, buildah=SHOW), VARIANT="tpu")
    assert (done.returncode, "expected cuda, micromamba, ngc or cpu" in done.stderr) == (2, True)


def test_the_revision_is_the_commit_and_says_when_what_is_copied_differs_from_it(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    path = builders(tmp_path, buildah=SHOW)

    def revision() -> str:
        found = re.search(r"^REVISION=(.*)$", build(folder / "containers/build.sh", path).stdout, re.MULTILINE)
        assert found
        return found[1]

    commit = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "notes.txt").write_text("not copied into the image")
    assert revision() == commit
    new = folder / "hpcaccept/new.py"
    new.write_text("")
    assert revision() == f"{commit}-dirty"
    new.unlink()
    (folder / "containers/Containerfile").write_text("FROM scratch\n")
    assert revision() == f"{commit}-dirty"


def test_arguments_name_image_base_and_source_and_no_password(tmp_path: Path) -> None:
    script = checkout(tmp_path) / "containers/build.sh"
    path = builders(tmp_path, buildah=SHOW)
    shown = build(script, path, VARIANT="ngc", BASE="reg.example/torch:1.2@sha256:ab").stdout.splitlines()
    assert {"BASE=reg.example/torch:1.2@sha256:ab", "DEVEL=reg.example/torch:1.2@sha256:ab"} <= set(shown)
    assert f"NAME=hpcaccept:{hpcaccept.__version__}-ngc" in shown
    assert "SOURCE=https://git.example/hpcaccept.git" in shown
    assert not any("secret" in line for line in shown)
    assert "NAME=reg.example/x:1" in build(script, path, TAG="reg.example/x:1").stdout.splitlines()


def test_a_squashfs_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    script = checkout(tmp_path) / "containers/sqsh.sh"
    old = tmp_path / "old.sqsh"
    old.write_text("in use")
    done = build(script, builders(tmp_path), str(old))
    assert (done.returncode, old.read_text()) == (2, "in use")
    assert "there already" in done.stderr
    done = build(script, builders(tmp_path), str(tmp_path / "new.sqsh"))
    assert (done.returncode, "apt-get install buildah squashfs-tools" in done.stderr) == (2, True)


# ---- the workflow that builds the variants whose bases lie elsewhere

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text())["jobs"]["image"]


def test_the_workflow_builds_every_variant_with_targets_that_exist() -> None:
    assert set(WORKFLOW["strategy"]["matrix"]["variant"]) == set(VARIANTS)
    run = "\n".join(step.get("run", "") for step in WORKFLOW["steps"])
    targets = set(re.findall(r"^make ([a-z-]+)", run, re.MULTILINE))
    assert targets == {"image"}
    assert "${{" not in run, "what somebody types, and secrets, reach a shell in variables only"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed (apt-get install shellcheck)")
def test_what_the_workflow_runs_is_sound_shell() -> None:
    script = "#!/bin/bash\n# shellcheck disable=SC2016,SC2154\nset -e\n"
    script += "\n".join(step.get("run", "") for step in WORKFLOW["steps"])
    done = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_image_tests_this_machine_where_nobody_says_what_to_do() -> None:
    (words,) = of_kind("CMD")
    assert entrypoint().chosen(json.loads(words)) == ["hpcaccept", "submit", "--nodes", "1"]
    assert Settings().suite == "auto", "quick with a GPU, cpu without"
