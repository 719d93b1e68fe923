#!/usr/bin/env bash
# After VMs have changed: write the host files anew, and let all nodes log in to each other.
#   update-hosts.sh cluster-config.env
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: ${0##*/} CONFIG" >&2
  exit 2
fi
hpcaccept=${HPCACCEPT:-hpcaccept}

"$hpcaccept" azure hosts "$1"
"$hpcaccept" azure keys "$1"
