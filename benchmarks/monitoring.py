"""What does watching a GPU cost the load? A product on one core, with and without the sampling thread beside it.

There is no GPU here: the driver's answers come from the stand-in library of the tests, so what is measured is our side,
the thread and its calls through the real pynvml. What a real driver adds to each call is not known.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._child import ROOT, environment, output
from benchmarks._row import CannotRun, Row, Target


def measure(quick: bool) -> list[Row]:
    """Blocks in pairs, the order changing from pair to pair."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.nvml.build import build, describe, h100
    from support.nvml.build import environment as nvml_environment

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        try:
            library = build(place)
        except OSError as fault:
            raise CannotRun(f"the stand-in driver cannot be compiled: {fault}") from None
        described = describe(place / "node", [h100(0)])
        env = environment(**nvml_environment(library, described), PYTHONPATH=str(ROOT))
        script = str(ROOT / "benchmarks" / "_raw_monitoring.py")
        found: dict[str, Any] = json.loads(output([sys.executable, script, "4" if quick else "25"], env, timeout_s=120))
    if found["why_not"]:
        raise CannotRun(f"nothing was sampled: {found['why_not']}")
    watched, alone = tuple(found["watched"]), tuple(found["alone"])
    return [
        Row(
            "products on one core while a GPU is watched ten times a second", "FLOP/s", watched,
            "nobody watching", alone, Target("ratio", lower=0.99),
        ),
        Row("CPU time of the watching thread per second", "s", tuple(found["cost_s"]), target=Target("value", upper=0.01)),
    ]  # fmt: skip
