"""``python -m benchmarks [NAME…]``: measure, print, and keep the figures. Exit status 0 whatever the numbers are."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import benchmarks
from benchmarks import _docs, _row
from benchmarks._child import ROOT, environment, output
from benchmarks._row import CannotRun
from hpcaccept import __version__
from hpcaccept.app.commit import commit_of
from hpcaccept.measure.host import host

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_FIGURES = ROOT / "build" / "benchmarks.json"


def main(argv: Sequence[str] | None = None) -> int:
    """1 when a benchmark could not be run; how the numbers turned out does not matter."""
    parser = _parser()
    options = parser.parse_args(argv)
    known = names(options.device)
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))} for {options.device}; there are {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is open is closed: clusters, folders
    try:
        if options.list:
            for name in known:
                print(f"{name:<14} {(load(name).__doc__ or '').splitlines()[0]}")
            return 0
        if options.write_docs:
            _docs.write(_docs.PAGE, json.loads(options.json.read_text("utf-8")))
            print(_docs.PAGE)
            return 0
    except (CannotRun, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    chosen = options.names or [name for name in known if not getattr(load(name), "BY_NAME", False)]
    outcomes = [_run(name, options.quick, options.json) for name in chosen]
    print(f"\nFigures: {options.json}")
    return 0 if all(outcomes) else 1


def names(device: str = "cpu") -> list[str]:
    """Every benchmark of a kind of device, by the name of its file: those that need a GPU end in ``_gpu``."""
    found = (m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    return sorted(name for name in found if name.endswith("_gpu") == (device == "cuda"))


def load(name: str) -> ModuleType:
    """A module with ``measure(quick) -> list[Row]``."""
    return importlib.import_module(f"benchmarks.{name}")


def _run(name: str, quick: bool, file: Path) -> bool:
    module = load(name)
    print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
    load_1min, begin = os.getloadavg()[0], time.monotonic()
    try:
        rows: list[_row.Row] = module.measure(quick)
    except (CannotRun, OSError, subprocess.SubprocessError) as fault:
        print(f"  NOT RUN: {fault}", flush=True)
        return False
    took_s = time.monotonic() - begin
    for row in rows:
        print(f"  {row.what}\n      {_row.ours_text(row)}")
        more = [text for text in (_row.compared_text(row), row.cited and f"cited: {row.cited}") if text]
        if row.target:
            more.append(f"target {_row.target_text(row)}: {_row.met_text(row)}")
        if more:
            print(f"      {'; '.join(more)}")
    print(f"  ({took_s:.0f} s, load {load_1min:.1f} when it began)", flush=True)
    result = {"rows": [_row.plain(r) for r in rows], "quick": quick, "load": load_1min, "seconds": took_s}
    _keep(file, name, {**result, "at": _now(), "hpcaccept": f"{__version__} {commit_of(ROOT)}".strip()})
    return True


def _keep(file: Path, name: str, result: dict[str, Any]) -> None:
    """Put one result into the file; those of other benchmarks stay, unless they are of another machine."""
    machine = _machine()
    before = json.loads(file.read_text("utf-8")) if file.exists() else {}
    kept = before["results"] if before.get("machine") == machine else {}
    results = dict(sorted({**kept, name: result}.items()))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": machine, "results": results}, indent=1, ensure_ascii=False), "utf-8")


def _machine() -> dict[str, str]:
    """What would change the figures."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        "processor": host.cpu_model(),
        "cores": f"{host.usable_cores():g}",
        "kernel": host.kernel(),
        "Python": platform.python_version(),
        "Slurm": output(["slurmctld", "-V"], environment()).split()[-1] if shutil.which("slurmctld") else "",
        **{name: found.get(name, "") for name in ("torch", "numpy", "mpi4py", "submitit")},
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (--list); scale and slurm_wide only so")
    parser.add_argument("--list", action="store_true", help="name them, and what each asks")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: only those that need a GPU (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="few runs: does everything work?")
    parser.add_argument(
        "--json", type=Path, default=_FIGURES, metavar="FILE", help="keep figures in FILE (%(default)s)"
    )
    parser.add_argument("--write-docs", action="store_true", help="measure nothing: put FILE's figures into the docs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
