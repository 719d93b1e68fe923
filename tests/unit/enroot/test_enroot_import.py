"""enroot/import with a strict stand-in for Enroot: once, whole, locked between hosts, each failure in a sentence."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMPORT = Path(__file__).parents[3] / "enroot" / "import"
DIGEST = "sha256:" + "ab12" * 16
OTHER = "sha256:" + "cd34" * 16
IMAGE = "registry.example#team/hpcaccept"
SECRET = "s3cr3t-of-the-registry"

# Takes what Enroot takes and nothing else. Files in $STAND_IN say how it behaves: digest, fails, hang, torn, version.
STAND_IN = r"""#!PYTHON -IS
import os, sys
here = os.environ["STAND_IN"]
words = sys.argv[1:]
with open(f"{here}/calls", "a") as calls:
    calls.write(" ".join(words) + "\n")
def said(name, default=""):
    try:
        with open(f"{here}/{name}") as file:
            return file.read()
    except FileNotFoundError:
        return default
version = said("version", "4.1.2")
def unknown():
    sys.exit(f"stand-in: Enroot {version} does not take {words}")
if words == ["version"]:
    print(version)
    sys.exit()
if words == ["info"] and version >= "4":
    home = os.environ["HOME"]
    print(f"Enroot version: {version}\n\nEnvironment variables:\n  ENROOT_CACHE_PATH={home}/.cache/enroot")
    print(f"  ENROOT_CONFIG_PATH={home}/.config/enroot\n  ENROOT_TEMP_PATH=/tmp")
    sys.exit()
command = words.pop(0) if words else ""
if command not in ("digest", "import") or (command == "digest" and version < "4"):
    unknown()
options = {}
while words and words[0].startswith("-"):
    option = words.pop(0)
    if option not in {"digest": ("--arch",), "import": ("--arch", "--output")}[command] or not words:
        unknown()
    options[option] = words.pop(0)
import re
tag = "[@:]" if version >= "4" else ":"
if len(words) != 1 or not re.fullmatch(r"docker://([^@/#]+@)?([a-z0-9.:]+#)?[a-z0-9/._-]+(" + tag + "[A-Za-z0-9._:-]+)", words[0]):
    unknown()
if options["--arch"] not in ("x86_64", "aarch64"):
    unknown()
print("[INFO] Querying registry for permission grant", file=sys.stderr)
if said(f"{command}-fails"):
    sys.stderr.write(said(f"{command}-fails"))
    sys.exit(1)
if command == "digest":
    print(said("digest", "DIGEST"))
    sys.exit()
import shutil, struct, subprocess, time
output = options["--output"]
if os.path.exists(output):
    sys.exit(f"[ERROR] File already exists: {output}")
with open(f"{here}/pids", "a") as pids:
    pids.write(f"{os.getpid()}\n")
try:
    with open(output, "wb") as file:
        file.write(b"\0" * 1000)
        file.flush()
        end = time.monotonic() + 30
        while os.path.exists(f"{here}/hang") and time.monotonic() < end:
            time.sleep(0.02)
    if shutil.which("mksquashfs"):
        os.unlink(output)
        os.makedirs(f"{here}/tree", exist_ok=True)
        with open(f"{here}/tree/file", "w") as file:
            file.write("what the image holds\n" * 20000)
        subprocess.run(["mksquashfs", f"{here}/tree", output, "-no-progress", "-noD", "-noI", "-noF"], stdout=subprocess.DEVNULL, check=True)
    else:
        with open(output, "wb") as file:
            size = 400_000
            file.write(struct.pack("<4s5I6H8Q", b"hsqs", 1, 0, 131072, 0, 4, 17, 0, 1, 4, 0, 0, *([0, size] + [0] * 6)))
            file.write(os.urandom(size - 96))
    if os.path.exists(f"{here}/torn"):
        os.truncate(output, 300_000)
except (OSError, subprocess.CalledProcessError) as error:
    sys.exit(f"Write failed because {getattr(error, 'strerror', None) or 'No space left on device'}\nFATAL ERROR:Failed to write to output filesystem")
"""


@dataclass(frozen=True)
class Site:
    """A shared folder, a home, and the stand-in."""

    home: Path
    folder: Path
    stand_in: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.stand_in}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "STAND_IN": str(self.stand_in),
            "USER": "tester",
        }

    def command(self, *words: str) -> list[str]:
        # Without site-packages: it needs none.
        return [sys.executable, "-IS", str(IMPORT), "--arch", "x86_64", *words]

    def run(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=env or self.env, capture_output=True, text=True, timeout=40, check=False
        )

    def refused(self, *words: str, env: dict[str, str] | None = None) -> str:
        """What it says when it refuses; it leaves nothing, prints no path, and always says what to do."""
        before = self.files
        ended = self.run(*words, env=env)
        assert ended.returncode == 3, ended.stderr
        assert ended.stdout == ""
        assert "→ " in ended.stderr
        assert "Traceback" not in ended.stderr
        assert self.files == before
        return ended.stderr

    @property
    def files(self) -> list[str]:
        return sorted(x.name for x in self.folder.iterdir())

    def calls(self, command: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [x for x in (self.stand_in / "calls").read_text().splitlines() if x.startswith(command)]
        return []

    def behaves(self, name: str, text: str = "") -> Path:
        (self.stand_in / name).write_text(text)
        return self.stand_in / name

    def name(self, digest: str = DIGEST, arch: str = "x86_64") -> str:
        return f"team+hpcaccept+{arch}+{digest.replace(':', '-')}.sqsh"

    def image(self, digest: str = DIGEST) -> Path:
        return self.folder / self.name(digest)

    @property
    def lock(self) -> Path:
        return self.folder / f".{self.name().replace('.sqsh', '')}.lock"

    def credentials(self, mode: int = 0o600, host: str = "registry.example") -> Path:
        file = self.home / ".config" / "enroot" / ".credentials"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"machine {host} login bot password {SECRET}\n")
        file.chmod(mode)
        return file


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "home", tmp_path / "shared", tmp_path / "bin")
    for folder in (made.home, made.folder, made.stand_in):
        folder.mkdir()
    program = made.stand_in / "enroot"
    program.write_text(STAND_IN.replace("PYTHON", sys.executable).replace("DIGEST", DIGEST))
    program.chmod(0o755)
    yield made
    with contextlib.suppress(FileNotFoundError):
        for pid in (made.stand_in / "pids").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


# What comes of it


def test_an_image_by_digest_becomes_a_file_that_says_what_it_is(site: Site) -> None:
    ended = site.run(f"{IMAGE}@{DIGEST}", str(site.folder))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{site.image()}\n"
    assert site.files == [site.name(), f"{site.name()}.json"]
    known = json.loads((site.folder / f"{site.name()}.json").read_text())
    state = site.image().stat()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", known.pop("created_at"))
    assert known == {
        "reference": f"{IMAGE}@{DIGEST}",
        "digest": DIGEST,
        "enroot": "4.1.2",
        "sha256": hashlib.sha256(site.image().read_bytes()).hexdigest(),
        "bytes": state.st_size,
        "mtime": state.st_mtime,
    }
    assert site.calls("digest") == []


def test_a_tag_is_resolved_and_imported_by_its_digest(site: Site) -> None:
    ended = site.run(f"{IMAGE}:1.4", str(site.folder))
    assert ended.stdout == f"{site.image()}\n", ended.stderr
    assert site.calls("digest") == [f"digest --arch x86_64 docker://{IMAGE}:1.4"]
    [call] = site.calls("import")
    assert call.endswith(f" docker://{IMAGE}@{DIGEST}")


def test_a_tag_that_moved_gets_a_file_of_its_own(site: Site) -> None:
    assert site.run(f"{IMAGE}:latest", str(site.folder)).returncode == 0
    site.behaves("digest", OTHER)
    assert site.run(f"{IMAGE}:latest", str(site.folder)).stdout == f"{site.image(OTHER)}\n"
    assert site.image().exists()


def test_two_architectures_do_not_meet_in_one_file(site: Site) -> None:
    # One digest may stand for a list of images, one for each architecture.
    for arch in ("x86_64", "aarch64"):
        assert site.run(f"{IMAGE}@{DIGEST}", str(site.folder), "--arch", arch).returncode == 0
    assert {site.name(), site.name(arch="aarch64")} <= set(site.files)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("registry.example/team/hpcaccept:1", "docker://registry.example#team/hpcaccept:1"),
        ("registry.example:5000/hpcaccept:1", "docker://registry.example:5000#hpcaccept:1"),
        ("docker://registry.example:5000#hpcaccept", "docker://registry.example:5000#hpcaccept:latest"),
        ("$oauthtoken@registry.example#team/hpcaccept:1", "docker://$oauthtoken@registry.example#team/hpcaccept:1"),
        ("team/hpcaccept:1", "docker://team/hpcaccept:1"),
        ("python:3.12-slim", "docker://python:3.12-slim"),
    ],
)
def test_names_may_be_written_as_enroot_or_docker_do(text: str, uri: str, site: Site) -> None:
    site.behaves("digest-fails", "asking was enough\n")
    site.refused(text, str(site.folder))
    assert site.calls("digest") == [f"digest --arch x86_64 {uri}"]


# Once


def test_what_is_there_is_used_again_without_enroot_or_a_registry(site: Site) -> None:
    first = site.run(f"{IMAGE}@{DIGEST}", str(site.folder))
    shutil.rmtree(site.stand_in)
    again = site.run(f"{IMAGE}@{DIGEST}", str(site.folder))
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "is there already" in again.stderr
    site.stand_in.mkdir()


def test_many_at_once_do_the_work_once(site: Site) -> None:
    hang = site.behaves("hang")
    logs = [site.home / f"{number}.err" for number in range(4)]
    running = []
    for log in logs:
        with log.open("w") as err:
            words = site.command(f"{IMAGE}@{DIGEST}", str(site.folder))
            running.append(subprocess.Popen(words, env=site.env, stdout=subprocess.PIPE, stderr=err, text=True))
    until(lambda: sum("waiting for it" in x.read_text() for x in logs) == 3, "three wait for the fourth")
    hang.unlink()
    assert [x.communicate(timeout=30)[0] for x in running] == [f"{site.image()}\n"] * 4
    assert [x.returncode for x in running] == [0] * 4
    assert len(site.calls("import")) == 1
    assert site.files == [site.name(), f"{site.name()}.json"]


# Whole, or not there


@contextlib.contextmanager
def importing(site: Site) -> Iterator[subprocess.Popen[str]]:
    """An import that is in the middle of it."""
    site.behaves("hang")
    words = site.command(f"{IMAGE}@{DIGEST}", str(site.folder))
    process = subprocess.Popen(words, env=site.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: any(x.endswith(".part") for x in site.files), "the image is being written")
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_a_killed_import_leaves_nothing_that_looks_finished_and_is_begun_anew(site: Site) -> None:
    with importing(site) as process:
        process.kill()
        process.wait(timeout=10)
    assert all(x.startswith(".") for x in site.files)
    # What it had started still writes, and keeps the lock.
    waiting = site.home / "waiting.err"
    with waiting.open("w") as err:
        words = site.command(f"{IMAGE}@{DIGEST}", str(site.folder))
        second = subprocess.Popen(words, env=site.env, stdout=subprocess.PIPE, stderr=err, text=True)
    until(lambda: "waiting for it" in waiting.read_text(), "the second waits for what the first left running")
    assert len(site.calls("import")) == 1
    (site.stand_in / "hang").unlink()
    assert second.communicate(timeout=30)[0] == f"{site.image()}\n"
    assert f"process {process.pid} was killed while it imported" in waiting.read_text()
    assert site.files == [site.name(), f"{site.name()}.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_import_leaves_nothing_at_all(number: int, site: Site) -> None:
    with importing(site) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "nothing was left" in err
    assert site.files == []


def test_a_torn_image_is_not_published(site: Site) -> None:
    site.behaves("torn")
    assert "no whole squashfs image" in site.refused(f"{IMAGE}@{DIGEST}", str(site.folder))


@pytest.mark.parametrize("harm", ["torn", "other bytes", "no sidecar", "another digest"])
def test_a_file_that_is_not_what_was_imported_is_neither_used_nor_replaced(harm: str, site: Site) -> None:
    assert site.run(f"{IMAGE}@{DIGEST}", str(site.folder)).returncode == 0
    sidecar = site.folder / f"{site.name()}.json"
    if harm == "torn":
        os.truncate(site.image(), 200_000)
    elif harm == "other bytes":
        os.utime(site.image(), (1, 1))
    elif harm == "no sidecar":
        sidecar.unlink()
    else:
        sidecar.write_text(sidecar.read_text().replace(DIGEST, OTHER))
    before = site.image().stat().st_ino, site.image().read_bytes()
    said = site.refused(f"{IMAGE}@{DIGEST}", str(site.folder))
    assert f"rm {site.image()}" in said
    assert (site.image().stat().st_ino, site.image().read_bytes()) == before
    assert len(site.calls("import")) == 1


def test_a_full_disk_is_named_with_what_it_has_left(site: Site) -> None:
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("needs a mount namespace, for a small disk")
    script = 'mount -t tmpfs -o size=128k tmpfs "$1"; status=0; "${@:2}" || status=$?; ls -A "$1"; exit "$status"'
    words = [*unshare, "bash", "-euc", script, "bash", str(site.folder)]
    ended = subprocess.run(
        [*words, *site.command(f"{IMAGE}@{DIGEST}", str(site.folder))],
        env=site.env,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert f"no space: {site.folder} has 0.0 GB free" in ended.stderr
    assert ended.stdout == ""


# The lock between hosts


def lock_of(host: str) -> str:
    return json.dumps({"host": host, "pid": 4711, "user": "somebody", "since": "2026-11-22T02:00:00+00:00"})


def test_a_silent_lock_of_another_host_is_not_taken_and_what_to_remove_is_said(site: Site) -> None:
    site.lock.write_text(lock_of("login7"))
    said = site.refused(f"{IMAGE}@{DIGEST}", str(site.folder), "--patience", "0.3")
    assert "process 4711 of somebody on login7, since 2026-11-22T02:00:00+00:00" in said
    assert f"rm '{site.lock}'" in said
    assert site.calls("import") == []


def test_a_lock_of_another_host_that_gives_signs_of_life_is_waited_for(site: Site) -> None:
    site.lock.write_text(lock_of("login7"))

    def live() -> None:
        for _ in range(12):
            time.sleep(0.1)
            os.utime(site.lock)
        site.lock.unlink()

    other = threading.Thread(target=live)
    other.start()
    ended = site.run(f"{IMAGE}@{DIGEST}", str(site.folder), "--patience", "0.8")
    other.join(timeout=10)
    assert ended.returncode == 0, ended.stderr


def test_a_lock_left_by_a_dead_process_of_this_host_is_taken_over_at_once(site: Site) -> None:
    site.lock.write_text(lock_of(socket.gethostname()))
    left = site.lock.with_name(f"{site.lock.stem}.{socket.gethostname()}.4711.part")
    left.write_text("half an image")
    ended = site.run(f"{IMAGE}@{DIGEST}", str(site.folder), "--patience", "0.3")
    assert ended.returncode == 0, ended.stderr
    assert "process 4711 was killed" in ended.stderr
    assert site.files == [site.name(), f"{site.name()}.json"]


def test_a_lock_that_says_nothing_is_not_taken(site: Site) -> None:
    site.lock.write_text("")
    assert "rm '" in site.refused(f"{IMAGE}@{DIGEST}", str(site.folder), "--patience", "0.3")


# What can be refused: wording of Enroot 4.1 and of the tools it runs

MANIFEST = "[ERROR] URL https://registry.example/v2/team/hpcaccept/manifests/1 returned error code:"


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (f"{MANIFEST} 401 Unauthorized", "refused registry.example#team/hpcaccept:1: asked without credentials"),
        (f"{MANIFEST} 404 Not Found", "has no registry.example#team/hpcaccept:1"),
        (f"{MANIFEST} 429 ", "limits how often"),
        (f"{MANIFEST} 503 Service Unavailable", "out of order"),
        ("curl: (6) Could not resolve host: registry.example", "cannot be reached"),
        (
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            "speaks no TLS that this host trusts",
        ),
        ("[ERROR] Command not found: jq", "Command not found: jq"),
        ("[ERROR] \x1b]0;evil\x07 a message that nobody has seen yet", "a message that nobody has seen yet"),
    ],
)
def test_why_enroot_failed_is_said_in_a_sentence(says: str, sentence: str, site: Site) -> None:
    site.behaves("digest-fails", f"{says}\n")
    said = site.refused(f"{IMAGE}:1", str(site.folder))
    assert sentence in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (f"{MANIFEST} 401 Unauthorized", "refused registry.example#team/hpcaccept:1"),
        ("enroot-aufs2ovlfs: failed to set capabilities: Operation not permitted", "enroot+caps"),
        ("enroot-mksquashovlfs: failed to create user namespace: No space left on device", "make namespaces"),
        ("enroot-mksquashovlfs: failed to create user namespace: Operation not permitted", "make namespaces"),
        ("enroot-mksquashovlfs: failed to mount overlay: 0:1:2: Invalid argument", "ENROOT_TEMP_PATH"),
        ("Checksum mismatch: 0123", "a layer arrived damaged"),
    ],
)
def test_why_the_layers_did_not_become_an_image_is_said(says: str, sentence: str, site: Site) -> None:
    site.behaves("import-fails", f"{says}\n")
    assert sentence in site.refused(f"{IMAGE}:1", str(site.folder))


def test_without_enroot_it_says_so(site: Site) -> None:
    tools = site.home / "tools"
    tools.mkdir()
    said = site.refused(f"{IMAGE}:1", str(site.folder), env={**site.env, "PATH": str(tools)})
    assert "there is no enroot on this host" in said


@pytest.mark.parametrize("text", ["", "registry.example#", "Team/Image", "a b", "registry.example#team@sha256:12"])
def test_what_names_no_image_is_refused(text: str, site: Site) -> None:
    assert "names no image" in site.refused(text, str(site.folder))
    assert site.calls("") == []


def test_an_unknown_folder_is_not_made(site: Site) -> None:
    assert "there is no folder" in site.refused(f"{IMAGE}:1", str(site.folder / "misspelt"))


# An older Enroot


def test_enroot_3_imports_by_digest(site: Site) -> None:
    site.behaves("version", "3.5.0")
    assert site.run(f"{IMAGE}@{DIGEST}", str(site.folder)).returncode == 0
    [call] = site.calls("import")
    assert call.endswith(f" docker://{IMAGE}:{DIGEST}")


def test_enroot_3_cannot_resolve_a_tag(site: Site) -> None:
    site.behaves("version", "3.5.0")
    assert "Enroot 3.5.0 cannot say which digest a tag is" in site.refused(f"{IMAGE}:1", str(site.folder))


# Credentials


@pytest.mark.parametrize("mode", [0o640, 0o602])
def test_credentials_that_others_can_read_are_refused(mode: int, site: Site) -> None:
    file = site.credentials(mode)
    for reference in (f"{IMAGE}:1", f"{IMAGE}@{DIGEST}"):
        said = site.refused(reference, str(site.folder))
        assert f"chmod 600 {file}" in said
        assert SECRET not in said
    assert site.calls("digest") + site.calls("import") == []


@pytest.mark.parametrize(
    ("host", "user", "sentence"),
    [
        ("registry.example", "", "asked with the credentials for registry.example"),
        ("registry.example", "else@", "has no line for registry.example and that user"),
        ("other.example", "", "has no line for registry.example"),
    ],
)
def test_a_refusal_says_whether_credentials_were_there_and_never_what_they_are(
    host: str, user: str, sentence: str, site: Site
) -> None:
    site.credentials(host=host)
    site.behaves("digest-fails", f"{MANIFEST} 401 Unauthorized\n")
    said = site.refused(f"{user}{IMAGE}:1", str(site.folder))
    assert sentence in said
    assert SECRET not in said
    assert "bot" not in said


def test_credentials_never_stand_on_a_command_line_nor_beside_the_image(site: Site) -> None:
    site.credentials()
    assert site.run(f"{IMAGE}:1", str(site.folder)).returncode == 0
    assert SECRET not in (site.stand_in / "calls").read_text()
    assert SECRET not in (site.folder / f"{site.name()}.json").read_text()


@pytest.mark.parametrize("text", [f"bot:{SECRET}@{IMAGE}", f"docker://bot:{SECRET}#@registry.example#team/x:1"])
def test_a_password_in_the_name_is_refused_and_not_repeated(text: str, site: Site) -> None:
    said = site.refused(text, str(site.folder))
    assert "a password on the command line" in said
    assert SECRET not in said
