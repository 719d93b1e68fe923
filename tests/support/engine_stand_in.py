"""A docker that starts no container, for a machine on which none can be: strict about what it is told, and in Docker's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DOCKER_STAND_IN = """#!/usr/bin/env bash
# docker run: knows one image, refuses flags that Docker does not know, gives only the variables that are named, and runs the command.
# docker rm: keeps the names it was asked to remove. docker image inspect: the digest of the one image.
set -euo pipefail
echo "$*" >>"FOLDER/asked"
case "$1 ${2-}" in
  "image inspect") [[ ${!#} == team/hpcaccept:1 ]] || exit 1; echo sha256:DIGEST; exit 0 ;;
  "rm --force") exit 0 ;;
  run\\ *) shift ;;
  *) echo "docker: '$1' is not a docker command." >&2; exit 1 ;;
esac
given=(PATH="$PATH" HOME="$HOME")
while [[ $1 == -* ]]; do
  case $1 in
    --rm|--init|--read-only|--network=host|--ipc=host|--entrypoint=|--gpus=all) ;;
    --name=?*|--user=*:*|--mount=type=bind,source=/*,target=/*|--volume=/*:/*|--tmpfs=/tmp|--ulimit=memlock=-1|--workdir=/*) ;;
    --env=*=*) echo "a value on the command line: $1" >&2; exit 125 ;;
    --env=*) name=${1#--env=}; [[ -v $name ]] && given+=("$name=${!name}") ;;
    *) echo "unknown flag: $1" >&2; exit 125 ;;
  esac
  shift
done
image=$1; shift
if [[ $image != team/hpcaccept:1 ]]; then
  echo "Unable to find image '$image' locally" >&2
  echo "docker: Error response from daemon: manifest for $image not found: manifest unknown: manifest unknown" >&2
  exit 125
fi
exec env -i "${given[@]}" "$@"
"""
DIGEST = "cd" * 32


def docker_stand_in(folder: Path) -> Path:
    """A folder for the front of PATH; what was asked is kept in ``asked`` beside it."""
    place = folder / "bin"
    place.mkdir()
    docker = place / "docker"
    docker.write_text(DOCKER_STAND_IN.replace("FOLDER", str(folder)).replace("DIGEST", DIGEST))
    docker.chmod(0o755)
    return place
