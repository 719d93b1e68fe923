"""The CPU image, really built on a Debian made here: it runs the suite as nobody special, and becomes one file for Enroot."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import real_engines

import hpcaccept

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "localhost/debian:made-here", "localhost/hpcaccept:made-here"
NEEDED = ("apt-get", "buildah", "debootstrap", "mksquashfs", "unsquashfs")
MISSING = [program for program in NEEDED if not shutil.which(program)]
WHY_NOT = (
    "building a Debian needs root"
    if os.geteuid()
    else f"no {', '.join(MISSING)}: bash tests/system/image/install.sh"
    if MISSING
    else ""
)
pytestmark = [pytest.mark.mpi, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


def said_by(*words: str | Path, timeout_s: float = 60, env: dict[str, str] | None = None) -> str:
    """What a command prints; one that fails fails the test, with its last words."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd=ROOT)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


# ---- what this machine knows of mirrors, and the build must know too


def debian() -> tuple[str, str]:
    """Code name of this Debian and the mirror that it is installed from."""
    name = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    lines = said_by("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in lines.splitlines():
        site, release, component = line.split()
        if (release, component) == (name, "main"):
            return name, site
    pytest.skip("apt-get names no mirror of this Debian: apt-get update")


def pip_settings() -> dict[str, list[str]]:
    """pip's settings here, of all files and variables: name → values."""
    found: dict[str, list[str]] = {}
    for line in said_by(sys.executable, "-m", "pip", "config", "list").splitlines():
        place, _, value = line.partition("=")
        section, _, name = place.rpartition(".")
        if section in {"global", "install", ":env:"}:
            found.setdefault(name, []).extend(x for x in value.strip("'").replace("\\n", " ").split() if x)
    return found


def options_for_pip(folder: Path) -> list[str]:
    """Options of the build with which pip finds there what it finds here: indexes, folders of wheels, certificates."""
    here = pip_settings()
    kept = {name: here[name] for name in ("index-url", "extra-index-url", "find-links") if name in here}
    local = {Path(x) for x in kept.get("find-links", []) if x.startswith("/")}
    # The pages of an index name files beside its folder.
    local |= {
        Path(x.removeprefix("file://")).parent for values in kept.values() for x in values if x.startswith("file:")
    }
    text = "".join(f"{name} = {' '.join(dict.fromkeys(values))}\n" for name, values in kept.items())
    options = [f"--volume={path}:{path}:ro" for path in sorted(local) if path.is_dir()]
    if "cert" in here:
        shutil.copy(here["cert"][-1], folder / "certificates.pem")
        options.append(f"--volume={folder}/certificates.pem:/run/certificates.pem:ro")
        text += "cert = /run/certificates.pem\n"
    (folder / "pip.conf").write_text(f"[global]\n{text}")
    return [*options, f"--secret=id=pip.conf,src={folder}/pip.conf", *torch_of(here.get("find-links", []))]


def torch_of(links: list[str]) -> list[str]:
    """A torch for the CPU and this Debian's Python that lies in a folder here is taken; else the definition's is loaded."""
    version = said_by("/usr/bin/python3", "-c", "import sys; print('%d%d' % sys.version_info[:2])").strip()
    files = [file.name for link in links if Path(link).is_dir() for file in Path(link).iterdir()]
    pattern = rf"torch-([\d.]+)\+cpu-cp{version}-.*_{platform.machine()}\.whl"
    if found := next((m[1] for name in files if (m := re.fullmatch(pattern, name))), ""):
        # Without torchvision: PyPI's does not fit such a torch. Only the check resnet needs it, which is no part of the suite cpu.
        return [f"--build-arg=TORCH=torch=={found}", "--build-arg=TORCH_INDEX="]
    return []


# ---- the image


@dataclass(frozen=True)
class Workshop:
    """A folder with buildah's storage in it and one image of one commit; nothing lies outside."""

    folder: Path
    env: dict[str, str]
    commit: str

    def buildah(self, *words: str | Path, timeout_s: float = 120) -> str:
        return said_by("buildah", *words, env=self.env, timeout_s=timeout_s).strip()

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
        return found

    def run(self, *words: str, runs: Path | None = None, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Words, given to the entry point that the image itself names, as the user that it names."""
        container = self.buildah("from", "--pull-never", IMAGE)
        volume = [f"--volume={runs}:/runs"] if runs else []
        try:
            return subprocess.run(
                ["buildah", "run", "--isolation", "chroot", *volume, container, "--", *self.config()["Entrypoint"], *words],
                env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False,
            )  # fmt: skip
        finally:
            self.buildah("rm", container)


def make_base(env: dict[str, str]) -> None:
    """A Debian of this machine's release, as an image that says what official ones say."""
    name, mirror = debian()
    container = said_by("buildah", "from", "scratch", env=env).strip()
    tree = said_by("buildah", "mount", container, env=env).strip()
    said_by("debootstrap", "--variant=minbase", name, tree, mirror, timeout_s=300)
    settings = [line for line in said_by("apt-config", "dump").splitlines() if line.startswith("Acquire::")]
    Path(tree, "etc/apt/apt.conf.d/01-as-here").write_text("\n".join(settings) + "\n")
    # As Debian's own images have it: a build that is interrupted is thrown away.
    Path(tree, "etc/dpkg/dpkg.cfg.d/docker-apt-speedup").write_text("force-unsafe-io\n")
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    said_by("buildah", "config", "--env", path, "--cmd", "bash", container, env=env)
    said_by("buildah", "commit", "--quiet", "--rm", container, BASE, env=env, timeout_s=120)


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with tempfile.TemporaryDirectory(prefix="hpcaccept-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "tmp").mkdir()
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{name}/run"\ngraphroot = "{name}/storage"\n'
        )
        env = {**os.environ, "CONTAINERS_STORAGE_CONF": f"{name}/storage.conf", "TMPDIR": f"{name}/tmp"}
        try:
            make_base(env)
            made = Workshop(folder, env, said_by("git", "rev-parse", "HEAD").strip())
            said_by(
                "make", "--silent", "image", "VARIANT=cpu", f"BASE={BASE}", f"TAG={IMAGE}", "BUILDER=buildah",
                f"OPTIONS=--layers=false {' '.join(options_for_pip(folder))}", timeout_s=400, env=env,
            )  # fmt: skip
            yield made
        finally:
            mounted = [
                line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if f" {name}/" in line
            ]
            for place in reversed(mounted):
                subprocess.run(["umount", place], check=False)


def test_the_image_says_what_it_was_made_of(workshop: Workshop) -> None:
    config = workshop.config()
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["version"] == hpcaccept.__version__
    assert labels["revision"] in {workshop.commit, f"{workshop.commit}-dirty"}
    assert labels["base.name"] == BASE
    assert config["User"] == "10001:10001"
    assert f"HPCACCEPT_IMAGE={IMAGE}" in config["Env"]
    history = workshop.buildah("inspect", "--type", "image", IMAGE)
    assert "certificates.pem" not in history, "what the build was lent is in no layer"


def test_words_start_hpcaccept_or_a_program_and_exit_codes_pass(workshop: Workshop) -> None:
    said = workshop.run("--version").stdout.strip()
    named = f"hpcaccept, version {hpcaccept.__version__} (commit {workshop.commit[:12]}"
    assert said in {f"{named})", f"{named}-dirty)"}
    assert "Commands:" in workshop.run().stdout
    assert workshop.run("sh", "-c", "id -u; pwd; exit 7").stdout.split() == ["10001", "/"]
    assert workshop.run("sh", "-c", "exit 7").returncode == 7
    assert workshop.run("submit", "--nodes", "none").returncode == 2
    # Enroot starts a login shell, which forgets the image's PATH.
    assert workshop.run("sh", "-l", "-c", "command -v python3").stdout == "/opt/hpcaccept/bin/python3\n"


def test_programs_of_checks_mpi_and_torch_are_there_and_the_tree_holds_no_secret(workshop: Workshop) -> None:
    done = workshop.run(
        "sh", "-c",
        "for x in fio stress-ng ib_write_bw dmesg setpriv ibstat mpiexec ssh sshd; do command -v $x || exit 1; done;"
        " ompi_info --parsable | grep -c ^mca:pmix: && python3 -c 'import torch, mpi4py.MPI as m; print(m.Get_library_version().split(chr(44))[0], torch.__version__)'",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Open MPI" in done.stdout
    kept = workshop.run("sh", "-c", "cat /etc/pip.conf; ls -A /tmp /src /wheel /etc/ssh/ssh_host_*").stdout
    assert kept.strip() in {"", "/tmp:"}


def test_a_signal_reaches_the_program_below_the_entry_point(workshop: Workshop) -> None:
    container = workshop.buildah("from", "--pull-never", IMAGE)
    tree = workshop.buildah("mount", container)
    environment = dict(pair.split("=", 1) for pair in workshop.config()["Env"])
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    try:
        with subprocess.Popen(
            ["chroot", "--userspec=10001:10001", tree, *workshop.config()["Entrypoint"], "sh", "-c", script],
            stdout=subprocess.PIPE, text=True, env=environment,
        ) as process:  # fmt: skip
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 9
    finally:
        workshop.buildah("rm", container)


def test_the_suite_runs_in_the_image_and_its_records_name_it(workshop: Workshop) -> None:
    runs = workshop.folder / "runs"
    runs.mkdir()
    runs.chmod(0o777)
    words = ("submit", "--nodes", "3", "--suite", "cpu", "--set", "burn.duration_s=1")
    if real_engines.why_not():
        done = workshop.run(*words, "--launcher", "local", runs=runs, timeout_s=300)
    else:
        # As the page says it, with the engine that reads the storage of buildah; only the user differs, who is root here.
        page = (ROOT / "docs/how-to/images.md").read_text()
        (line,) = re.findall(r"^    (docker run .* hpcaccept:VERSION-cpu) submit ", page, re.MULTILINE)
        (workshop.folder / "podman").mkdir()
        env = {**real_engines.podman(workshop.folder / "podman", "127.0.0.1:1"), **workshop.env, "IMAGE": IMAGE}
        env["PATH"] = f"{workshop.folder}/podman/bin:{real_engines.PLACE}/bin:{env['PATH']}"
        script = 'id() { echo 10001; }; docker() { podman run --network=host "${@:2}"; }; '
        script += line.replace("hpcaccept:VERSION-cpu", '"$IMAGE"') + ' "$@"'
        done = subprocess.run(
            ["bash", "-c", script, "bash", *words], cwd=workshop.folder, env=env,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    (folder,) = runs.glob("2*")
    report = json.loads((folder / "report.json").read_text())
    # Virtual nodes on a busy machine may differ in speed; that everything was measured and nothing is wrong must not.
    assert done.returncode == report["exit_code"], done.stdout + done.stderr
    assert report["coverage"]["judged"] == report["coverage"]["asked"] == 3 * 7, done.stdout
    assert not [
        v for v in report["verdicts"] if v["outcome"] == "ERROR" or (v["required"] and v["outcome"] == "NOT_RUN")
    ]
    assert {file.stat().st_uid for file in folder.rglob("*")} == {10001}
    records = [json.loads(line) for file in folder.glob("records/*/*.jsonl") for line in file.read_text().splitlines()]
    said = json.dumps(records)
    assert IMAGE in said, "the fact 'image' of identity"


def test_it_becomes_one_file_that_enroot_can_start(workshop: Workshop) -> None:
    file = workshop.folder / "hpcaccept.sqsh"
    said = said_by("make", "--silent", "sqsh", f"TAG={IMAGE}", f"FILE={file}", timeout_s=200, env=workshop.env)
    assert str(file) in said
    assert not list(workshop.folder.glob("*.part-*"))
    listed = said_by("unsquashfs", "-l", file).splitlines()
    wanted = ("usr/bin/tini", "usr/local/bin/hpcaccept-entrypoint", "opt/hpcaccept/bin/hpcaccept", "etc/rc", "runs")
    assert not [path for path in wanted if f"squashfs-root/{path}" not in listed]
    environment = said_by("unsquashfs", "-cat", file, "etc/environment").splitlines()
    assert f"HPCACCEPT_IMAGE={IMAGE}" in environment
    assert any(line.startswith("PATH=/opt/hpcaccept/bin:") for line in environment)
    # What an ordinary user cannot unpack is not in it, though the tree of debootstrap has it.
    assert [path for path in listed if path.startswith("squashfs-root/dev")] == ["squashfs-root/dev"]
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    (workshop.folder / "tree").mkdir(mode=0o777)
    (workshop.folder / "tree").chmod(0o777)
    said_by(*nobody, "unsquashfs", "-d", workshop.folder / "tree/root", file, "dev", "etc", "var/tmp", "root")
    rc = said_by("unsquashfs", "-cat", file, "etc/rc")
    assert "'/usr/bin/tini' '-s' '-g' '--' 'hpcaccept-entrypoint'" in rc
