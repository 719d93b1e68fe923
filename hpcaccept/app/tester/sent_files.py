"""Files of tests that are too many for a start command: one archive, packed here, unpacked on the rented machine.

Only regular files and folders travel. Links to files are sent as the files that they lead to, if those are in the folder; a link that leads out
of it, or to a folder, is refused. What is unpacked is held to the same rules: an archive with anything else is refused as a whole.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of the archive, of all files in it, and their number. The tester takes it within two minutes: a line of 9 Mb/s does it.
MOST_PACKED_BYTES, MOST_BYTES, MOST_FILES = 128 << 20, 512 << 20, 20_000


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name within the folder → file, in the order of their names.

    Raises:
        UsageError: something is there that is not sent, or there is too much.
    """
    top, total, count = folder.resolve(), 0, 0
    for at, folders, names in os.walk(top):
        folders.sort()
        linked = [name for name in folders if Path(at, name).is_symlink()]
        if linked:
            raise UsageError(f"{Path(at, linked[0])} is a link to a folder, which is not sent to rented machines.")
        for name in sorted(names):
            file = Path(at, name)
            real = file.resolve()
            if not real.is_file() or not real.is_relative_to(top):
                raise UsageError(
                    f"{file} is not a file within its folder, and nothing else is sent to rented machines."
                )
            total, count = total + real.stat().st_size, count + 1
            if total > MOST_BYTES or count > MOST_FILES:
                raise UsageError(
                    f"{folder} has more than {MOST_BYTES >> 20} MiB or {MOST_FILES:,} files, which is all that is sent to a rented machine.",
                    "Put the files into the image, and name them there.",
                )
            yield file.relative_to(top).as_posix(), real


def pack(folder: Path, archive: Path) -> int:
    """Write the archive; gives its size in bytes.

    Raises:
        UsageError: as ``files_in``, or the archive is too large.
        OSError: it cannot be written.
    """
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for name, file in files_in(folder):
            info = tarfile.TarInfo(name)
            found = file.stat()
            info.size, info.mode, info.mtime = found.st_size, found.st_mode & 0o755, int(found.st_mtime)
            with file.open("rb") as stream:
                tar.addfile(info, stream)
    size = archive.stat().st_size
    if size > MOST_PACKED_BYTES:
        raise UsageError(
            f"{folder} has {size >> 20} MiB packed, a rented machine is sent {MOST_PACKED_BYTES >> 20} MiB at most."
        )
    return size


def unpack(archive: Path, folder: Path) -> None:
    """Make the folder, which is not there yet; nothing of an archive that is refused stays.

    Raises:
        ValueError: it is no archive that ``pack`` could have made.
        OSError: it cannot be written.
    """
    folder.mkdir()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            total = 0
            for count, member in enumerate(tar):
                name = PurePosixPath(member.name)
                if not member.isreg() or name.is_absolute() or ".." in name.parts or not name.parts:
                    raise ValueError("it holds something else than files within it")
                total += member.size
                if total > MOST_BYTES or count >= MOST_FILES:
                    raise ValueError("it is too large")
                _written(tar, member, folder.joinpath(*name.parts))
    except (tarfile.TarError, EOFError, ValueError) as fault:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(str(fault)) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _written(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    stream = tar.extractfile(member)
    assert stream is not None
    place.parent.mkdir(parents=True, exist_ok=True)
    with stream, place.open("xb") as file:
        shutil.copyfileobj(stream, file)
    place.chmod(0o755 if member.mode & 0o100 else 0o644)
