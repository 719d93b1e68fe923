"""Run the check ``health`` in this process while the described GPUs change; its findings go to standard output as JSON.

A child of the tests: pynvml loads its library once. ``argv[1]`` is JSON: ``local_rank``, ``asked``, ``params``, ``scenes`` (a
list of what the node becomes, each a list of GPUs) and ``step``, the name of a folder beside the description.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from hpcaccept.checks.health import Health
from hpcaccept.errors import HpcacceptError
from hpcaccept.model.check import Unavailable
from support.nvml.build import describe
from support.solo_context import SoloContext


def main() -> None:
    """Begin, show the scenes, measure, tell."""
    wanted = json.loads(sys.argv[1])
    ctx = SoloContext(
        Health(**wanted["params"]),
        gpus_asked=wanted["asked"],
        local_rank=wanted["local_rank"],
        folder=_step(wanted["step"]),
    )
    outcome, cause, remedy = "measured", "", ""
    try:
        ctx.begun = ctx.check.begin(ctx)
        until_sampled(ctx)
        for gpus in wanted["scenes"]:
            describe(Path(os.environ["HPCACCEPT_FAKE_NVML"]), gpus)
            until_sampled(ctx)
        ctx.check.compare(ctx, ctx.check.measure(ctx))
    except Unavailable as why:
        outcome, cause, remedy = "not_run", why.cause, why.remedy
    except HpcacceptError as why:
        outcome, cause, remedy = "error", why.message, why.remedy
    samples = {f"{name}[{variant}]" if variant else name: values[0] for (name, variant), values in ctx.samples.items()}
    said = {"samples": samples, "facts": ctx.facts, "refused": ctx.refused, "kept": ctx.kept}
    heavy = sorted({"torch", "mpi4py"} & set(sys.modules))
    print(json.dumps({**said, "outcome": outcome, "cause": cause, "remedy": remedy, "heavy": heavy}))  # noqa: T201


def until_sampled(*benches: SoloContext, samples: int = 6) -> None:
    """Wait until each GPU was sampled so many times more, or cannot be."""
    end = time.monotonic() + 10
    for ctx in benches:
        watch = ctx.begun
        before = watch.seen.samples if watch else 0
        while watch and watch.seen.samples < before + samples and time.monotonic() < end:
            if watch.before.lost or watch.seen.lost or watch.open_error:
                break
            time.sleep(0.005)


def _step(name: str) -> Path:
    """The folder of one step of a run, beside the description."""
    folder = Path(os.environ["HPCACCEPT_FAKE_NVML"]).parent / "outputs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
