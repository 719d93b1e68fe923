#!/usr/bin/env bash
# Runs NVIDIA's diagnostic (dcgmi diag) into /var/log/dcgmi-diag.log; the verdict goes to /var/log/dcgmi-diag.log.status.
#   run-dcgmi.sh [LEVEL]     1 seconds, 2 two minutes (the default), 3 half an hour, 4 two hours
# Ends with 0 passed, 1 failed, 2 wrong level, 3 unknown.
set -uo pipefail
# shellcheck source=node-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-lib.sh"

log=/var/log/dcgmi-diag.log
level=${1:-2}
case $level in
  1) limit_s=300 ;;
  2) limit_s=1200 ;;
  3) limit_s=5400 ;;
  4) limit_s=18000 ;;
  *) echo "run-dcgmi.sh: level $level, expected 1, 2, 3 or 4" >&2; exit 2 ;;
esac

begin "$log"
echo "dcgmi diag -r $level -j" >>"$log"
if command -v dcgmi >/dev/null; then
  timeout --kill-after=60 "${DCGMI_LIMIT_S:-$limit_s}" dcgmi diag -r "$level" -j >>"$log" 2>&1
  status=$?
else
  echo "dcgmi is not installed" | tee -a "$log"
  status=127
fi
printf '\nexit status: %s\n' "$status" >>"$log"
conclude dcgmi "$log" "$status"
