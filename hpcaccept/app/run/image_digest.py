"""Which image is it really? A name may stand for two images, a digest may not: it is found before the job is submitted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.errors import HpcacceptError, LaunchError, UsageError
from hpcaccept.parse.squashfs import MAGIC
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from hpcaccept.model.plan import Image

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def runtime_of(launcher: str, reference: str) -> str:
    """What enters an image where nothing was named: the launcher's own (Pyxis under Slurm); here Enroot for a file, else the engine that is there."""
    if launch.load(launcher).TRAITS.runtime:
        return launch.load(launcher).TRAITS.runtime
    if reference.endswith((".sqsh", ".squashfs")):
        return "enroot"
    return "docker" if shutil.which("docker") or not shutil.which("podman") else "podman"


def identified(image: Image) -> Image:
    """The image with its digest, where it can be known here; a tag of a registry becomes the digest that it stands for now.

    Raises:
        UsageError: a ``.sqsh`` that is there is no squashfs file.
    """
    if not image.reference or image.digest:
        return image
    named = _DIGEST.search(image.reference)
    if named:
        return replace(image, digest=named[0])
    if image.reference.endswith((".sqsh", ".squashfs")):
        return replace(image, digest=digest_of_file(Path(image.reference)))
    if image.runtime in ("docker", "podman"):
        return replace(image, digest=_asked([image.runtime, "image", "inspect", "--format={{.Id}}", image.reference]))
    digest = _asked(["enroot", "digest", f"docker://{image.reference}"])
    # Pinned: a tag that is moved while the job waits would give its nodes different images.
    pinned = f"{re.sub(r':[^:/#]+$', '', image.reference)}@{digest}"
    return replace(image, digest=digest, reference=pinned) if digest else image


def digest_of_file(file: Path) -> str:
    """Digest of a squashfs file: as ``enroot/import`` wrote it beside the file, else of its bytes; empty when it is not seen here.

    Raises:
        UsageError: it is no squashfs file.
    """
    try:
        with file.open("rb") as image:
            begin = image.read(4)
            if begin != MAGIC:
                raise UsageError(
                    f"{file} is no squashfs file: it begins with {begin!r}, expected {MAGIC!r}.",
                    "Make one: enroot/import IMAGE.",
                )
            return _beside(file) or _cached(file) or _remember(file, f"sha256:{_sha256(file)}")
    except OSError:
        return ""  # the nodes may see what this machine does not


def _sha256(file: Path) -> str:
    whole = hashlib.sha256()
    with file.open("rb") as image:
        while block := image.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def _beside(file: Path) -> str:
    """What the importer wrote, if the file is still the one that it made."""
    try:
        told = json.loads(file.with_name(file.name + ".json").read_text("utf-8"))
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
        kept = json.loads(_cache().read_text("utf-8"))
        return {str(key): str(value) for key, value in kept.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _cached(file: Path) -> str:
    found = _read_cache().get(_key(file), "")
    return found if _DIGEST.fullmatch(found) else ""


def _remember(file: Path, digest: str) -> str:
    """Keep it: gigabytes are not read again for every run. Nothing depends on its being kept."""
    from hpcaccept.store.folder import write_whole

    kept = dict(list(_read_cache().items())[-99:])
    try:
        _cache().parent.mkdir(parents=True, exist_ok=True)
        write_whole(_cache(), json.dumps({**kept, _key(file): digest}, indent=0))
    except (OSError, HpcacceptError):
        pass
    return digest


def _asked(command: list[str]) -> str:
    """The digest that a runtime tells; empty when it does not know, or cannot be asked here."""
    try:
        done = ask(command, timeout_s=30)
    except LaunchError:
        return ""
    found = _DIGEST.search(done.stdout) if done.ok else None
    return found[0] if found else ""
