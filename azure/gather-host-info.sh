#!/usr/bin/env bash
# Gather what each node says of itself (host name, address, physical host) into one file, in the order of the host file.
#   gather-host-info.sh hostfile OUT
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: ${0##*/} HOSTFILE OUT" >&2
  exit 2
fi
hostfile=$1 out=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
status=0
bash "$(dirname -- "${BASH_SOURCE[0]}")/gather-file.sh" "$hostfile" /var/log/node-info.log "$folder" |
  sed 's|, in /[^ ]*$||' || status=$?

: >"$out"
while read -r node _; do
  if [ -f "$folder/$node" ]; then tail -n 1 "$folder/$node" >>"$out"; fi
done <"$hostfile"
exit "$status"
