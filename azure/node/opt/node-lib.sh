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

# kvp_value FILE KEY: the value of a key in a pool of Hyper-V's key-value exchange: records of a 512-byte key and a 2,048-byte
# value, each ended by NUL. Returns 1 and prints nothing where the file is torn or has no such key.
# https://learn.microsoft.com/virtualization/hyper-v-on-windows/reference/integration-services
kvp_value() {
  local file=$1 key=$2 size found value at
  size=$(stat --format=%s "$file" 2>/dev/null) || return 1
  ((size % 2560 == 0)) || return 1
  for ((at = 0; at < size; at += 2560)); do
    IFS= read -r -d '' found < <(dd if="$file" bs=512 skip=$((at / 512)) count=1 status=none) || return 1
    IFS= read -r -d '' value < <(dd if="$file" bs=512 skip=$((at / 512 + 1)) count=4 status=none) || return 1
    if [[ $found == "$key" ]]; then
      printf '%s\n' "$value"
      return 0
    fi
  done
  return 1
}
