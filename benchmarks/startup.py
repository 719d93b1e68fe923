"""How long until the command line answers, in units of a bare interpreter of the same environment?"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks._child import environment, rounds, seconds
from benchmarks._row import Row, Target

#: Arguments → what others take, in units of ``python -c pass`` of their environment (2026-11-21, section 1 of the
#: measurements that docs/reference/performance.md names).
_COMMANDS = {
    ("--help",): "ReFrame 33 ×, SuperBench 42 ×",
    ("--version",): "ReFrame 31 ×, SuperBench 39 ×",
    ("config",): "",
    ("checks",): "ReFrame -l 27 ×",
}


def measure(quick: bool) -> list[Row]:
    """Whole processes, in turn with the bare interpreter, from a folder without settings."""
    env, bare = environment(), [sys.executable, "-c", "pass"]
    figures: dict[tuple[str, ...], list[tuple[float, float]]] = {words: [] for words in _COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in rounds(4 if quick else 16, budget_s=45):
            for words, pairs in figures.items():
                ours = seconds([sys.executable, "-m", "hpcaccept", *words], env, cwd=Path(folder))
                theirs = seconds(bare, env, cwd=Path(folder))
                if number > 0:  # the first writes byte code and warms the page cache
                    pairs.append((ours, theirs))
    return [
        Row(
            f"python -m hpcaccept {' '.join(words)}",
            "s",
            tuple(ours for ours, _ in figures[words]),
            "python -c pass",
            tuple(theirs for _, theirs in figures[words]),
            Target("ratio", upper=5.0)
            if words[0].startswith("--")
            else None,  # the others read files or import every check
            cited,
        )
        for words, cited in _COMMANDS.items()
    ]
