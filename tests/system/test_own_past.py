"""A whole run on the local launcher: who is slower than its own past alone is launched again, and a loss of one launch is gone."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.site_packages import install
from support.submission import ROOT, submit, suite_file

from hpcaccept.app.history import to_remember
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.history_file import append

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.mpi]

CHECK = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hpcaccept.model.check import Check
from hpcaccept.model.metric import Metric


@dataclass(frozen=True)
class Told(Check):
    """Reads the rate of its rank in this launch from a file."""

    name: ClassVar = "told_rate"
    revision: ClassVar = 1
    about: ClassVar = "A rate that a file says."
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric("rate_bytes", "B/s", "higher", "What the file says.", statistic="best", peer_floor=0.05),
    )

    def measure(self, ctx):
        folder = Path(FOLDER)
        launch = len(list(folder.glob(f"{ctx.rank}.*")))
        (folder / f"{ctx.rank}.{launch}").touch()
        launches = (folder / "rates").read_text().splitlines()
        ctx.emit("rate_bytes", float(launches[min(launch, len(launches) - 1)].split()[ctx.rank]))
'''
SUITE = """
baseline = "optional"
[checks.told_rate]
[peers]
floor = 0.05
shared_host_floor = 0.0
"""
#: node2 is a fifth faster than the others, since ever: at their rate no peer sees its loss.
USUAL, LOST = "1e9 1e9 1.2e9 1e9", "1e9 1e9 1e9 1e9"


def run(tmp_path: Path, name: str, *rates: str) -> tuple[int, set[str], int, RunFolder]:
    """Exit code, nodes that fail, retests and folder of a run whose launches measure this."""
    site, folder = tmp_path / "site", tmp_path / name
    folder.mkdir()
    (folder / "rates").write_text("\n".join(rates), "utf-8")
    if not site.exists():
        install(
            site,
            "site-told",
            "hpcaccept.checks",
            "told_rate",
            CHECK.replace("FOLDER", "__import__('os').environ['TOLD']"),
        )
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "TOLD": str(folder)}
    env["HPCACCEPT_HISTORY"] = str(tmp_path / "history")
    words = ("--nodes", "4", "--launcher", "local")
    done = submit(tmp_path / f"{name}-runs", suite_file(tmp_path, SUITE), *words, env=env).finish(120)
    failed = {v["node"] for v in done.verdicts(outcome="FAIL")}
    return done.code, failed, len(done.events("retest")), RunFolder(done.folder)


def test_a_loss_against_the_own_past_is_launched_again_and_one_that_stays_fails(tmp_path: Path) -> None:
    code, failed, retests, folder = run(tmp_path, "usual", USUAL)
    assert (code, failed, retests) == (0, set(), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path / "site"))
        one = to_remember(judge_run(evidence_of(folder), tmp_path / "none"))
    nights = [replace(one.run, run_id=f"night{n}", at=f"2026-01-{n + 1:02d}T02:00:00+00:00") for n in range(6)]
    append(tmp_path / "history", [replace(one, run=night) for night in nights])
    assert run(tmp_path, "once", LOST, USUAL)[:3] == (0, set(), 1)
    assert run(tmp_path, "stays", LOST)[:3] == (1, {"node2"}, 2)
