#!/bin/sh
# AzNHC, commit 0e0a1ac: knows -a, -v, -t SECONDS, -o FILE and -c CONF; writes STAND_IN_LOG to FILE.
file=
while [ $# -gt 0 ]; do
    case "$1" in
        -a | -v) shift ;;
        -t) [ "$2" -ge 1 ] || exit 1; shift 2 ;;
        -o) file=$2; shift 2 ;;
        -c) [ -f "$2" ] || { echo "realpath: $2: No such file or directory" >&2; exit 1; }; shift 2 ;;
        *) echo "getopt: unrecognized option '$1'" >&2; echo "Usage: ./run-health-checks.sh [-h|--help] …"; exit 1 ;;
    esac
done
case "$file" in /*) ;; *) echo "docker: -v needs an absolute path" >&2; exit 125 ;; esac
[ ! -e "$file" ] || { echo "stand-in: $file is there already" >&2; exit 99; }
cat "$STAND_IN_LOG" > "$file"
. "$(dirname "$0")/say.sh"
last_word
