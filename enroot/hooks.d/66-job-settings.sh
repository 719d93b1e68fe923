#!/usr/bin/env bash
# Settings of the job for GPUs and fabric: CUDA_VISIBLE_DEVICES of Slurm, NCCL_*, UCX_* and their like from a module or a task
# prolog. Enroot passes none of them; an image's own value stays. Under Pyxis each rank has its own already.
set -euo pipefail

if [[ -n ${PYXIS_VERSION-} || (-n ${SLURM_STEP_ID-} && -z ${SLURM_PROCID-}) ]]; then exit 0; fi

for prefix in CUDA_VISIBLE_DEVICES NCCL_ UCX_ HCOLL_ SHARP_ GLOO_; do
  while read -r name; do
    if [[ ${!name} != *$'\n'* ]] && ! grep -q "^$name=" "$ENROOT_ENVIRON"; then
      printf '%s=%s\n' "$name" "${!name}" >>"$ENROOT_ENVIRON"
    fi
  done < <(compgen -e "$prefix" || true)
done
