# shellcheck shell=bash
# What the scripts of a node share: a log that holds one run, a status file whose last line counts. Sourced, never run.

# Logs and statuses are gathered by whoever may log in.
umask 022

# now: the time as status files have it.
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# add_status LOG WORD: one line for LOG.status. Returns 1 where it could not be written: the word of an earlier run stands there still.
add_status() {
  printf '%s %s\n' "$(now)" "$2" >>"$1.status" || { echo "$1.status cannot be written: what it says is of an earlier run" >&2; return 1; }
}

# begin LOG: one run at a time; the log of the run before becomes LOG.1. A run that dies leaves "unknown", never the word of an earlier one.
begin() {
  [[ -w ${1%/*} ]] || { echo "$1 cannot be written: this needs root" >&2; exit 3; }
  exec 9>"$1.lock"
  flock --nonblock 9 || { echo "$1: another run is writing it; nothing was started" >&2; exit 3; }
  if [[ -e $1 ]]; then mv -f "$1" "$1.1"; fi
  : >"$1"
  # Nothing is started that could not take back an older pass.
  add_status "$1" unknown || exit 3
}

# conclude KIND LOG EXIT_STATUS: what the log proves becomes the last line of LOG.status. Returns 0 passed, 1 failed, 3 unknown.
conclude() {
  local word
  word=$(python3 "$(dirname "${BASH_SOURCE[0]}")/node-verdict.py" "$1" "$2" "$3") || word=unknown
  case $word in passed | failed) ;; *) word=unknown ;; esac
  add_status "$2" "$word" || word=unknown
  echo "$1: $word (log $2)"
  case $word in passed) return 0 ;; failed) return 1 ;; *) return 3 ;; esac
}

# physical_host POOL: the machine below, out of pool 3 of Hyper-V's key-value exchange; an empty line where the pool does not name one. Call it in $( ).
# The lines are those that `hpcaccept azure hosts` sends to Azure's agent (hpcaccept/provider/azure/nodes.py explains them); a test holds the two together.
physical_host() {
  local pool=$1
  LC_ALL=C; export LC_ALL; physical=""; block=0
  field() { dd if="$pool" bs=512 skip="$1" count="$2" 2>/dev/null | tr "\n\0" "\001\n" | head -n 1; }
  if [ -f "$pool" ] && [ -r "$pool" ]; then size=$(($(wc -c <"$pool"))); else size=0; fi
  if [ "$((size % 2560))" -ne 0 ] || [ "$size" -gt 655360 ]; then size=0; fi
  while [ "$block" -lt "$((size / 512))" ]; do
    if [ "$(field "$block" 1)" = PhysicalHostName ]; then
      found=$(field "$((block + 1))" 4)
      if [ -n "$physical" ] && [ "$physical" != "$found" ]; then found="?"; fi
      physical=${found:-"?"}
    fi
    block=$((block + 5))
  done
  case $physical in *[!A-Za-z0-9._-]*) physical="" ;; esac
  printf '%s\n' "$physical"
}
