#!/usr/bin/env bash
# Installs what builds the image for its test, from Debian's own packages; says so before. No service comes with it.
#
# Exit code 0: it is there. 77: it may not install here, with a sentence; the test then reports itself as not run. Any other:
# apt-get failed.
set -euo pipefail

# debootstrap makes the base that the image is built on.
packages=(buildah squashfs-tools debootstrap)

refuse() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 77
}

command -v dpkg-query >/dev/null || refuse "this is neither Debian nor Ubuntu; install ${packages[*]} by hand."

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

((EUID == 0)) || refuse "missing: ${missing[*]}; run this as root to install them."

printf 'install.sh: will install with apt-get, and what they depend on: %s\n' "${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends "${missing[@]}"
