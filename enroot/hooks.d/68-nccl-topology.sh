#!/usr/bin/env bash
# In a virtual machine the PCI tree hides which GPU is near which network card; the provider knows, in a file on the host.
# Without it NCCL sends GPU data through the wrong card: a healthy cloud node looks slow.
# The first that says where it is: the image or user, the job, the host's nccl.conf, the topology daemon, the only file of Azure.
set -euo pipefail
shopt -s nullglob

# The last one counts.
said_in() { if [[ -r $1 ]]; then sed -n 's/^[[:space:]]*NCCL_TOPO_FILE[[:space:]]*=[[:space:]]*//p' "$1" | tail -n 1; fi; }

inside=$(said_in "$ENROOT_ENVIRON")
configured=$(said_in /etc/nccl.conf)
daemon=(/var/run/nvidia-topologyd/virtualTopology.xml*)
# Azure's images carry the files of all sizes: with several, only nccl.conf knows which is this one's.
azure=(/opt/microsoft/*-topo.xml)
((${#azure[@]} == 1)) || azure=()

if [[ -n $inside ]]; then
  candidates=("$inside")
else
  candidates=("${NCCL_TOPO_FILE-}" "$configured" "${daemon[@]}" "${azure[@]}")
fi

for file in "${candidates[@]}"; do
  if [[ ! -f $file ]]; then continue; fi
  if [[ -z $inside ]]; then printf 'NCCL_TOPO_FILE=%s\n' "$file" >>"$ENROOT_ENVIRON"; fi
  entry=${file// /\\040}
  if [[ ! -e $ENROOT_ROOTFS$file ]] && ! grep -qF "$entry " "$ENROOT_MOUNTS"; then
    printf '%s %s none x-create=file,bind,ro,nosuid,nodev,noexec,private 0 0\n' "$entry" "$entry" >>"$ENROOT_MOUNTS"
  fi
  exit 0
done
