#!/usr/bin/env bash
# What cloud-init runs once, at the first start: the units that every start needs, then all that the node can say about its health.
#   first-start.sh [LEVEL]     of dcgmi, 2 by default
# Ends with 0 when the node is set up: whether it is healthy stands in the status files, and is no failure of cloud-init. 1: a unit failed.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

ended=0
systemctl daemon-reload || ended=1
# Forgotten first: what this start has found must stay.
for unit in hpcaccept-forget hpcaccept-nvme hpcaccept-persistence; do
  systemctl enable --now "$unit.service" || { echo "$unit.service failed: journalctl -u $unit" >&2; ended=1; }
done
"$here/run-health-checks.sh" "${1:-2}" || echo "run-health-checks.sh ended with $?: not healthy, or not known to be"
exit "$ended"
