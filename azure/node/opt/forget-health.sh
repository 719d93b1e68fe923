#!/usr/bin/env bash
# What was found before this start of the machine is no longer known: every status ends with "unknown" until the tools have run again.
# The machine may stand on another host now, and who gathers a status cannot see when it was started. Runs at every start.
set -uo pipefail
# shellcheck source=node-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-lib.sh"

ended=0
for log in /var/log/aznhc-health.log /var/log/healthagent.json /var/log/dcgmi-diag.log /var/log/node-health.log; do
  if [[ -e $log.status ]]; then add_status "$log" unknown || ended=3; fi
done
exit "$ended"
