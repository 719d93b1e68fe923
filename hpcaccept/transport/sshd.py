"""A process lets others in by ssh: as itself, by one key, for as long as it wants.

No root is needed: such an ``sshd`` lets in the user that it runs as. One key pair is the key of the users and of the hosts alike:
whoever has it belongs here, and nobody else does. Commands that come in see the environment of this process, as they would
if they had been started by it (in an image that is where CUDA and Open MPI are found).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import ask, end_group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What a session has of its own.
_OF_SESSIONS = {"HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "_", "HOSTNAME", "TERM"}
_START_S = 15.0
_INSTALL = "Install it in the image: apt-get install openssh-server openssh-client."


@contextlib.contextmanager
def sshd(folder: Path, key: Path, port: int, environ: Mapping[str, str]) -> Iterator[None]:
    """Let in whoever has the key, while open.

    Args:
        folder: of this process alone (0700): copies of the key, configuration, log.
        key: private, without a passphrase.
        port: to listen at.
        environ: of the commands that come in.

    Raises:
        LaunchError: there is no sshd, the key is none, the folder takes no writing, or nothing listens at the port in time.
    """
    public = _keys(folder, key)
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        raise LaunchError("There is no sshd in this image.", _INSTALL)
    if os.geteuid() == 0:
        # Root's sshd locks what it does not trust yet into this folder, which a service would have made.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = folder / "sshd_config"
    # It holds the environment of the commands, which is nobody else's affair.
    text = (
        f"Port {port}\nHostKey {folder}/key\nAuthorizedKeysFile {folder}/key.pub\nPidFile none\nStrictModes no\n"
        "PubkeyAuthentication yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        f"PermitRootLogin prohibit-password\nAllowTcpForwarding no\nX11Forwarding no\nMaxStartups 512\n{_set_env(environ)}\n"
    )
    _write_private(config, text.encode())
    (folder / "known_hosts").write_text(f"pods {' '.join(public.split()[:2])}\n")
    log = folder / "sshd.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _await(process, port, log)
        yield
    finally:
        end_group(process, 2.0)


def _keys(folder: Path, key: Path) -> str:
    try:
        secret = key.read_bytes()
    except OSError as fault:
        raise LaunchError(
            f"The key of the pods cannot be read: {key}: {fault.strerror}.",
            "Make its Secret; 'hpcaccept k8s render' prints the line to type.",
        ) from None
    mine = folder / "key"
    # A Secret that was pasted may have lost its last line break, which OpenSSH misses.
    _write_private(mine, secret.rstrip() + b"\n")
    public = ask(["ssh-keygen", "-y", "-P", "", "-f", str(mine)])
    if not public.ok:
        raise LaunchError(f"{key} is not a private key without a passphrase: {public.stderr.strip()[:200]}.")
    (folder / "key.pub").write_text(public.stdout)
    return public.stdout


def _write_private(file: Path, content: bytes) -> None:
    """A file for its owner alone, whole or not at all: half a key would be told as a wrong one.

    Raises:
        LaunchError: it cannot be written.
    """
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    except OSError as fault:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise LaunchError(f"Cannot write {file}: {fault.strerror}.", "Is the pod's own disk full?") from fault


def _set_env(environ: Mapping[str, str]) -> str:
    """One line of sshd_config: only the first one counts (sshd_config(5))."""
    words = []
    for name, value in environ.items():
        if name not in _OF_SESSIONS and value.isprintable() and name.isidentifier():
            text = value.replace("\\", "\\\\").replace('"', '\\"')
            words.append(f'"{name}={text}"')
    return f"SetEnv {' '.join(words)}" if words else ""


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as there:
            if there.recv(4) == b"SSH-" and process.poll() is None:
                return
        time.sleep(0.05)
    said = log.read_text("utf-8", "replace").strip().splitlines()[-2:]
    raise LaunchError(f"sshd does not listen at port {port}: {' / '.join(said)[:300] or 'it says nothing'}.", _INSTALL)


def client_config(folder: Path, port: int, places: Mapping[str, str]) -> Path:
    """A configuration of ssh that reaches others who have the same key.

    Args:
        folder: as for ``sshd``.
        port: where they listen.
        places: name → host that has it.

    Raises:
        LaunchError: this process has no name, without which ssh does nothing.
    """
    try:
        me = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise LaunchError(
            f"User number {os.getuid()} has no name in this image, which ssh needs.",
            "Use the image's own user: hpcaccept k8s render --run-as UID.",
        ) from None
    named = "".join(f"Host {name}\n  HostName {host}\n" for name, host in places.items())
    file = folder / "ssh_config"
    file.write_text(
        f"{named}Host *\n  User {me}\n  Port {port}\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n"
        f"  HostKeyAlias pods\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
    )
    return file
