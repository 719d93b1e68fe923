#!/usr/bin/env bash
# The login side under other Pythons than that of .venv: tests/pythons.sh 3.10 3.13
#
# Each has an environment of its own in build/python-VERSION, without torch and MPI. QUICK=1: only commands and the units of parse,
# config and plan. Where there is no such Python that is said, and it is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."

pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check)
units=(tests/unit/parse tests/unit/config tests/unit/plan)
group="units"
if [[ -z ${QUICK:-} ]]; then
  units+=(tests/unit/cli tests/unit/judge tests/unit/launch/job tests/unit/model tests/unit/report tests/unit/store
    tests/unit/test_discover.py tests/unit/test_errors.py tests/unit/test_serial.py tests/unit/test_units.py)
  group="dev"
fi

# A shim of pyenv is on the PATH for versions that are not chosen too, and then only says so.
interpreter() {
  local found
  for found in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
    if "$found" -c '' 2>/dev/null; then
      printf '%s\n' "$found"
      return
    fi
  done
}

one() {
  local version=$1 python place=build/python-$1
  python=$(interpreter "$version")
  if [[ -z $python ]]; then
    printf 'python %s: not run, there is none: pyenv install %s, or a package of your system (python%s-venv)\n' "$version" "$version" "$version"
    return
  fi
  if [[ ! $place/stamp-$group -nt pyproject.toml ]]; then
    "$python" -m venv --without-pip --clear "$place"
    "${pip[@]}" --python "$place/bin/python" install --editable . --group "$group"
    touch "$place/stamp-$group"
  fi
  printf 'python %s: %s\n' "$version" "$("$place/bin/python" --version)"
  "$place/bin/python" -m hpcaccept checks >/dev/null
  for suite in full fabric; do
    "$place/bin/python" -m hpcaccept submit --dry-run --launcher local --nodes 2 --gpus-per-node 8 --suite "$suite" >/dev/null
  done
  "$place/bin/python" -m pytest --durations=0 --durations-min=5 -n 2 "${units[@]}"
}

for version in "$@"; do
  one "$version"
done
