#!/usr/bin/env bash
# Enroot shows the host's /dev/shm, where killed jobs of others leave their files until it is full, and NCCL then fails on a
# healthy node. A container that holds all ranks of a node gets its own, which goes with it.
set -euo pipefail

# Of the node's memory; only what is used counts, and counts as the job's.
size=50%

# One container per rank (srun enroot start …): ranks meet in the host's /dev/shm, and must.
if [[ -z ${PYXIS_VERSION-} && (-z ${SLURM_STEP_ID-} || -n ${SLURM_PROCID-}) ]]; then exit 0; fi

# A container with an IPC space of its own has it already (Enroot's 10-devices.sh).
if [[ -n ${ENROOT_UNSHARE_IPC-} ]]; then exit 0; fi

if ! grep -q '^tmpfs /dev/shm ' "$ENROOT_MOUNTS"; then
  echo "tmpfs /dev/shm tmpfs x-create=dir,rw,nosuid,nodev,noexec,mode=1777,size=$size,private 0 0" >>"$ENROOT_MOUNTS"
fi
