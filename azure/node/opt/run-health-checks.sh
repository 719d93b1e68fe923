#!/usr/bin/env bash
# Runs everything that this node can say about itself, one after the other, and ends as check-node-health.sh does.
#   run-health-checks.sh [LEVEL]     of dcgmi, 2 by default
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
case ${1:-2} in [1-4]) ;; *) echo "run-health-checks.sh: level $1, expected 1, 2, 3 or 4" >&2; exit 2 ;; esac

"$here/node-info.sh"
# Whatever one of them says, the next is run: the verdict needs all.
"$here/run-aznhc.sh" || true
"$here/run-healthagent.sh" || true
"$here/run-dcgmi.sh" "${1:-2}" || true
exec "$here/check-node-health.sh"
