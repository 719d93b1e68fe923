#!/usr/bin/env bash
# InfiniBand and pinned GPU buffers are locked memory. A container keeps the limit of whoever starts it: this raises it as far
# as is allowed, and says when that is not far enough. Under Pyxis ranks keep Slurm's limit, which only slurmd's unit can raise.
set -euo pipefail

limits=$(prlimit --pid "$ENROOT_PID" --memlock --noheadings --raw --output SOFT,HARD 2>/dev/null) || exit 0
read -r soft hard <<<"$limits"
if [[ $soft != "$hard" ]]; then prlimit --pid "$ENROOT_PID" --memlock="$hard:$hard"; fi
if [[ $hard != unlimited ]] && compgen -G '/sys/class/infiniband/*' >/dev/null; then
  echo "[WARN] memlock is limited to $hard bytes, InfiniBand needs unlimited: LimitMEMLOCK=infinity in slurmd's unit" >&2
fi
