#!/usr/bin/env bash
# Switches persistence mode on for each GPU; the driver forgets it with every start of the machine.
set -uo pipefail
command -v nvidia-smi >/dev/null || { echo "no nvidia-smi on this machine: nothing to do"; exit 0; }

nvidia-smi -pm 1 || { echo "nvidia-smi -pm 1 ended with $?" >&2; exit 1; }
states=$(nvidia-smi --query-gpu=index,persistence_mode --format=csv,noheader) || { echo "nvidia-smi cannot be asked" >&2; exit 1; }
if off=$(grep -v ', Enabled$' <<<"$states"); then
  echo "persistence mode is not on: ${off//$'\n'/; }" >&2
  exit 1
fi
