#!/usr/bin/env bash
# Installs what the virtual Slurm, its MPI jobs and the tests of tools need, from Debian's or Ubuntu's own packages; says so
# before.
#
# No service is started or enabled by it, and no file of an existing Slurm or munge is changed.
# Exit code 0: all is there. 77: it may not install here, with a sentence. Any other: apt-get failed.
set -euo pipefail

# The two mariadb "core" packages are the programs alone: no service, no database, no user.
# libpmix-dev: "srun --mpi=pmix" opens libpmix.so, which libpmix2 alone has not.
packages=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server-core mariadb-client-core openmpi-bin libpmix-dev)
# What checks run, and what tests make faults with (tc).
packages+=(stress-ng fio perftest iproute2)
# What tests compile: a driver's library, a file system without locks.
packages+=(gcc libc6-dev)
# A real crontab for the nightly run; its daemon is never started.
packages+=(cron)
# Hosts that are reached by ssh: each test starts daemons of its own, with keys of its own.
packages+=(openssh-server openssh-client rsync)
# What the gate of nodes starts and connects to is looked at from outside.
packages+=(strace)
# The services that come with them.
services=(slurmctld slurmd slurmdbd munge cron ssh)
policy=/usr/sbin/policy-rc.d

refuse() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 77
}

is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

command -v dpkg-query >/dev/null || refuse "this is neither Debian nor Ubuntu; the virtual Slurm needs their packages."

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
((${#missing[@]})) || exit 0

((EUID == 0)) || refuse "missing: ${missing[*]}; run this as root to install them."

# Only services that are new by this may be disabled after it.
new_services=()
for service in "${services[@]}"; do
  is_installed "$service" || new_services+=("$service")
done

printf 'install.sh: will install with apt-get, and what they depend on: %s\n' "${missing[*]}"
printf 'install.sh: no service will be started or enabled.\n'

# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: 101 forbids to start a service.
if [[ -e $policy ]]; then
  code=0
  "$policy" munge start >/dev/null 2>&1 || code=$?
  ((code == 101)) || refuse "$policy exists and lets packages start services; install by hand: ${missing[*]}."
else
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 0755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends "${missing[@]}"

for service in ${new_services[@]+"${new_services[@]}"}; do
  # Two lists of what starts with the machine: systemd's, which counts where systemd is, and the old init's.
  if command -v systemctl >/dev/null; then
    systemctl --quiet disable "$service.service"
  fi
  update-rc.d "$service" disable >/dev/null 2>&1 || true # the package may have no script for the old init
done
