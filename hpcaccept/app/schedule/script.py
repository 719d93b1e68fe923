"""The start-up script: one bash script for every place that starts the command once for each key, and keeps what became of it.

``begun.KEY.N`` is made by whoever starts first; a second start of the same key sees it and ends, so that a timer that was killed between a
start and its note of it may start again. ``ended.KEY.N`` has the exit status. N counts what Slurm has requeued.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.schedule.entry import Added
    from hpcaccept.model.schedule.recipe import Recipe

BEGUN, ENDED = "begun", "ended"
#: Seconds between two samples of the GPUs.
_SAMPLE_S = 15

_FRAME = r"""#!/usr/bin/env bash
# Made by "hpcaccept schedule" from run.toml, for run @RUN@ of commit @COMMIT@@DIRTY@.
# usage: start.sh KEY ATTEMPT    Starts the command once for each KEY.
set -u
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd) && cd -- "$here" || exit 3
key=${1:?key of this start}.${SLURM_RESTART_COUNT:-0}
attempt=$((${2:?number of the attempt} + ${SLURM_RESTART_COUNT:-0}))
read -r boot </proc/sys/kernel/random/boot_id
stat=$(<"/proc/$$/stat"); stat=${stat##*) }; read -ra stat <<<"$stat"
# The start that makes this file runs the command; every other one ends here.
(set -o noclobber; printf '%s %s %s\n' "$$" "$boot" "${stat[19]}" >"begun.$key") 2>/dev/null || exit 0
exec </dev/null >>@LOG@ 2>&1
finish() {
  [[ -z ${watcher:-} ]] || kill "$watcher" 2>/dev/null
  printf '%s\n' "$1" >".ended.$key" && sync ".ended.$key" && mv ".ended.$key" "ended.$key"
  exit "$1"
}
say() { printf -- '--- hpcaccept schedule, %s: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1"; }
say "run @RUN@, commit @COMMIT@@DIRTY@, attempt $attempt on $(hostname)"
export HPCACCEPT_RUN_ID=@RUN@ HPCACCEPT_COMMIT=@COMMIT@ HPCACCEPT_DIRTY=@DIRTY_FLAG@
export HPCACCEPT_DIFF_SHA256=@DIFF@ HPCACCEPT_ATTEMPT=$attempt
"""

_ENVIRONMENT = r"""
make_environment() {
  # Once on each machine, for these requirements.
  [[ -e env/made ]] && cmp -s requirements.txt env/made && return
  rm -rf env
  @PYTHON@ -m venv --system-site-packages env && env/bin/python -m pip install --quiet -r requirements.txt &&
    cp requirements.txt env/made
}
make_environment || { say "the environment could not be made from requirements.txt"; finish 3; }
export PATH=$here/env/bin:$PATH
"""

_CUDA = r"""
found=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' | head -n 1)
if [[ -z $found || $(printf '%s\n%s\n' @CUDA@ "$found" | sort -V | head -n 1) != @CUDA@ ]]; then
  say "the driver supports CUDA ${found:-(no nvidia-smi)}, expected at least @CUDA@"
  finish 3
fi
"""

# cudnn_version.h: up to version 8 thousands are the major version (8902 is 8.9.2), from 9 on ten thousands (90100 is 9.1.0).
_CUDNN = r"""
found=$("$(command -v python || command -v python3)" -c 'import torch; v = torch.backends.cudnn.version(); print(f"{v // 10000}.{v // 100 % 100}" if v >= 90000 else f"{v // 1000}.{v // 100 % 10}")' 2>/dev/null)
if [[ -z $found || $(printf '%s\n%s\n' @CUDNN@ "$found" | sort -V | head -n 1) != @CUDNN@ ]]; then
  say "torch has cuDNN ${found:-(none)}, expected at least @CUDNN@"
  finish 3
fi
"""

_COMMAND = r"""
if command -v nvidia-smi >/dev/null; then
  watch_gpus() {
    while sleep @SAMPLE@; do
      nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits |
        sort -n | tail -n 1 | sed "s/^/$SECONDS /" >>@GPU_LOG@
    done
  }
  watch_gpus 2>/dev/null &
  watcher=$!
fi
cd @WORK@ || finish 3
# SIGTERM goes to everything that runs here: the command writes its last checkpoint, and this script waits for it.
trap : TERM
bash -c "trap 'exit 143' TERM
$(cat "$here/command.sh")" &
command=$!
wait "$command"; code=$?
while kill -0 "$command" 2>/dev/null; do wait "$command"; code=$?; done
cd "$here" || exit 3
say "the command ended with exit status $code"
finish "$code"
"""


def script_of(recipe: Recipe, added: Added, variables: Mapping[str, str]) -> str:
    """The script as text; ``command.sh`` beside it holds the command as it was written.

    Args:
        recipe: what is run.
        added: what was recorded.
        variables: that the command gets from whoever has recorded it.
    """
    parts = [_FRAME, *(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())]
    if recipe.python and not recipe.requirements:
        parts.append("export PATH=@PYTHON_FOLDER@:$PATH\n")
    parts += [_ENVIRONMENT] if recipe.requirements else []
    parts += [_CUDA] if recipe.cuda else []
    parts += [_CUDNN] if recipe.cudnn else []
    parts.append(_COMMAND)
    text = "".join(parts)
    for name, value in _values(recipe, added).items():
        text = text.replace(f"@{name}@", value)
    return text


def _values(recipe: Recipe, added: Added) -> dict[str, str]:
    python = recipe.python or "python3"
    return {
        "RUN": added.run,
        "COMMIT": added.commit,
        "DIRTY_FLAG": "1" if added.dirty else "0",
        "DIRTY": "-dirty" if added.dirty else "",
        "DIFF": added.diff_sha256 or "''",
        "LOG": records.LOG,
        "GPU_LOG": records.GPU_LOG,
        "WORK": records.WORK,
        "SAMPLE": str(_SAMPLE_S),
        "PYTHON_FOLDER": shlex.quote(python.rpartition("/")[0] or "."),
        "PYTHON": shlex.quote(python),
        "CUDA": shlex.quote(recipe.cuda),
        "CUDNN": shlex.quote(recipe.cudnn),
    }
