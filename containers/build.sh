#!/usr/bin/env bash
# Builds containers/Containerfile from this checkout with docker, podman or buildah, and says with which.
#
# Usage: [VARIABLE=…] containers/build.sh [OPTION …]; the options go to the builder (--build-arg, --secret, --volume, --no-cache …)
#   VARIANT   cuda (default), micromamba, ngc, cpu
#   BASE      another base image, NAME:TAG[@sha256:…]; DEVEL: the one with nvcc that NVIDIA's tools are compiled in
#   TAG       NAME:TAG of the image; default hpcaccept:VERSION-VARIANT
#   BUILDER   docker, podman or buildah; default: the first that works
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
variant=${VARIANT:-cuda}

fail() {
  printf 'build.sh: %s\n' "$1" >&2
  exit 2
}

# The client of docker may be there without its daemon.
works() {
  command -v "$1" >/dev/null || return 1
  case $1 in
    docker) timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ;;
    podman) timeout 20 podman info >/dev/null 2>&1 ;;
    *) ;;
  esac
}

builder=${BUILDER:-}
for name in docker podman buildah; do
  [[ -n $builder ]] && break
  if works "$name"; then builder=$name; fi
done
[[ -n $builder ]] || fail "neither docker (with its daemon), podman nor buildah works here. Debian, Ubuntu: apt-get install buildah"
works "$builder" || fail "$builder was asked for and does not work here: see '$builder info'"

arguments=(--build-arg "VARIANT=$variant")
case $variant in
  cuda | micromamba) base="" devel="" ;;
  ngc)
    base=nvcr.io/nvidia/pytorch:26.05-py3
    # It has nvcc and NCCL's headers itself, and a program compiled there fits it.
    devel=${BASE:-$base}
    ;;
  cpu)
    base=docker.io/library/debian:12.12-slim devel=""
    arguments+=(--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu)
    ;;
  *) fail "VARIANT is '$variant', expected cuda, micromamba, ngc or cpu" ;;
esac
base=${BASE:-$base} devel=${DEVEL:-$devel}
[[ -z $base ]] || arguments+=(--build-arg "BASE=$base")
[[ -z $devel ]] || arguments+=(--build-arg "DEVEL=$devel")

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/hpcaccept/__init__.py")
[[ -n $version ]] || fail "hpcaccept/__init__.py has no __version__"
tag=${TAG:-hpcaccept:$version-$variant}

# The commit, and whether what is copied differs from it; new files count, ignored ones are not copied.
revision=${REVISION:-$(git -C "$root" rev-parse HEAD)} || fail "this is no git checkout; say what it is with REVISION=…"
if [[ -z ${REVISION:-} && -n $(git -C "$root" status --porcelain -- CONTRIBUTING.md azure baselines containers docs enroot hatch_build.py hpcaccept LICENSE monitoring pyproject.toml README.md sbatch) ]]; then
  revision+=-dirty
fi
# Where it comes from, without a password that may stand in it.
source=$(git -C "$root" remote get-url origin 2>/dev/null | sed -n 's|^\(https\{0,1\}://\)\([^/@]*@\)\{0,1\}|\1|p') || source=

arguments+=(
  --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "SOURCE=$source" --build-arg "NAME=$tag"
  --file "$root/containers/Containerfile" --tag "$tag"
)
case $builder in
  docker) command=(env DOCKER_BUILDKIT=1 docker build) ;;
  podman) command=(podman build) ;;
  # chroot: also inside a container and without namespaces; --layers: the cache that the others have by default.
  buildah) command=(buildah bud --isolation "${BUILDAH_ISOLATION:-chroot}" --layers) ;;
esac
printf 'build.sh: %s, variant %s, revision %s, with %s\n' "$tag" "$variant" "$revision" "$builder"
"${command[@]}" "${arguments[@]}" "$@" "$root"
printf 'build.sh: built %s\n' "$tag"
