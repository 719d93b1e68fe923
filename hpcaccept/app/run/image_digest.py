"""Finds the digest of an image before the job is submitted: a name may stand for two images, a digest may not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import container, launch
from hpcaccept.bounded import read_text
from hpcaccept.errors import HpcacceptError, LaunchError, UsageError
from hpcaccept.parse.image_file import HEAD_BYTES, format_of
from hpcaccept.serial import loads
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.model.plan import Image

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def runtime_of(launcher: str, reference: str) -> str:
    """What enters an image where nothing was named: of the runtimes that take it, one that is here (see `container.usual()`)."""
    provides = launch.load(launcher).TRAITS.provides
    return container.usual(provides, reference, lambda program: bool(shutil.which(program)))


def identified(image: Image) -> Image:
    """The image with its digest, where it can be known here; a tag of a registry becomes the digest that it stands for now.

    A runtime is asked about names of its own only.

    Raises:
        UsageError: an image file that is there is not of the format that its ending promises.
    """
    if not image.reference or image.digest:
        return image
    named = _DIGEST.search(image.reference)
    if named:
        return replace(image, digest=named[0])
    if container.is_file(image.reference):
        return replace(image, digest=digest_of_file(Path(image.reference)))
    runtime = container.load(image.runtime)
    command = runtime.digest_command(image.reference) if runtime.takes_name(image.reference) else ()
    digest = _asked(command, runtime.parse_digest) if command else ""
    # Pinned: a tag that is moved while the job waits would give its nodes different images.
    return replace(image, digest=digest, reference=runtime.pinned(image.reference, digest)) if digest else image


def digest_of_file(file: Path) -> str:
    """Digest of an image file: as ``enroot/import`` wrote it beside the file, else of its bytes; empty when it is not seen here.

    Raises:
        UsageError: it is not of the format that its ending promises.
    """
    try:
        with file.open("rb") as image:
            _refuse_another(file, image.read(HEAD_BYTES))
            return _beside(file) or _cached(file) or _remember(file, f"sha256:{_sha256(file)}")
    except OSError:
        return ""  # the nodes may see what this machine does not


def _refuse_another(file: Path, head: bytes) -> None:
    promised = format_of(file.name)
    if promised is None or promised.begins(head):
        return
    begin, width = promised.magic_at, len(promised.magic)
    where = f"byte {begin} on it holds" if begin else "it begins with"
    raise UsageError(
        f"{file} is not a {promised.name} file: {where} {head[begin : begin + width]!r}, expected {promised.magic!r}.",
        f"Make one: {promised.remedy}.",
    )


def _sha256(file: Path) -> str:
    whole = hashlib.sha256()
    with file.open("rb") as image:
        while block := image.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def _beside(file: Path) -> str:
    """What the importer wrote, if the file is still the one that it made."""
    try:
        told = loads(read_text(file.with_name(file.name + ".json"), follow=True))
        found = file.stat()
        same = (told["bytes"], told["mtime"]) == (found.st_size, int(found.st_mtime))
        digest = str(told["digest"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return digest if same and _DIGEST.fullmatch(digest) else ""


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/")) / ".cache"
    return Path(home) / "hpcaccept" / "images.json"


def _key(file: Path) -> str:
    found = file.stat()
    return f"{file.resolve()} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _read_cache() -> dict[str, str]:
    try:
        kept = loads(read_text(_cache(), follow=True))
        return {str(key): str(value) for key, value in kept.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _cached(file: Path) -> str:
    found = _read_cache().get(_key(file), "")
    return found if _DIGEST.fullmatch(found) else ""


def _remember(file: Path, digest: str) -> str:
    """Keep it: gigabytes are not read again for every run. Nothing depends on its being kept."""
    from hpcaccept.store.replaced_files import replace_file

    kept = dict(list(_read_cache().items())[-99:])
    try:
        _cache().parent.mkdir(parents=True, exist_ok=True)
        replace_file(_cache(), json.dumps({**kept, _key(file): digest}, indent=0))
    except (OSError, HpcacceptError):
        pass
    return digest


def _asked(command: Sequence[str], parse: Callable[[str], str]) -> str:
    """The digest that a runtime tells; empty when it does not know, or cannot be asked here."""
    try:
        done = ask(command, timeout_s=30)
    except LaunchError:
        return ""
    return parse(done.stdout) if done.ok else ""
