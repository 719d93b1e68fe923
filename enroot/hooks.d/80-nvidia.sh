#!/usr/bin/env bash
# Which GPUs Enroot's 98-nvidia.sh brings in: all that the node has. Not by index, which moves when a GPU is lost or reset, nor
# by UUID, for then one lost GPU keeps the container from starting, and nobody says which. Slurm's cgroup and
# CUDA_VISIBLE_DEVICES choose among them.
set -euo pipefail

says() { tac "$ENROOT_ENVIRON" | sed -n "s/^$1=//p" | sed -n 1p; }

devices=${NVIDIA_VISIBLE_DEVICES-$(says NVIDIA_VISIBLE_DEVICES)}

# No driver: a CUDA image would not start ("nvidia-container-cli: …"). It starts, and the checks say that there is no GPU.
if [[ ! -e /dev/nvidiactl ]]; then
  if [[ -n $devices && $devices != void ]]; then printf 'NVIDIA_VISIBLE_DEVICES=void\n' >>"$ENROOT_ENVIRON"; fi
  exit 0
fi

# An image that was not made for GPUs (Debian with torch from PyPI) says nothing, and would see none.
if [[ -z $devices ]]; then
  printf 'NVIDIA_VISIBLE_DEVICES=all\n' >>"$ENROOT_ENVIRON"
fi
if [[ -z ${NVIDIA_DRIVER_CAPABILITIES-$(says NVIDIA_DRIVER_CAPABILITIES)} ]]; then
  printf 'NVIDIA_DRIVER_CAPABILITIES=compute,utility\n' >>"$ENROOT_ENVIRON"
fi
