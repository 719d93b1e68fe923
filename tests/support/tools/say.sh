# shellcheck shell=sh
# The last word of every stand-in: what was recorded (a file, or the text itself), then the exit status.
say() {
    if [ -f "$1" ]; then cat "$1"; else printf '%s' "$1"; fi
}
last_word() {
    say "$STAND_IN_ERR" >&2
    say "$STAND_IN_OUT"
    exit "$STAND_IN_STATUS"
}
