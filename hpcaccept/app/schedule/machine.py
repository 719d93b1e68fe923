"""Reaches a rented machine by a key of ours, at a host key that we made and gave it: nobody else can answer in its place.

What it is started with is an ``sshd`` at the one port that is mapped, and nothing of ours. Whoever owns the machine can read all that is sent there.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.store.replaced_files import OWNER_ONLY, replace_file
from hpcaccept.transport import rsync, ssh
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "rented"
#: Where everything lies there.
ROOT = "/srv/hpcaccept"
PORT = 5000
_MOST_BYTES = 1024 * 1024

_ONSTART = r"""mkdir -p @ROOT@ /run/sshd && chmod 700 @ROOT@ && cd @ROOT@ && umask 077
if ! command -v rsync >/dev/null || ! [ -x /usr/sbin/sshd ]; then
  apt-get update -qq && apt-get install -qq -y --no-install-recommends rsync openssh-server
fi
cat >host_key <<'END'
@HOST_KEY@
END
echo '@PUBLIC@' >authorized_keys
exec /usr/sbin/sshd -D -e -f /dev/null -p @PORT@ -h @ROOT@/host_key -o AuthorizedKeysFile=@ROOT@/authorized_keys -o StrictModes=no \
  -o PidFile=none -o UsePAM=no -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PermitRootLogin=prohibit-password \
  -o "SetEnv=PATH=$PATH LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}"
"""


@dataclass(frozen=True)
class Machine:
    """One rented machine.

    Attributes:
        keys: folder with the keys and the configuration of ssh.
    """

    keys: Path

    @property
    def config(self) -> Path:
        """Of ssh; there once the machine has an address."""
        return self.keys / "ssh_config"

    def onstart(self) -> str:
        """Shell text that it is started with; its host key is in there, which is good for this rental alone."""
        text = _ONSTART.replace("@ROOT@", ROOT).replace("@PORT@", str(PORT))
        public = (self.keys / "key.pub").read_text("ascii").split()
        return text.replace("@PUBLIC@", " ".join(public[:2])).replace(
            "@HOST_KEY@", (self.keys / "host_key").read_text("ascii").strip()
        )

    def is_at(self, address: str, port: int) -> None:
        """Write the configuration that reaches it there, and nobody else."""
        public = (self.keys / "host_key.pub").read_text("ascii").split()
        replace_file(self.keys / "known_hosts", f"{HOST} {' '.join(public[:2])}\n", OWNER_ONLY)
        lines = {
            "HostName": address,
            "Port": str(port),
            "User": "root",
            "IdentityFile": _quoted(self.keys / "key"),
            "IdentitiesOnly": "yes",
            "HostKeyAlias": HOST,
            "UserKnownHostsFile": _quoted(self.keys / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "15",
            "ForwardAgent": "no",
            "LogLevel": "ERROR",
        }
        text = f"Host {HOST}\n" + "".join(f"  {name} {value}\n" for name, value in lines.items())
        replace_file(self.config, text, OWNER_ONLY)

    def run(self, command: str, *, deadline_s: float = 30.0, given: bytes = b"") -> ssh.SshDone:
        """A shell command there."""
        return ssh.run_there(self.config, HOST, command, deadline_s=deadline_s, most_bytes=_MOST_BYTES, given=given)

    def answers(self) -> bool:
        """True when its sshd lets us in."""
        return self.config.exists() and self.run("true", deadline_s=20.0).returncode == 0

    def send(
        self, folder: Path, names: Sequence[str], into: str, exclude: Sequence[str], deadline_s: float
    ) -> rsync.Synced:
        """Files and folders of a folder, into one there."""
        there = [str(folder / each) for each in names if (folder / each).exists()]
        return rsync.sync(self.config, there, f"{HOST}:{into}/", by_hash=True, exclude=exclude, deadline_s=deadline_s)

    def fetch(
        self, folder: Path, names: Sequence[str], of: str, exclude: Sequence[str], deadline_s: float, *, by_hash: bool
    ) -> rsync.Synced:
        """Files and folders of a folder there that are there."""
        listed = self.run(f"cd {shlex.quote(of)} && ls -d {shlex.join(names)} 2>/dev/null", deadline_s=30)
        if listed.returncode == 255 or listed.late:
            return rsync.Synced(whole=False, why=f"ssh: {listed.stderr.strip()[-200:] or 'no answer'}")
        said = listed.stdout.decode("utf-8", "replace").split()
        there = [f"{HOST}:{of}/{each}" for each in names if each in said]
        if not there:
            return rsync.Synced(whole=False, why=f"there is nothing in {of}")
        return rsync.sync(
            self.config, there, str(folder) + "/", by_hash=by_hash, exclude=exclude, deadline_s=deadline_s
        )


def with_new_keys(keys: Path) -> Machine:
    """A machine that is not rented yet, with a key of ours and a host key of its own.

    Raises:
        LaunchError: there is no ssh-keygen here, or no space.
    """
    try:
        if keys.exists():
            shutil.rmtree(keys)
        keys.mkdir(mode=0o700)
    except OSError as fault:
        raise LaunchError(f"Cannot make {keys}: {fault.strerror}.") from None
    for name in ("key", "host_key"):
        done = ask(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(keys / name)])
        if not done.ok:
            raise LaunchError(f"ssh-keygen: {done.stderr.strip()[:200]}.")
    return Machine(keys)


def _quoted(file: Path) -> str:
    return f'"{file}"'
