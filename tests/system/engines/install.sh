#!/usr/bin/env bash
# Puts the real Docker and Podman under /opt/hpcaccept-engines, for tests/system/test_container_engines.py, from Debian's own packages;
# says so before. They are unpacked, not installed: no service and no group comes with them, and no PATH changes. Only libraries that
# they need and that are missing are installed.
#
# Exit code 0: they are there. 77: it may not install here, with a sentence; the tests then report themselves as not run. Any other:
# apt-get failed.
set -euo pipefail

place=/opt/hpcaccept-engines
# tini is what --init starts; a registry tells what engines say of one.
packages=(docker.io containerd runc tini podman conmon docker-registry)

refuse() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 77
}

[[ ! -e $place/complete ]] || exit 0
command -v apt-get >/dev/null || refuse "this is neither Debian nor Ubuntu; its packages of docker and podman are needed."
((EUID == 0)) || refuse "no $place; run this as root to unpack ${packages[*]} there."

printf 'install.sh: will unpack %s below %s, and install libraries that are missing\n' "${packages[*]}" "$place"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
for package in "${packages[@]}"; do
  apt-cache show "$package" >/dev/null 2>&1 || refuse "there is no package $package here."
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}"
# Podman's settings and newuidmap are what buildah needs too. What is there stays as it is.
mapfile -t needed < <(apt-cache depends "${packages[@]}" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u)
missing=()
for package in "${needed[@]}" golang-github-containers-common uidmap; do
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]} == 0)) || apt-get install --quiet --yes --no-install-recommends "${missing[@]}"
rm -rf "$place"
mkdir -p "$place"
for file in *.deb; do dpkg --extract "$file" "$place" & done
wait
touch "$place/complete"
