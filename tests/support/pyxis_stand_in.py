"""An srun that takes the container flags of Pyxis, for a Slurm that has none: strict, and in Pyxis' own words."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PYXIS_STAND_IN = """#!/usr/bin/env bash
# srun with the container flags of Pyxis: refuses an image that is not there in Pyxis' words, else enters nothing.
set -euo pipefail
[[ ${1-} != --help ]] || { echo "      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH"; exit; }
words=() image=
for word in "$@"; do
  case $word in
    --container-image=*) image=${word#*=} ;;
    --container-name=*|--container-mounts=*|--container-workdir=*|--container-env=*) ;;
    --no-container-mount-home|--container-readonly|--container-writable|--container-entrypoint|--no-container-entrypoint) ;;
    --container-*) echo "srun: unrecognized option '$word'" >&2; exit 1 ;;
    *) words+=("$word") ;;
  esac
done
if [[ -n $image && ! -e $image ]]; then
  for node in 0 1; do
    echo "slurmstepd: error: pyxis: child 4711 failed with error code: 1" >&2
    echo "slurmstepd: error: pyxis: failed to create container filesystem" >&2
    echo "slurmstepd: error: pyxis: printing enroot log file:" >&2
    echo "slurmstepd: error: pyxis:     [ERROR] No such file or directory: $image" >&2
    echo "srun: error: node$node: task $node: Exited with exit code 1" >&2
  done
  exit 1
fi
exec REAL_SRUN "${words[@]}"
"""


def pyxis_stand_in(folder: Path) -> Path:
    place = folder / "bin"
    place.mkdir()
    srun = place / "srun"
    srun.write_text(PYXIS_STAND_IN.replace("REAL_SRUN", str(shutil.which("srun"))))
    srun.chmod(0o755)
    return place
