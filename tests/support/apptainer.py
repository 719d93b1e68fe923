"""Where is the real Apptainer (or Singularity), and how is an image for it made in no time?"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support.pyxis_image import image_of_nothing

#: Where ``tests/system/apptainer/install.sh`` puts it.
_PLACE = Path("/opt/apptainer/usr/bin")


def find_apptainer() -> Path | None:
    """Folder of the program, for the front of PATH."""
    found = next((path for name in ("apptainer", "singularity") if (path := shutil.which(name))), "")
    return Path(found).parent if found else _PLACE if (_PLACE / "apptainer").exists() else None


def why_not() -> str:
    """Why no container of it can be started here; empty when one can."""
    if find_apptainer() is None:
        return "no apptainer: apt-get install apptainer, or bash tests/system/apptainer/install.sh"
    return "" if shutil.which("mksquashfs") else "no mksquashfs: apt-get install squashfs-tools"


def with_apptainer() -> str:
    """A PATH on which it is."""
    return f"{find_apptainer()}:{os.environ['PATH']}"


def sif_of_nothing(folder: Path) -> Path:
    """An image with an empty system, as ``image_of_nothing``, built by the real program."""
    image_of_nothing(folder / "nothing.sqsh")
    file = folder / "nothing.sif"
    words = ["apptainer", "build", str(file), str(folder / "nothing.root")]
    subprocess.run(words, check=True, capture_output=True, timeout=60, env={**os.environ, "PATH": with_apptainer()})
    return file
