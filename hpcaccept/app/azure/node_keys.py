"""Lets nodes log in to each other: each makes a key pair of its own, and learns everybody's public half and host key.

No private key ever leaves the node it was made on, no agent is forwarded, and no host key is taken on trust.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import TYPE_CHECKING

from hpcaccept.app.azure.gather import Gathered, gather
from hpcaccept.provider.azure.nodes import host_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcaccept.provider.azure.nodes import Node

_BEGIN, _END = "# hpcaccept begin", "# hpcaccept end"
_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{60,80}={0,2}")
_MOST_BYTES = 64 * 1024
_MAKE = """\
set -eu; umask 077; mkdir -p ~/.ssh; cd ~/.ssh
[ -s hpcaccept_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -C hpcaccept -f hpcaccept_ed25519 >/dev/null
[ -s hpcaccept_ed25519.pub ] || ssh-keygen -y -f hpcaccept_ed25519 >hpcaccept_ed25519.pub
cat hpcaccept_ed25519.pub"""
#: Only what stands between the two marks is replaced: the administrator's own keys and settings stay.
_INSTALL = f"""\
set -eu; umask 077; cd ~/.ssh; new=hpcaccept.new; rm -rf "$new"; mkdir "$new"
tar -xf - -C "$new" --no-same-owner --no-same-permissions
touch authorized_keys config
mine() {{ sed '/^{_BEGIN}$/,/^{_END}$/d' "$1"; }}
{{ mine authorized_keys; cat "$new/authorized_keys"; }} >"$new/keys"; mv "$new/keys" authorized_keys
{{ cat "$new/config"; mine config; }} >"$new/settings"; mv "$new/settings" config
mv "$new/known_hosts" hpcaccept_known_hosts
mv "$new/hostfile" "$new/hostfile-ip" ~/
rm -rf "$new\""""


def exchange(nodes: Sequence[Node], config: Path, deadline_s: float) -> tuple[Gathered, ...]:
    """Let every node log in to every other; gives for each whether it took part. Running it again changes nothing.

    Args:
        nodes: whose host keys are known.
        config: of ssh, that reaches them.
        deadline_s: for each node and step.
    """
    names = [node.name for node in nodes]
    made = gather(names, _MAKE, config=config, deadline_s=deadline_s, most_bytes=_MOST_BYTES)
    keys = {
        each.node: found[0]
        for each in made
        if not each.why and (found := _KEY.search(each.output.decode("ascii", "replace")))
    }
    failed = {each.node: each.why or "printed no public key" for each in made if each.node not in keys}
    able = [node for node in nodes if node.name in keys]
    archive = _archive({**_files(able, keys), **host_files(able)})
    taken = gather(
        [node.name for node in able],
        _INSTALL,
        config=config,
        deadline_s=deadline_s,
        given=archive,
        most_bytes=_MOST_BYTES,
    )
    told = {each.node: each for each in taken}
    return tuple(told.get(name) or Gathered(name, b"", failed[name]) for name in names)


def _files(nodes: Sequence[Node], keys: Mapping[str, str]) -> dict[str, bytes]:
    aliases = " ".join(f"{node.name} {node.address}" for node in nodes)
    settings = (
        f"Host {aliases}\n  IdentityFile ~/.ssh/hpcaccept_ed25519\n  UserKnownHostsFile ~/.ssh/hpcaccept_known_hosts\n"
        "  StrictHostKeyChecking yes\n  ForwardAgent no"
    )
    known = "".join(f"{node.name},{node.address} {node.host_key}\n" for node in nodes)
    lines = "\n".join(f"{keys[node.name]} hpcaccept-{node.name}" for node in nodes)
    return {
        "authorized_keys": _marked(lines),
        "config": _marked(settings),
        "known_hosts": known.encode(),
    }


def _marked(text: str) -> bytes:
    return f"{_BEGIN}\n{text}\n{_END}\n".encode()


def _archive(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in sorted(files.items()):
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(content), 0o600
            archive.addfile(about, io.BytesIO(content))
    return out.getvalue()
