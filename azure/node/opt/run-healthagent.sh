#!/usr/bin/env bash
# Asks Azure's healthagent, where it is installed, into /var/log/healthagent.json; the verdict goes to
# /var/log/healthagent.json.status. Sizes that AzNHC does not know (GB200, GB300) have nothing else. Ends with 0 passed, 1 failed, 3 unknown.
set -uo pipefail
# shellcheck source=node-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-lib.sh"

log=/var/log/healthagent.json
begin "$log"
if command -v health >/dev/null; then
  timeout --kill-after=10 60 health -s >"$log"
  status=$?
else
  echo "healthagent is not installed"
  status=127
fi
conclude healthagent "$log" "$status"
