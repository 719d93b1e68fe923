#!/usr/bin/env bash
# Is this node healthy? What AzNHC or healthagent, and dcgmi have said last, into /var/log/node-health.log and its .status.
#   healthy    dcgmi passed, and so did AzNHC or healthagent; nothing failed
#   unhealthy  something failed
#   unknown    anything else: not run, not understood, older than a day, or from before the last start of the machine
# Ends with 0 healthy, 1 unhealthy, 3 unknown.
set -uo pipefail
# shellcheck source=node-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/node-lib.sh"

log=/var/log/node-health.log
oldest_s=${OLDEST_S:-86400}

# last_word FILE: the word of its last line, where that is whole and recent enough; else "unknown" and why.
last_word() {
  local line when word at started now_s size foreign
  [[ -f $1 && -r $1 ]] || { echo "unknown: $1 cannot be read"; return; }
  size=$(stat --dereference --format=%s "$1") || { echo "unknown: $1 cannot be read"; return; }
  # Centuries of runs. hpcaccept has the same two limits.
  if ((size > 1048576)); then echo "unknown: $1 has $size bytes, expected at most 1048576"; return; fi
  # Before anything of it is kept in a variable: bash drops NUL there, and "pas" NUL "sed" would read as a pass.
  foreign=$(LC_ALL=C tr -d '\n -~' <"$1" | wc -c) || { echo "unknown: $1 cannot be read"; return; }
  if [[ $foreign != 0 ]]; then echo "unknown: $1 holds $foreign bytes that are no text"; return; fi
  [[ -n $(tail -c 1 "$1") ]] && { echo "unknown: the last line of $1 is torn"; return; }
  line=$(tail -n 1 "$1")
  [[ $line =~ ^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z)\ (passed|failed|unknown)$ ]] || { echo "unknown: the last line of $1 is no status"; return; }
  when=${BASH_REMATCH[1]} word=${BASH_REMATCH[2]}
  at=$(date -u -d "$when" +%s 2>/dev/null) || { echo "unknown: $1 has the time $when"; return; }
  started=$(awk '/^btime/ {print $2}' /proc/stat 2>/dev/null)
  [[ $started =~ ^[0-9]+$ ]] || { echo "unknown: /proc/stat does not say when the machine was started"; return; }
  now_s=$(date -u +%s)
  if ((at < started)); then echo "unknown: $1 is from before the last start of the machine"; return; fi
  if ((now_s - at > oldest_s)); then echo "unknown: $1 is $(((now_s - at) / 3600)) h old"; return; fi
  if ((at - now_s > 300)); then echo "unknown: $1 is from the future"; return; fi
  echo "$word"
}

begin "$log"
aznhc=$(last_word /var/log/aznhc-health.log.status)
healthagent=$(last_word /var/log/healthagent.json.status)
dcgmi=$(last_word /var/log/dcgmi-diag.log.status)
printf '%s\n' "aznhc: $aznhc" "healthagent: $healthagent" "dcgmi: $dcgmi" >>"$log"

word=unknown
if [[ $aznhc == failed || $healthagent == failed || $dcgmi == failed ]]; then
  word=unhealthy
elif [[ $dcgmi == passed && ($aznhc == passed || $healthagent == passed) ]]; then
  word=healthy
fi
add_status "$log" "$word" || exit 3
echo "node: $word (aznhc $aznhc; healthagent $healthagent; dcgmi $dcgmi)"
case $word in healthy) exit 0 ;; unhealthy) exit 1 ;; *) exit 3 ;; esac
