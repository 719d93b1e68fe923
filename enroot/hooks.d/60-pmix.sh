#!/usr/bin/env bash
# Without this a rank believes that it is alone, or ends in MPI_Init: the launcher tells it its place in variables, and talks to
# it through files in PMIX_SERVER_TMPDIR; Enroot passes neither.
# Adds only what is missing: beside Enroot's own extra hook 50-slurm-pmi.sh nothing is written twice.
set -euo pipefail

declare -A known=()
while IFS='=' read -r name _; do
  if [[ -n $name ]]; then known[$name]=1; fi
done <"$ENROOT_ENVIRON"

# Pyxis makes one container for all ranks of a node and hands each rank its own variables: what is written here would then
# make all of them the first one. It keeps a task's own variables from hooks, by which it is known.
if [[ -z ${PYXIS_VERSION-} && (-z ${SLURM_STEP_ID-} || -n ${SLURM_PROCID-}) ]]; then
  for prefix in SLURM_ PMIX_ OMPI_ PRTE_; do
    while read -r name; do
      if [[ -z ${known[$name]-} && ${!name} != *$'\n'* ]]; then printf '%s=%s\n' "$name" "${!name}" >>"$ENROOT_ENVIRON"; fi
    done < <(compgen -e "$prefix" || true)
  done
fi

# In an fstab a blank is \040.
folder=${PMIX_SERVER_TMPDIR-}
entry=${folder// /\\040}
if [[ -d $folder ]] && ! grep -qF "$entry " "$ENROOT_MOUNTS"; then
  printf '%s %s none x-create=dir,bind,rw,nosuid,nodev,noexec,private,nofail 0 0\n' "$entry" "$entry" >>"$ENROOT_MOUNTS"
fi
