#!/usr/bin/env bash
# Turns a built image into one squashfs file, which Enroot and Pyxis start without a registry.
#
# Usage: [TAG=NAME:TAG] containers/sqsh.sh FILE.sqsh
#
# Where docker runs and Enroot is installed, Enroot does it. Else buildah does, as root or under 'buildah unshare', from its own and
# podman's images, or from docker's; it adds the files that Enroot's own import makes: /etc/environment, /etc/rc, /etc/rc.local, /etc/fstab.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/hpcaccept/__init__.py")
tag=${TAG:-hpcaccept:$version-${VARIANT:-cuda}}

fail() {
  printf 'sqsh.sh: %s\n' "$1" >&2
  exit 2
}

[[ $# == 1 && $1 == *.sqsh ]] || fail "expected one argument: the file to write, NAME.sqsh"
target=$(realpath --canonicalize-missing "$1")
[[ ! -e $target ]] || fail "$target is there already; remove it, or give another name: running jobs may use it"

from_docker=
if timeout 20 docker image inspect "$tag" >/dev/null 2>&1; then from_docker=docker-daemon:; fi

if [[ -n $from_docker ]] && command -v enroot >/dev/null; then
  enroot import --output "$target" "dockerd://$tag"
  exit
fi
for program in buildah mksquashfs; do
  command -v "$program" >/dev/null || fail "there is no $program. Debian, Ubuntu: apt-get install buildah squashfs-tools"
done

# The file appears whole or not at all.
part=$target.part-$$
container=$(buildah from --pull-never "$from_docker$tag" 2>/dev/null || buildah from "$from_docker$tag")
trap 'rm -f "$part"; buildah rm "$container" >/dev/null' EXIT
tree=$(buildah mount "$container")

field() { buildah inspect --type container --format "{{range .OCIv1.Config.$1}}{{println .}}{{end}}" "$container" | sed '/^$/d'; }

field Env >"$tree/etc/environment"
: >"$tree/etc/fstab"
: >"$tree/etc/rc.local"
mapfile -t entrypoint < <(field Entrypoint)
mapfile -t words < <(field Cmd)
{
  printf '# hpcaccept-image: %s\ncd / || exit 1\n' "$tag"
  # Where Pyxis puts what is to be started instead of the entry point; it waits for ever for an entry point that stays.
  printf 'if [ -s /etc/rc.local ]; then . /etc/rc.local; fi\n'
  # shellcheck disable=SC2016  # for the shell inside the image
  printf 'if [ $# -eq 0 ]; then set -- %s; fi\n' "${words[*]@Q}"
  # shellcheck disable=SC2016
  printf 'exec %s "$@"\n' "${entrypoint[*]@Q}"
} >"$tree/etc/rc"

# Without devices, which no ordinary user can unpack; Enroot's own import leaves them out too.
mksquashfs "$tree" "$part" -noappend -no-progress -all-root -comp zstd -Xcompression-level "${LEVEL:-3}" -wildcards -e 'dev/*' >/dev/null
mv "$part" "$target"
printf 'sqsh.sh: %s, %s MiB, of %s\n' "$target" "$(($(stat --format %s "$target") >> 20))" "$tag"
