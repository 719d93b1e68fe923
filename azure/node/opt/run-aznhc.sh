#!/usr/bin/env bash
# Runs Azure's node health checks (AzNHC): all of them, with their figures, into /var/log/aznhc-health.log; the verdict goes to
# /var/log/aznhc-health.log.status. Ends with 0 passed, 1 failed, 3 unknown.
set -uo pipefail
# shellcheck source=node-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-lib.sh"

log=/var/log/aznhc-health.log
# Where Azure's HPC images have it.
program=${AZNHC:-/opt/azurehpc/test/azurehpc-health-checks/run-health-checks.sh}

begin "$log"
status=127
if [[ -f $program ]]; then
  # Short options: of the long ones some swallow the next word. 500 s is its own limit for all checks.
  timeout --kill-after=60 "${AZNHC_LIMIT_S:-1800}" bash "$program" -a -v -t "${AZNHC_CHECKS_S:-500}" -o "$log"
  status=$?
else
  echo "$program is not installed" | tee -a "$log"
fi
conclude aznhc "$log" "$status"
