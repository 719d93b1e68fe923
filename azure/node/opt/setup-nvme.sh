#!/usr/bin/env bash
# Makes one file system of the blank local NVMe disks (RAID-0 where there are several) at /mnt/resource_nvme, and has Docker and
# Hugging Face use it. Runs at every start, before Docker: local disks are blank again after the machine has moved to another host.
#
# Taken is only a local disk of Azure on which nothing is: no partition, holder or mount, no signature that blkid knows, zeros in its
# first and last MiB. Remote NVMe disks (the system's own on newer sizes) are no candidates. Nothing is ever wiped or forced.
set -euo pipefail

place=/mnt/resource_nvme
array=/dev/md/resource_nvme
# XFS has 12 characters for it.
label=resourcenvme

# Local disks by their controller's model; "MSFT NVMe Accelerator v1.0" is a remote disk.
# https://github.com/Azure/azure-vm-utils (udev/80-azure-disk.rules)
local_disks() {
  local controller model name
  for controller in /sys/class/nvme/nvme*; do
    [[ -r $controller/model ]] || continue
    read -r model <"$controller/model" || true
    [[ $model == "Microsoft NVMe Direct Disk"* ]] || continue
    for name in "$controller"/nvme*n*; do
      # nvme0n1, and nvme0c0n1 where the kernel has multipath.
      [[ ${name##*/} =~ ^nvme([0-9]+)(c[0-9]+)?n([0-9]+)$ ]] || continue
      name=/dev/nvme${BASH_REMATCH[1]}n${BASH_REMATCH[3]}
      if [[ -b $name ]]; then echo "$name"; fi
    done
  done
}

# is_zero DISK BYTE: true when the MiB that begins there holds zeros only.
is_zero() {
  cmp --quiet <(dd if="$1" bs=1M iflag=skip_bytes,fullblock skip="$2" count=1 status=none) <(head -c 1048576 /dev/zero)
}

# state DISK: "blank", or what is on it. Only this word makes a disk blank: a look that fails says something else.
state() {
  local disk=$1 below status=0 found size
  below=$(lsblk --noheadings --raw --output NAME,MOUNTPOINT "$disk") || { echo "lsblk cannot read it"; return; }
  if [[ $(wc -l <<<"$below") -gt 1 ]]; then echo "it has partitions or is part of something"; return; fi
  if [[ $below == *" /"* || $below == *"[SWAP]"* ]]; then echo "it is in use"; return; fi
  found=$(blkid --probe --output export "$disk") || status=$?
  # 2: nothing was found. 8: several things were.
  if [[ $status != 2 ]]; then echo "blkid finds something ($status): ${found//$'\n'/ }"; return; fi
  size=$(blockdev --getsize64 "$disk") || { echo "blockdev cannot read it"; return; }
  if ((size < 1048576)); then echo "it has $size bytes"; return; fi
  # To its very end: the sizes of disks are no multiples of a MiB.
  if ! is_zero "$disk" 0 || ! is_zero "$disk" $((size - 1048576)); then echo "it holds data of an unknown kind"; return; fi
  echo blank
}

# ours DEVICE…: the first one that has the file system of an earlier start.
ours() {
  local device
  for device in "$@"; do
    if [[ -b $device && $(blkid --probe --match-tag LABEL --output value "$device") == "$label" ]]; then
      echo "$device"
      return
    fi
  done
}

# assemble DISK…: the array of an earlier start, where udev has not.
assemble() {
  local disk members=()
  [[ ! -b $array ]] || return 0
  for disk in "$@"; do
    [[ $(blkid --probe --match-tag LABEL --output value "$disk") =~ (^|:)resource_nvme$ ]] && members+=("$disk")
  done
  [[ ${#members[@]} == 0 ]] || mdadm --assemble "$array" "${members[@]}" || echo "the array on ${members[*]} cannot be assembled; it is left alone"
}

# make DISK…: a file system over blank disks. Neither program is told to overwrite anything.
make() {
  local device=$1
  if [[ $# -gt 1 ]]; then
    device=$array
    mdadm --create "$array" --level=0 --raid-devices=$# --metadata=1.2 --name=resource_nvme --homehost=any "$@" </dev/null >&2 || return
    # The name under /dev/md is udev's.
    udevadm settle --timeout=30 2>/dev/null || true
  fi
  mkfs.xfs -q -L "$label" "$device" >&2 || return
  echo "$device"
}

# set_docker_root FOLDER: Docker keeps its images there; "" gives back what this script has set. Other settings stay.
set_docker_root() {
  command -v docker >/dev/null || return 0
  python3 - "$1" "$place/docker" <<'P' || return 0
import json, os, sys
wanted, own = sys.argv[1:]
path = "/etc/docker/daemon.json"
try:
    with open(path) as stream:
        settings = json.load(stream)
except FileNotFoundError:
    settings = {}
except ValueError as fault:
    sys.exit("%s is no JSON (%s): it is left alone" % (path, fault))
before = dict(settings)
if wanted:
    settings["data-root"] = wanted
elif settings.get("data-root") == own:
    del settings["data-root"]
if settings == before:
    sys.exit(1)
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path + ".new", "w") as stream:
    json.dump(settings, stream, indent=4)
    stream.write("\n")
os.rename(path + ".new", path)
P
  if systemctl is-active --quiet docker 2>/dev/null; then systemctl restart docker; fi
}

# set_hf_home FOLDER: for programs of ssh as well as for shells; "" takes it back.
set_hf_home() {
  local file=/etc/environment kept
  kept=$(grep -v '^HF_HOME=' "$file" 2>/dev/null || true)
  { [[ -z $kept ]] || printf '%s\n' "$kept"; [[ -z $1 ]] || printf 'HF_HOME=%s\n' "$1"; } >"$file.new"
  mv -f "$file.new" "$file"
}

give_up() {
  echo "$1" >&2
  set_docker_root ""
  set_hf_home ""
  exit "$2"
}

if ! mountpoint --quiet "$place"; then
  mapfile -t disks < <(local_disks)
  [[ ${#disks[@]} -gt 0 ]] || give_up "no local NVMe disk on this machine: nothing to do" 0
  assemble "${disks[@]}"
  device=$(ours "$array" /dev/md[0-9]* "${disks[@]}")
  if [[ -z $device ]]; then
    blank=()
    for disk in "${disks[@]}"; do
      found=$(state "$disk")
      if [[ $found == blank ]]; then blank+=("$disk"); else echo "$disk is left alone: $found"; fi
    done
    [[ ${#blank[@]} -gt 0 ]] || give_up "none of ${#disks[@]} local NVMe disks is blank: nothing was made" 1
    device=$(make "${blank[@]}") || give_up "no file system could be made of ${blank[*]}" 1
    echo "$device: XFS over ${#blank[@]} of ${#disks[@]} local NVMe disks"
  fi
  mkdir -p "$place"
  mount -t xfs -o noatime "$device" "$place" || give_up "$device cannot be mounted at $place" 1
fi
chmod 1777 "$place"
mkdir -p "$place/docker" "$place/huggingface"
chmod 0710 "$place/docker"
chmod 1777 "$place/huggingface"
set_docker_root "$place/docker"
set_hf_home "$place/huggingface"
