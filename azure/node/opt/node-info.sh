#!/usr/bin/env bash
# Writes who this node is to /var/log/node-info.log: one line "hostname ip physicalhost". What is not known is "unknown".
set -uo pipefail
# shellcheck source=node-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-lib.sh"

# The address of the way out; without one, the first that is not of this machine alone.
address() {
  local device
  device=$(ip -4 -o route show default 2>/dev/null | awk '{for (i = 1; i < NF; i++) if ($i == "dev") {print $(i + 1); exit}}')
  ip -4 -o addr show ${device:+dev "$device"} scope global 2>/dev/null | awk '{split($4, a, "/"); print a[1]; exit}'
}

ip=$(address)
host=$(physical_host "${KVP_POOL:-/var/lib/hyperv/.kvp_pool_3}")
line="$(hostname) ${ip:-unknown} ${host:-unknown}"
echo "$line"
[[ -w /var/log ]] || { echo "/var/log/node-info.log cannot be written: this needs root" >&2; exit 3; }
printf '%s\n' "$line" >/var/log/node-info.log.new && mv -f /var/log/node-info.log.new /var/log/node-info.log
