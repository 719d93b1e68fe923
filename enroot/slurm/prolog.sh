#!/usr/bin/env bash
# A prolog of Slurm (root, on each node, before a job): the folders that 50-hpcaccept-paths.conf names, for the job's user.
# Folders above them belong to root, so that nobody can be there first in another user's name.
# Never fails: a prolog that does drains the node.
set -uo pipefail

conf=${1:-/etc/enroot/enroot.conf.d/50-hpcaccept-paths.conf}
user=${SLURM_JOB_UID:?this is a prolog of Slurm: it needs SLURM_JOB_UID}
group=$(id -g "$user")

while read -r _ path; do
  # shellcheck disable=SC2016  # the conf's own words
  path=${path//'$(id -u)'/$user}
  install -d -m 0755 "${path%/*}" && install -d -m 0700 -o "$user" -g "$group" "$path" ||
    echo "enroot: $path could not be made for user $user" >&2
done < <(grep -E '^ENROOT_[A-Z]+_PATH[[:space:]]' "$conf")
exit 0
