"""Brings hpcaccept into an image that does not have it: its own files are sent there, and only they are accepted.

The start command opens the tester's port, in the clear, for one file: the one whose SHA-256 stands in the command itself, which travels to the marketplace
over TLS. Whoever is on the way can read what is published anyway, or cut it off; what was changed is thrown away. Then the packages that hpcaccept needs
are installed beside the image's own torch, and the tester takes over the port.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import shlex
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import hpcaccept
from hpcaccept.app.commit import WRITTEN, commit
from hpcaccept.errors import UsageError
from hpcaccept.store.shipped import SHARE
from hpcaccept.transport import one_file
from hpcaccept.transport.tester_client import TesterFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Seconds that sending and installing may take; they are part of the time for loading.
MOST_S = 600.0
#: Brought by the image, and not to be replaced.
_OF_THE_IMAGE = ("torch", "torchvision")
_EXTRAS = ("rank", "mpi")
#: A day that ZIP can write, so that equal files make equal archives.
_DAY = (1980, 1, 1, 0, 0, 0)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;(.*))?")
#: Reads ``--port`` and ``--host`` of its own words, as the tester does.
_RECEIVER = """\
import hashlib,sys
from http.server import BaseHTTPRequestHandler as B,ThreadingHTTPServer as T
a=sys.argv
def word(n,d):return a[a.index(n)+1] if n in a else d
N,D,F=int(word('--size',0)),word('--sha256',''),word('--file','')
class H(B):
 timeout=60
 def do_PUT(s):
  n=int(s.headers.get('Content-Length') or 0)
  b=s.rfile.read(N) if n==N else b''
  ok=hashlib.sha256(b).hexdigest()==D
  if ok:
   with open(F,'wb') as f:f.write(b)
  s.send_response(200 if ok else 400);s.send_header('Content-Length','0');s.end_headers()
  s.server.done|=ok
 def log_message(s,*_):0
S=T((word('--host',''),int(word('--port',0))),H);S.timeout,S.done,S.daemon_threads=1,False,True
while not S.done:S.handle_request()
S.server_close()
"""


@functools.cache
def archive() -> bytes:
    """The running hpcaccept and its published figures as a ZIP, the same bytes whenever the files are the same."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, file in _files():
            packed.writestr(zipfile.ZipInfo(name, _DAY), file.read_bytes(), zipfile.ZIP_DEFLATED)
        # A checkout knows its commit from git, which does not travel.
        packed.writestr(zipfile.ZipInfo(WRITTEN, _DAY), f"{commit()}\n", zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    package = Path(hpcaccept.__path__[0])
    for file in sorted(package.rglob("*")):
        parts = file.relative_to(package).parts
        if (
            file.is_file()
            and "__pycache__" not in parts
            and parts[0] != "_share"
            and file.name != WRITTEN.rpartition("/")[2]
        ):
            yield "/".join(("hpcaccept", *parts)), file
    for file in sorted((SHARE / "baselines").glob("*.h5")):
        yield f"baselines/{file.name}", file


def requirements() -> tuple[str, ...]:
    """What pip installs on the machine: everything that ranks need but what the image brings.

    Raises:
        UsageError: this hpcaccept was not installed, so that nobody knows what it needs.
    """
    try:
        listed = metadata.requires("hpcaccept") or []
    except metadata.PackageNotFoundError:
        raise UsageError(
            "This hpcaccept was not installed, so what it needs on a machine is not known.",
            "Install it with pip, or name an --image that has it.",
        ) from None
    return tuple(text.partition(";")[0].strip() for text in listed if _is_needed(text))


def _is_needed(text: str) -> bool:
    found = _REQUIREMENT.fullmatch(text)
    if not found or found[1].lower() in _OF_THE_IMAGE:
        return False
    marker = found[2] or ""
    # Of markers only extras matter: the backport of a parser costs nothing where it is not needed.
    return "extra" not in marker or any(f"'{extra}'" in marker.replace('"', "'") for extra in _EXTRAS)


def start_command(environment: Sequence[str], serve: Sequence[str]) -> str:
    """Shell text that receives hpcaccept, installs what it needs and becomes the tester.

    Args:
        environment: lines that export the rental's keys.
        serve: words of ``hpcaccept`` that start the tester, ``--port 5000`` among them.
    """
    content = archive()
    receive = f'--size {len(content)} --sha256 {hashlib.sha256(content).hexdigest()} --file "$D/hpcaccept.zip"'
    pip = f'"$P" -m pip install -q {shlex.join(requirements())}'
    lines = [
        *environment,
        "for P in python3 /opt/conda/bin/python3 python; do \"$P\" -c 'import torch' && break; done",
        'P=$(command -v "$P") && D=$(mktemp -d) || exit 1',
        "cat >\"$D/receive.py\" <<'END'",
        f"{_RECEIVER}END",
        f'"$P" "$D/receive.py" --port 5000 {receive} || exit 1',
        '"$P" -m zipfile -e "$D/hpcaccept.zip" "$D/of" || exit 1',
        'export PATH="${P%/*}:$PATH" PYTHONPATH="$D/of" PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore',
        # Without stress-ng the load of the suite is not run, and the machine not judged: no reason to stop here.
        "command -v stress-ng || (apt-get -qq update && apt-get -qqy install --no-install-recommends stress-ng)",
        f"{pip} || exit 1",
        f'exec "$P" -m hpcaccept {shlex.join(serve)}',
    ]
    return "\n".join(lines)


def send(address: str, port: int, *, deadline_s: float, global_only: bool = True) -> bool:
    """Send the files; False: nobody there takes them (yet).

    Raises:
        TesterFault: the address is none that may be asked.
    """
    try:
        return one_file.put(address, port, archive(), deadline_s=deadline_s, global_only=global_only)
    except TesterFault as fault:
        if fault.fault in ("network", "timeout"):
            return False
        raise
