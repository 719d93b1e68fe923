#!/usr/bin/env bash
# Gather one file of every node into a folder, one file for each node; a node that is late or dead is named.
#   gather-file.sh hostfile PATH OUT
# Where the cluster's ssh_config lies beside the host file, it is used; otherwise your own ssh configuration.
set -euo pipefail

if [ $# -ne 3 ]; then
  echo "usage: ${0##*/} HOSTFILE PATH OUT" >&2
  exit 2
fi
hostfile=$1 path=$2 out=$3
options=()
config=$(dirname -- "$hostfile")/ssh_config
if [ -e "$config" ]; then options=(--ssh-config "$config"); fi

exec "${HPCACCEPT:-hpcaccept}" azure gather --hostfile "$hostfile" ${options[@]+"${options[@]}"} --file "$path" --output "$out"
