#!/usr/bin/env bash
# HPC-X and Open MPI of the host, loaded by a module, tell every program where they are installed. Pyxis passes that on, the
# folder does not exist in the image, and the image's own MPI ends in MPI_Init. Emptied, they mean: where you were built for.
set -euo pipefail

# A link inside the image cannot be followed from here; it is believed.
exists_inside() {
  local path=$ENROOT_ROOTFS part
  while read -r -d / part; do
    path+=/$part
    if [[ -L $path ]]; then return 0; fi
  done <<<"${1#/}/"
  [[ -e $path ]]
}

for name in OPAL_PREFIX PMIX_INSTALL_PREFIX PRTE_PREFIX; do
  if grep -q "^$name=" "$ENROOT_ENVIRON"; then
    folder=$(sed -n "s/^$name=//p" "$ENROOT_ENVIRON" | tail -n 1)
  else
    folder=${!name-}
  fi
  if [[ -n $folder ]] && ! exists_inside "$folder"; then printf '%s=\n' "$name" >>"$ENROOT_ENVIRON"; fi
done
