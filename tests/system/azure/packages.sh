#!/usr/bin/env bash
# Unpacks mdadm, xfsprogs, cloud-init, and what writes other signatures on disks, with what they need, into a folder: nothing is
# installed, since cloud-init would bring boot services and mdadm would look for arrays. Ends with 77 where that cannot be done, and says why.
#   packages.sh FOLDER
set -euo pipefail
folder=$1
[[ $(id -u) == 0 ]] || { echo "not run: needs root"; exit 77; }
command -v apt-get >/dev/null || { echo "not run: needs Debian's apt-get"; exit 77; }
packages=(mdadm xfsprogs cloud-init btrfs-progs dosfstools lvm2 cryptsetup-bin)
[[ $(cat "$folder/done" 2>/dev/null) != "${packages[*]}" ]] || exit 0
mkdir -p "$folder/archives/partial" "$folder/root"
get() { apt-get install -y -qq --download-only --reinstall --no-install-recommends -o Dir::Cache::archives="$folder/archives" -o APT::Sandbox::User=root "${packages[@]}"; }
get >/dev/null 2>&1 || { apt-get update -qq && get >/dev/null; } || { echo "not run: apt-get cannot fetch ${packages[*]}"; exit 77; }
for archive in "$folder"/archives/*.deb; do dpkg -x "$archive" "$folder/root"; done
echo "${packages[*]}" >"$folder/done"
