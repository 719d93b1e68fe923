#!/usr/bin/env bash
# Bring a cluster up from a .env or .toml file, and let its nodes log in to each other.
#   provision-cluster.sh cluster-config.env MAX_HOURS [OPTIONS of hpcaccept azure up]
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: ${0##*/} CONFIG MAX_HOURS [OPTIONS]: after MAX_HOURS hours the cluster expires" >&2
  exit 2
fi
config=$1 hours=$2
shift 2
hpcaccept=${HPCACCEPT:-hpcaccept}

"$hpcaccept" azure up "$config" --max-hours "$hours" "$@"
"$hpcaccept" azure keys "$config"
