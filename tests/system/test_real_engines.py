"""Runs in containers of the real Docker and Podman, and everything that keeps a command out of one, made to happen."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import real_engines
from support.pyxis_image import mounts
from support.submission import Submission, command, noise, submit, suite_file, until

from hpcaccept import container
from hpcaccept.model.plan import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

WHY_NOT = real_engines.why_not()
pytestmark = [pytest.mark.mpi, pytest.mark.skipif(bool(WHY_NOT), reason=f"not run: {WHY_NOT}")]
BOTH = pytest.mark.parametrize("name", ["docker", "podman"])


@dataclass(frozen=True)
class Engine:
    """One of them, ready to start containers of an image of nothing whose entry point is a program that ends at once."""

    name: str
    env: dict[str, str]
    image: Image
    registry: str
    folder: Path

    def ask(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=180, check=False
        )

    def enter(
        self, image: Image, *command: str, gpus: bool = False, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Our own command line, run."""
        return self.ask(*container.load(self.name).enter(image, command, step="00", gpus=gpus), env=env)

    def kept_out(self, image: Image, *command: str, gpus: bool = False, env: dict[str, str] | None = None) -> str:
        """Which failure our reader finds in what the engine says."""
        done = self.enter(image, *command, gpus=gpus, env=env)
        found = container.load(self.name).explain(done.stderr)
        assert done.returncode != 0, done.stdout
        assert found, done.stderr
        return found.kind

    def containers(self) -> str:
        return self.ask(self.name, "ps", "--all", "--quiet").stdout


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    folder = tmp_path_factory.mktemp("engines")
    for name in ("docker", "podman"):
        (folder / name).mkdir()
    with real_engines.registry(folder / "registry") as registry, real_engines.docker(folder / "docker") as of_docker:
        env = {"docker": of_docker, "podman": real_engines.podman(folder / "podman", registry)}
        found = {}
        for name in env:
            place = folder / name
            reference = real_engines.load_nothing(name, place, env[name], 'ENTRYPOINT ["/usr/bin/false"]')
            image = Image(name, reference, ("/usr:/usr:ro",), name="hpcaccept-of-a-test")
            found[name] = Engine(name, env[name], image, registry, place)
            started = found[name].enter(image, "id")
            if started.returncode:
                pytest.skip(f"{name} starts no container on this machine: {started.stderr.strip()}")
        yield found


@pytest.fixture
def engine(engines: dict[str, Engine], name: str) -> Engine:
    return engines[name]


def begin(folder: Path, engine: Engine, seconds: float) -> Submission:
    inside = ["--container-runtime", engine.name, "--container-image", engine.image.reference]
    env = {**engine.env, "HPCACCEPT_LAUNCHER": "local", "HPCACCEPT_PYTHON": sys.executable}
    words = ["--nodes", "2", *inside, "--container-mounts", mounts(), "--container-env", "GREETING=a b"]
    return submit(folder / "runs", suite_file(folder, noise(seconds, deadline_s=120)), *words, env=env)


@BOTH
def test_a_run_measures_in_the_image_whose_digest_it_keeps_and_nothing_stays(tmp_path: Path, engine: Engine) -> None:
    done = begin(tmp_path, engine, 0.1).finish()
    assert done.code == 0, done.out + done.err
    digest = engine.ask(engine.name, "image", "inspect", "--format={{.Id}}", engine.image.reference).stdout
    assert done.report["image"]["digest"] == f"sha256:{digest.strip().removeprefix('sha256:')}"
    journal = min(done.folder.glob("records/00/*.jsonl"))
    assert f'"image_digest":"{done.report["image"]["digest"]}"' in journal.read_text()
    assert journal.stat().st_uid == os.getuid()
    assert engine.containers() == ""


@BOTH
def test_a_run_that_is_ended_ends_its_container(tmp_path: Path, engine: Engine) -> None:
    running = begin(tmp_path, engine, 60.0)
    running.pid(0)
    assert engine.containers()
    ended = command("cancel", running.folder().name, "--runs-dir", str(running.runs), env=engine.env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    running.finish()
    until(lambda: not engine.containers(), 60, engine.containers)


@BOTH
def test_a_program_that_the_image_lacks_is_named(engine: Engine) -> None:
    assert engine.kept_out(engine.image, "/opt/none/bin/python3", "-V") == "python missing"
    assert engine.kept_out(engine.image, "no-such-mpiexec", "-n", "2") == "MPI missing"


@BOTH
def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path, engine: Engine) -> None:
    missing = tmp_path / "missing"
    assert engine.kept_out(replace(engine.image, mounts=(f"{missing}:/data",)), "true") == "mount failed"
    assert engine.kept_out(replace(engine.image, mounts=("/usr:/usr:sideways",)), "true") == "mount failed"
    assert not missing.exists()


@BOTH
def test_gpus_that_the_engine_cannot_give_are_named(engine: Engine) -> None:
    assert engine.kept_out(engine.image, "true", gpus=True) == "hook failed"


@BOTH
@pytest.mark.parametrize(
    ("password", "kind"), [("", "pull refused"), ("wrong", "pull refused"), ("right", "image missing")]
)
def test_what_a_registry_answers_is_told_apart(tmp_path: Path, engine: Engine, password: str, kind: str) -> None:
    image = replace(engine.image, reference=f"{engine.registry}/team/none:1")
    env = real_engines.login(tmp_path / "login", engine.registry, password) if password else {}
    assert engine.kept_out(image, "true", env=env) == kind
    assert engine.kept_out(replace(image, reference="Team/None:1"), "true") == "image missing"


@pytest.mark.parametrize("name", ["docker"])
def test_the_image_is_read_only_and_its_entry_point_runs_only_where_it_is_asked_for(engine: Engine) -> None:
    written = engine.enter(engine.image, "touch", "/tmp/here", "/etc/there")
    assert "Read-only file system" in written.stderr
    assert "/tmp/here" not in written.stderr
    assert engine.enter(replace(engine.image, entrypoint=True), "true").returncode == 1
    assert engine.enter(replace(engine.image, writable=True), "touch", "/etc/there").returncode == 0


@pytest.mark.parametrize("name", ["docker"])
def test_a_daemon_that_cannot_be_asked_is_named(tmp_path: Path, engine: Engine) -> None:
    assert engine.kept_out(engine.image, "true", env={"DOCKER_HOST": f"unix://{tmp_path}/none"}) == "no runtime"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    said = engine.ask(*nobody, *container.load("docker").enter(engine.image, ["true"], step="00")).stderr
    fault = container.load("docker").explain(said)
    assert fault, said
    assert fault.kind == "no runtime"


@pytest.mark.parametrize("name", ["docker"])
def test_files_belong_to_the_user_who_submits(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(os, "getuid", lambda: 10002)
    monkeypatch.setattr(os, "getgid", lambda: 10003)
    image = replace(engine.image, mounts=(*engine.image.mounts, f"{tmp_path}:{tmp_path}"))
    done = engine.enter(image, "touch", f"{tmp_path}/record")
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "record").stat()
    assert (found.st_uid, found.st_gid) == (10002, 10003)


@pytest.mark.parametrize("name", ["podman"])
def test_a_working_folder_that_the_image_lacks_is_named(engine: Engine) -> None:
    assert engine.kept_out(replace(engine.image, workdir="/no/such"), "true") == "does not start"


@pytest.mark.parametrize("name", ["podman"])
def test_a_disk_without_space_for_containers_is_named(tmp_path: Path, engine: Engine) -> None:
    small = tmp_path / "small"
    small.mkdir()
    storage = Path(engine.env["CONTAINERS_STORAGE_CONF"]).read_text()
    (tmp_path / "storage.conf").write_text(storage.replace(f'"{engine.folder}/', f'"{small}/'))
    env = {"CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf")}
    subprocess.run(["mount", "-n", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], check=True, timeout=20)
    try:
        real_engines.load_nothing("podman", engine.folder, {**engine.env, **env})
        with contextlib.suppress(OSError), (small / "filled").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        assert engine.kept_out(engine.image, "true", env=env) == "no space"
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=20)
