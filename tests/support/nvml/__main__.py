"""``PYTHONPATH=tests python -m support.nvml FOLDER [NODE [KEY=VALUE …]]``: GPUs for the virtual Slurm, described in files.

The first call compiles the stand-in for NVIDIA's driver library, describes a healthy GPU for each of four nodes, and writes an ``env.sh``.
With a node its GPU is described anew: with what is given, else healthy. The keys stand in ``nvml.c`` (docs/tutorial/find-a-fault.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

from support.nvml.build import build, describe, environment, h100

NODES = tuple(f"node{number}" for number in range(4))


def main(words: list[str]) -> None:
    """Make the folder, or describe one node of it anew."""
    if not words:
        sys.exit(__doc__)
    folder, changes = Path(words[0]).absolute(), dict(word.split("=", 1) for word in words[2:])
    if len(words) == 1:
        library = build(folder / "lib")
        variables = {**environment(library, folder / "{node}.txt"), "HPCACCEPT_GPUS_PER_NODE": "1"}
        (folder / "env.sh").write_text("".join(f"export {name}='{text}'\n" for name, text in variables.items()))
    for node in NODES if len(words) == 1 else (words[1],):
        sys.stdout.write(f"{describe(folder / f'{node}.txt', [h100(0, **changes)])}\n")


main(sys.argv[1:])
