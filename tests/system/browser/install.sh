#!/usr/bin/env bash
# Installs the browser that the test of the report page drives, from Debian's own packages; says so before.
#
# Exit code 0: it is there. 77: it may not install here, with a sentence; the test then reports itself as not run. Any other:
# apt-get failed.
set -euo pipefail

packages=(chromium chromium-driver)

refuse() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 77
}

command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0

command -v apt-get >/dev/null || refuse "no Chromium here, and this is no Debian; install ${packages[*]} by hand."
((EUID == 0)) || refuse "missing: ${packages[*]}; run this as root to install them."

printf 'install.sh: will install with apt-get, and what they depend on: %s (a browser, 120 MB to load)\n' "${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
# Ubuntu has Chromium as a snap only, which no container runs.
for package in "${packages[@]}"; do
  apt-cache show "$package" >/dev/null 2>&1 || refuse "there is no package $package here."
done
apt-get install --quiet --yes --no-install-recommends "${packages[@]}"
