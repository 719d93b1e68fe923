"""Jobs in real containers of Pyxis and Enroot on the virtual Slurm, and everything that keeps a node out of one, made to happen."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.pyxis_image import image_of_nothing, mounts
from support.submission import ROOT, Finished, command, noise, submit, suite_file
from system.cluster.slurm import VirtualSlurm, find_pyxis

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slurm
NODES = {"node0", "node1", "node2", "node3"}


@pytest.fixture(scope="module")
def pyxis() -> Iterator[VirtualSlurm]:
    """Four nodes on which srun takes ``--container-image``."""
    missing = [name for name in ("slurmd", "mksquashfs", "nsenter") if not shutil.which(name)]
    if os.geteuid() or missing or not find_pyxis():
        why = "not root" if os.geteuid() else f"no {', '.join(missing) or 'Pyxis and Enroot'} on this machine"
        pytest.skip(f"no containers under Slurm: {why} (docs/how-to/pyxis.md)")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-x"), pyxis=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_of_nothing(tmp_path_factory.mktemp("image") / "nothing.sqsh")


def run(
    folder: Path, slurm: VirtualSlurm, image: object, *words: str, env: dict[str, str] | None = None, more: str = ""
) -> Finished:
    """A short suite on four nodes in an image."""
    settings = {"HPCACCEPT_PYTHON": sys.executable, **slurm.env, **(env or {})}
    inside = ["--container-image", str(image), "--container-mounts", mounts() + more]
    suite = suite_file(folder, noise(0.1))
    return submit(folder / "runs", suite, "--nodes", "4", *inside, *words, env=settings).finish()


@contextlib.contextmanager
def on(slurm: VirtualSlurm, node: str, *command: str, undo: tuple[str, ...]) -> Iterator[None]:
    """Something done in the mount namespace of one node, and undone."""
    enter = ["nsenter", "--target", str(slurm.slurmd_pid(node)), "--mount", "--"]
    subprocess.run([*enter, *command], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run([*enter, *undo], check=True, timeout=20)


def kept_out(done: Finished, *nodes: str) -> dict[str, Any]:
    """The one event that tells of nodes that could not be entered; they have ERROR for every check, the others their PASS."""
    assert done.code == 3, done.out + done.err
    (event,) = done.events("not_entered")
    assert set(event["nodes"]) == set(nodes), event
    assert {v["node"] for v in done.verdicts(outcome="ERROR")} == set(nodes), done.out
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise")} == NODES - set(nodes)
    assert not done.verdicts(outcome="FAIL")
    assert f"{len(NODES) - len(nodes)} could be entered: look at " in event["detail"]
    return event


def nowhere(done: Finished) -> str:
    """Why no node could be entered: the run is over, and nobody is blamed."""
    assert done.code == 3, done.out + done.err
    assert not done.verdicts(outcome="FAIL")
    assert not done.events("not_entered")
    assert not [e for e in done.events("step_started") if e["step"] == "01"], "something was measured all the same"
    (ended,) = done.events("ended")
    assert ended["remedy"]
    return str(ended["detail"])


def test_all_checks_run_in_one_container_per_node_and_nothing_stays(
    tmp_path: Path, pyxis: VirtualSlurm, image: Path
) -> None:
    done = run(tmp_path, pyxis, image)
    assert done.code == 0, done.out + done.err
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise")} == NODES
    digest = f"sha256:{hashlib.sha256(image.read_bytes()).hexdigest()}"
    assert done.report["image"]["digest"] == digest
    journals = sorted(done.folder.glob("records/01/*.jsonl"))
    told = [json.loads(line) for file in journals for line in file.read_text().splitlines()]
    assert {word["data"]["image"] for word in told if word["kind"] == "record"} == {digest}
    # The second step has entered what the first one unpacked, and at the end it is gone.
    assert "pyxis: creating" not in (done.folder / "logs/step-01.err").read_text()
    assert not list(pyxis.folder.glob("node*/enroot/data-*/*")), "a container stays on a node"


def test_the_image_is_entered_without_pyxis_too(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    done = run(tmp_path, pyxis, image, "--container-runtime", "enroot")
    assert done.code == 0, done.out + done.err + _logs(done)
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise")} == NODES


def test_a_missing_file_is_refused_before_the_queue(tmp_path: Path, pyxis: VirtualSlurm) -> None:
    done = run(tmp_path, pyxis, "/nowhere/hpcaccept.sqsh")
    assert done.code == 3, done.out + done.err
    assert "Nothing was submitted. image: /nowhere/hpcaccept.sqsh: No such file or directory" in " ".join(
        done.err.split()
    )
    assert not list((tmp_path / "runs").glob("*"))


def test_a_file_that_no_node_sees_is_the_images_fault(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    place = str(image.parent)
    with contextlib.ExitStack() as hidden:
        for node in sorted(NODES):
            mount = ("mount", "-n", "-t", "tmpfs", "none", place)
            hidden.enter_context(on(pyxis, node, *mount, undo=("umount", place)))
        why = nowhere(run(tmp_path, pyxis, image))
    assert "container: the image file does not exist where the ranks start" in why
    assert "on all 4 nodes" in why


def test_a_file_that_one_node_does_not_see_keeps_that_node_out(
    tmp_path: Path, pyxis: VirtualSlurm, image: Path
) -> None:
    with on(
        pyxis, "node2", "mount", "-n", "-t", "tmpfs", "none", str(image.parent), undo=("umount", str(image.parent))
    ):
        event = kept_out(run(tmp_path, pyxis, image), "node2")
    assert "the image file does not exist" in event["detail"]


def test_a_file_that_is_cut_off_is_refused_before_the_queue(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    unreadable = tmp_path / "torn.sqsh"
    whole = image.read_bytes()
    unreadable.write_bytes(whole[: len(whole) // 2])
    done = run(tmp_path, pyxis, unreadable)
    assert done.code == 3, done.out + done.err
    assert "torn.sqsh: " in done.err
    assert "cut short" in done.err
    assert not list((tmp_path / "runs").glob("*"))


def test_a_node_without_space_for_the_image_is_kept_out(tmp_path: Path, pyxis: VirtualSlurm) -> None:
    big = image_of_nothing(tmp_path / "big.sqsh")
    heavy = tmp_path / "big.root/opt/heavy"
    heavy.write_bytes(os.urandom(4 << 20))
    words = ["mksquashfs", str(heavy.parents[1]), str(big), "-noappend", "-quiet", "-no-progress"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    place = str(pyxis.folder / "node1/enroot")
    with on(
        pyxis, "node1", "mount", "-n", "-t", "tmpfs", "-o", "size=1m,mode=1777", "none", place, undo=("umount", place)
    ):
        event = kept_out(run(tmp_path, pyxis, big), "node1")
    assert "container: no space where images are unpacked" in event["detail"]


def test_a_hook_that_fails_on_a_node_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    hooks = tmp_path / "hooks.d"
    hooks.mkdir()
    (hooks / "98-nvidia.sh").write_text(
        "#!/bin/sh\necho 'nvidia-container-cli: initialization error: nvml error' >&2\nexit 1\n"
    )
    (hooks / "98-nvidia.sh").chmod(0o755)
    there = "/etc/enroot/hooks.d"
    with on(pyxis, "node3", "mount", "-n", "--bind", str(hooks), there, undo=("umount", there)):
        event = kept_out(run(tmp_path, pyxis, image), "node3")
    assert "container: a hook of Enroot failed on the node" in event["detail"]


def test_a_mount_that_a_node_lacks_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    data = tmp_path / "data"
    (data / "set").mkdir(parents=True)
    with on(pyxis, "node0", "mount", "-n", "-t", "tmpfs", "none", str(data), undo=("umount", str(data))):
        event = kept_out(run(tmp_path, pyxis, image, more=f",{data}/set:/mnt"), "node0")
    assert "container: something that should be mounted into the container cannot be" in event["detail"]
    assert f"{data}/set" in event["detail"]


def test_a_node_without_enroot_is_kept_out(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    enroot = str(shutil.which("enroot"))
    with on(pyxis, "node1", "mount", "-n", "--bind", "/dev/null", enroot, undo=("umount", enroot)):
        event = kept_out(run(tmp_path, pyxis, image), "node1")
    assert event["detail"].startswith("container: ")
    assert "look at this node rather than at the image" in event["detail"]


def test_a_runtime_folder_that_cannot_be_written_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    place = str(pyxis.folder / "node2/enroot")
    with on(pyxis, "node2", "mount", "-n", "-t", "tmpfs", "-o", "ro", "none", place, undo=("umount", place)):
        event = kept_out(run(tmp_path, pyxis, image), "node2")
    assert "container: a folder that Enroot or Pyxis keeps on the node cannot be made" in event["detail"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("401 Basic", "container: the registry refused the image"),
        ("401 Bearer", "container: the registry refused the image"),
        ("404", "container: the registry does not know the image"),
        ("429", "container: the registry limits how often it is asked"),
        ("", "container: the registry cannot be reached from the nodes"),
    ],
)
def test_what_a_registry_answers_is_told_apart(tmp_path: Path, pyxis: VirtualSlurm, answer: str, words: str) -> None:
    with registry(answer) as address:
        why = nowhere(run(tmp_path, pyxis, f"{address}#team/hpcaccept:1"))
    assert words in why


@contextlib.contextmanager
def registry(answer: str) -> Iterator[str]:
    """A registry that always answers the same, and lets nobody in; without an answer nobody listens there any more."""
    status, _, scheme = answer.partition(" ")

    class JudgedColumn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(status))
            if scheme:
                realm = f"http://{self.headers['Host']}/token" if scheme == "Bearer" else "nobody comes in"
                self.send_header("WWW-Authenticate", f'{scheme} realm="{realm}",service="registry"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - http.server asks for this name

        def log_message(self, *_: object) -> None:
            """Not of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), JudgedColumn)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    try:
        if answer:
            serving.start()
        else:
            server.server_close()
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        if answer:
            server.shutdown()
            serving.join()
        server.server_close()


@contextlib.contextmanager
def registry_of(root: Path) -> Iterator[tuple[str, str]]:
    """A registry with one image, of one layer, which is this tree: its address, and the digest of the image's manifest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as layer:
        layer.add(root, arcname=".")
    setting = {"Entrypoint": None, "Cmd": ["/bin/sh"], "Env": ["PATH=/usr/bin:/bin"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": setting}).encode()
    kinds = "application/vnd.docker"
    blobs = {_digest(blob): blob for blob in (config, packed.getvalue())}
    (of_config, of_layer) = blobs
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kinds}.distribution.manifest.v2+json",
            "config": {"mediaType": f"{kinds}.container.image.v1+json", "size": len(config), "digest": of_config},
            "layers": [
                {
                    "mediaType": f"{kinds}.image.rootfs.diff.tar.gzip",
                    "size": len(blobs[of_layer]),
                    "digest": of_layer,
                }
            ],
        }
    ).encode()
    at = {f"/v2/team/nothing/blobs/{digest}": blob for digest, blob in blobs.items()}
    at |= {f"/v2/team/nothing/manifests/{name}": manifest for name in ("1", _digest(manifest))}

    class JudgedColumn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = at.get(self.path)
            self.send_response(404 if found is None else 200)
            if found is manifest:
                self.send_header("Content-Type", f"{kinds}.distribution.manifest.v2+json")
                self.send_header("Docker-Content-Digest", _digest(manifest))
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(found or b"")

        do_HEAD = do_GET  # noqa: N815 - http.server asks for this name

        def log_message(self, *_: object) -> None:
            """Not of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), JudgedColumn)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", _digest(manifest)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_tag_is_pulled_by_the_digest_that_it_stands_for(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    with registry_of(image.with_suffix(".root")) as (address, digest):
        done = run(tmp_path, pyxis, f"{address}#team/nothing:1", env={"ENROOT_ALLOW_HTTP": "y"})
    assert done.code == 0, done.out + done.err + _logs(done)
    assert done.report["image"]["digest"] == digest
    assert done.report["image"]["reference"] == f"{address}#team/nothing@{digest}"


def test_a_run_folder_of_pyxis_that_is_full_is_named(tmp_path: Path, pyxis: VirtualSlurm) -> None:
    image_of_nothing(tmp_path / "big.sqsh")
    (tmp_path / "big.root/opt/heavy").write_bytes(os.urandom(4 << 20))
    place = str(pyxis.folder / "pyxis")
    tmpfs = ("mount", "-n", "-t", "tmpfs", "-o", "size=1m,mode=1777", "none", place)
    with registry_of(tmp_path / "big.root") as (address, _), on(pyxis, "node3", *tmpfs, undo=("umount", place)):
        event = kept_out(run(tmp_path, pyxis, f"{address}#team/nothing:1"), "node3")
    assert "container: no space where images are unpacked" in event["detail"]


def test_an_image_without_python_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    why = nowhere(run(tmp_path, pyxis, image, env={"HPCACCEPT_PYTHON": "/opt/none/bin/python3"}))
    assert "container: there is no such Python where the ranks start" in why


def test_an_image_without_hpcaccept_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    why = nowhere(run(tmp_path, pyxis, image, env={"HPCACCEPT_PYTHON": f"{sys.base_prefix}/bin/python3"}))
    assert "container: hpcaccept is not installed where the ranks start" in why


def test_an_image_with_another_hpcaccept_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    other = tmp_path / "other/hpcaccept"
    shutil.copytree(ROOT / "hpcaccept", other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "__init__.py").write_text('__version__ = "0.0.1"\n')
    why = nowhere(
        run(
            tmp_path,
            pyxis,
            image,
            "--container-env",
            f"PYTHONPATH={other.parent}",
            more=f",{other.parent}:{other.parent}",
        )
    )
    assert "hpcaccept of the image is of another version than here" in why
    assert "0.0.1" in why


def test_an_mpi_that_cannot_join_is_told_before_anything_is_measured(
    tmp_path: Path, pyxis: VirtualSlurm, image: Path
) -> None:
    # Enroot's own hook for PMI is not there: by itself Enroot does not pass on what the launcher says.
    empty = tmp_path / "hooks.d"
    empty.mkdir()
    there = "/etc/enroot/hooks.d"
    with contextlib.ExitStack() as harmed:
        for node in sorted(NODES):
            harmed.enter_context(on(pyxis, node, "mount", "-n", "--bind", str(empty), there, undo=("umount", there)))
        why = nowhere(run(tmp_path, pyxis, image, "--container-runtime", "enroot"))
    assert "MPI cannot join" in why
    assert "PMIx variables" in why


def test_ranks_that_were_not_started_as_mpi_are_an_error_with_the_remedy(
    tmp_path: Path, pyxis: VirtualSlurm, image: Path
) -> None:
    done = run(tmp_path, pyxis, image, "--mpi", "none")
    assert done.code == 3, done.out + done.err
    errors = done.verdicts(outcome="ERROR", check="os_noise")
    assert errors
    assert all("does not speak with its launcher" in v["reason"] and "srun --mpi=list" in v["remedy"] for v in errors)
    assert not done.verdicts(outcome="FAIL")
    assert not done.verdicts(outcome="PASS", check="os_noise")


def test_an_entry_point_that_ends_is_not_the_nodes_fault(tmp_path: Path, pyxis: VirtualSlurm) -> None:
    odd = image_of_nothing(tmp_path / "odd.sqsh", entry_point="[ -f /etc/rc.local ] && . /etc/rc.local\nexit 3\n")
    why = nowhere(run(tmp_path, pyxis, odd, env={"HPCACCEPT_CONTAINER_ENTRYPOINT": "true"}))
    assert "container: the image's entry point ended instead of starting the command" in why
    (tmp_path / "again").mkdir()
    assert run(tmp_path / "again", pyxis, odd).code == 0


def test_a_folder_that_the_image_lacks_is_named(tmp_path: Path, pyxis: VirtualSlurm, image: Path) -> None:
    why = nowhere(run(tmp_path, pyxis, image, env={"HPCACCEPT_CONTAINER_WORKDIR": "/no/such/folder"}))
    assert "container: the working folder does not exist inside the container" in why


def _logs(done: Finished) -> str:
    return "".join(f"\n--- {file.name}\n{file.read_text()}" for file in sorted((done.folder / "logs").glob("*.err")))


def test_what_a_run_left_that_was_ended_while_it_unpacked_is_removed_by_the_next_which_says_so(
    tmp_path: Path, pyxis: VirtualSlurm, image: Path
) -> None:
    env = {**os.environ, **pyxis.env}
    left, others = "pyxis_hpcaccept-of-before", "pyxis_of-somebody"
    for name in (left, others):
        create = ["srun", "-N4", "--time=2", "enroot", "create", "--name", name, str(image)]
        subprocess.run(create, env=env, check=True, capture_output=True, timeout=60)
    try:
        done = run(tmp_path, pyxis, image)
        (event,) = done.events("swept")
        assert (set(event["nodes"]), event["detail"]) == (NODES, left)
        assert {path.name for path in pyxis.folder.glob("node*/enroot/data-*/*")} == {others}
        assert len(list(pyxis.folder.glob("node*/enroot/data-*/*"))) == len(NODES)
    finally:
        remove = ["srun", "-N4", "--time=2", "enroot", "remove", "--force", others]
        subprocess.run(remove, env=env, check=True, capture_output=True, timeout=60)
    assert done.code == 0, done.out + done.err


def test_the_doctor_leaves_no_image_on_the_nodes_that_it_has_asked(
    tmp_path: Path, pyxis: VirtualSlurm, image: Path
) -> None:
    env = {**pyxis.env, "HPCACCEPT_GPUS_PER_NODE": "0", "HPCACCEPT_PYTHON": sys.executable}
    words = ("--container-image", str(image), "--container-mounts", mounts(), "--runs-dir", str(tmp_path / "runs"))
    done = command("doctor", "--nodes", "4", "--suite", str(suite_file(tmp_path, noise(0.1))), *words, env=env)
    assert "4 of 4 nodes answered" in done.stdout, done.stdout + done.stderr
    assert not list(pyxis.folder.glob("node*/enroot/data-*/*"))
