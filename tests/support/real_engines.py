"""The real Docker and Podman, each with a storage, a socket and settings of its own below a folder: nothing of the machine's is used.

``tests/system/engines/install.sh`` puts them where they are looked for. Machines on which tests run are often containers themselves,
whose root may not raise limits: the engines' ``runc`` is started by a small program that leaves out the limits that cannot be had here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.pyxis_image import tree_of_nothing
from support.submission import until

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = Path("/opt/hpcaccept-engines/usr")
#: In containers of an image of nothing: what Python and MPI are found with.
IMAGE = "team/nothing:1"

_RUNC = """#!{python} -SE
# runc, without the limits of the container that this machine does not give.
import json, os, resource, sys
if "--bundle" in sys.argv:
    file = sys.argv[sys.argv.index("--bundle") + 1] + "/config.json"
    with open(file) as opened:
        config = json.load(opened)
    given = []
    for limit in config["process"].get("rlimits") or []:
        try:
            kind, no_end = getattr(resource, limit["type"]), 2**63
            resource.setrlimit(kind, [-1 if limit[x] >= no_end else limit[x] for x in ("soft", "hard")])
            given.append(limit)
        except (ValueError, OSError):
            pass
    config["process"]["rlimits"] = given
    with open(file, "w") as opened:
        json.dump(config, opened)
os.execv("{runc}", ["{runc}", *sys.argv[1:]])
"""
_CONTAINERS = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = ["{place}/bin/conmon"]
image_copy_tmp_dir = "{folder}"
[engine.runtimes]
runc = ["{folder}/bin/runc"]
"""
_STORAGE = """
[storage]
driver = "vfs"
runroot = "{folder}/run"
graphroot = "{folder}/storage"
"""
#: Docker speaks without TLS with this machine, Podman where it is told.
_REGISTRIES = """
[[registry]]
location = "{plain}"
insecure = true
"""


def why_not() -> str:
    """Why no engine can be started here; empty when they can be tried."""
    if os.geteuid():
        return "starting container engines needs root"
    return "" if (PLACE.parent / "complete").exists() else "no engines: bash tests/system/engines/install.sh"


def _programs(folder: Path) -> str:
    """A PATH on which the engines are, with a runc that asks for no more than there is."""
    place = folder / "bin"
    place.mkdir(parents=True)
    (place / "runc").write_text(_RUNC.format(python="/usr/bin/python3", runc=PLACE / "sbin/runc"))
    (place / "runc").chmod(0o755)
    return f"{place}:{PLACE}/bin:{PLACE}/sbin:{os.environ['PATH']}"


@contextlib.contextmanager
def docker(folder: Path) -> Iterator[dict[str, str]]:
    """A Docker daemon of its own: the environment in which ``docker`` speaks with it.

    Without a network of its own: it changes no rule of the machine's firewall. It mounts in a namespace of its own, so that nothing stays
    mounted when it is gone.
    """
    env = {
        **os.environ,
        "PATH": _programs(folder),
        "DOCKER_HOST": f"unix://{folder}/docker.sock",
        "DOCKER_CONFIG": str(folder),
    }
    command = [
        "unshare", "--mount", "--propagation", "slave", "dockerd", "--storage-driver=vfs", "--iptables=false", "--bridge=none",
        f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", f"--host={env['DOCKER_HOST']}",
        # Nothing of /etc/docker is read, and none of it made.
        f"--config-file={folder}/daemon.json",
        "--containerd-namespace=hpcaccept-test", "--containerd-plugins-namespace=hpcaccept-test-plugins",
    ]  # fmt: skip
    # Docker 20 makes a key beside its settings, and calls it so; later ones know no such word.
    asked = subprocess.run(["dockerd", "--version"], env=env, capture_output=True, text=True, timeout=30, check=True)
    settings = {"deprecated-key-path": f"{folder}/key.json"} if " version 20." in asked.stdout else {}
    (folder / "daemon.json").write_text(json.dumps(settings))
    log = folder / "dockerd.log"
    with log.open("w") as opened, subprocess.Popen(command, env=env, stdout=opened, stderr=opened) as daemon:
        try:
            until(lambda: daemon.poll() is not None or _answers(env), 60, log.read_text)
            if daemon.poll() is not None:
                assert daemon.returncode == 1, log.read_text()  # any other status is a wrong command line
                pytest.skip(f"dockerd does not start on this machine: {log.read_text().strip().splitlines()[-1:]}")
            yield env
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=60)


#: A registry of nothing that wants the password "right" of "user".
_REGISTRY = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""
_HTPASSWD = "user:$2b$04$Y1uF2yr1LAGY.QJs9U0oXuCkoD63U/6lJ5J6LjsIT9c3iZvgmynXy\n"


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry with a password and no image: its address."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "htpasswd").write_text(_HTPASSWD)
    (folder / "config.yml").write_text(_REGISTRY.format(folder=folder, port=port))
    log = folder / "log"
    command = [str(PLACE / "bin/docker-registry"), "serve", str(folder / "config.yml")]
    with log.open("w") as opened, subprocess.Popen(command, stdout=opened, stderr=opened) as server:
        try:
            until(lambda: server.poll() is not None or _listens(port), 60, log.read_text)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=60)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def login(folder: Path, address: str, password: str) -> dict[str, str]:
    """Variables with which both engines give a registry this password of "user"."""
    folder.mkdir()
    told = base64.b64encode(f"user:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": told}}}))
    return {"DOCKER_CONFIG": str(folder), "REGISTRY_AUTH_FILE": str(folder / "config.json")}


def _answers(env: dict[str, str]) -> bool:
    asked = subprocess.run(["docker", "version"], env=env, capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


def podman(folder: Path, plain: str) -> dict[str, str]:
    """The environment in which ``podman`` has a storage of its own, a runtime that starts here, and a registry without TLS at ``plain``."""
    env = {**os.environ, "PATH": _programs(folder)}
    files = {"containers.conf": _CONTAINERS, "storage.conf": _STORAGE, "registries.conf": _REGISTRIES}
    for name, text in files.items():
        (folder / name).write_text(text.format(folder=folder, place=PLACE, plain=plain))
        env[f"CONTAINERS_{name.replace('.', '_').upper()}"] = f"{folder}/{name}"
    return {**env, "CONTAINERS_CONF": f"{folder}/containers.conf"}


def load_nothing(engine: str, folder: Path, env: dict[str, str], *changes: str, name: str = IMAGE) -> str:
    """Give an engine an image with an empty system, and what ``changes`` say of it (``ENTRYPOINT …``); its name there."""
    root = folder / "nothing"
    if not root.exists():
        tree_of_nothing(root)
        # Docker puts its init there, where /usr of the host is not mounted over it.
        (root / "sbin").unlink()
        (root / "sbin").mkdir()
    packed = folder / "nothing.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(packed), "."], check=True, timeout=60)
    words = [word for change in changes for word in ("--change", change)]
    done = subprocess.run(
        [engine, "import", *words, str(packed), name], env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return name
