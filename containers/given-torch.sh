#!/usr/bin/env bash
# Installs what hpcaccept needs beside a torch that is there already, and ends with an error if pip changed that torch.
#
# Usage, inside the image: given-torch.sh pyproject.toml
set -euo pipefail

torch() { python3 -c 'import torch; print(torch.__version__, torch.__file__)'; }

before=$(torch)
python3 - "$1" >/tmp/needed.txt <<'PYTHON'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
print(*project["dependencies"], *project["optional-dependencies"]["rank"], sep="\n")
PYTHON
python3 -m pip install --no-cache-dir --requirement /tmp/needed.txt
rm /tmp/needed.txt
after=$(torch)
if [[ $before != "$after" ]]; then
  printf 'given-torch.sh: the torch of the base was replaced: %s, before: %s\n' "$after" "$before" >&2
  exit 1
fi
