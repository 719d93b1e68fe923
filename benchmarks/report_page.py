"""How long does a report take: the page of 16,384 nodes to write and to open, and the table of 64 nodes from a cold start?"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT, environment, rounds, seconds
from benchmarks._row import CannotRun, Row, Target
from hpcaccept.report.formats import html
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.store.run_file import write_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from hpcaccept.model.evidence import Evidence

_METRICS = 30


def measure(quick: bool) -> list[Row]:
    """A run with a few faults, made as columns; the page is written by what ``hpcaccept report`` calls, and opened by Chromium.

    Raises:
        CannotRun: there is no Chromium.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from support import browser_fixtures
    from support.big_runs import big_run, judged_run

    if browser_fixtures.WHY_NOT:
        raise CannotRun(browser_fixtures.WHY_NOT)
    nodes, times = (1024, 2) if quick else (16_384, 5)
    judged = judged_run(big_run(nodes, metrics=_METRICS))
    what = f"report page of {nodes:,} nodes × 8 GPUs × {_METRICS} metrics"
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "report.html"
        written = []
        for _ in range(times):
            begin = time.perf_counter()
            replace_file(page, html.render(judged))
            written.append(time.perf_counter() - begin)
        size = page.stat().st_size
        with browser_fixtures.start() as driver:
            opened = [_opened(driver, page) for _ in range(times + 1)][1:]  # the first starts the browser's processes
        cold = _cold(Path(name), big_run(64, metrics=_METRICS, healthy=True), quick)
    return [
        Row(f"{what}: write", "s", tuple(written), target=Target("value", upper=10.0)),
        Row(f"{what}: size", "B", (float(size),)),
        Row(
            f"{what}: open in Chromium, script and tables included",
            "s",
            tuple(opened),
            target=Target("value", upper=3.0),
        ),
        Row("hpcaccept report, 64 nodes × 8 GPUs, whole process", "s", cold, target=Target("value", upper=1.0)),
    ]


def _opened(driver: Chrome, page: Path) -> float:
    """Seconds from the request to the end of the load event, by the browser's own clock."""
    driver.get("about:blank")
    driver.get(page.as_uri())
    if driver.execute_script("return document.documentElement.dataset.ready") != "yes":
        raise CannotRun("the page's script did not come to its end")
    return float(driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")) / 1000


def _cold(place: Path, found: Evidence, quick: bool) -> tuple[float, ...]:
    """A process each, on a run that was collected before."""
    folder = RunFolder(place / "runs" / found.plan.run_id)
    folder.create()
    folder.write_plan(found.plan)
    write_run(folder.run_file, found, found.plan.created_at)
    command = [sys.executable, "-m", "hpcaccept", "report", found.plan.run_id]
    env = environment()
    taken = [seconds(command, env, cwd=place) for _ in rounds(3 if quick else 10, budget_s=40)]
    return tuple(taken[1:])  # the first writes byte code and warms the page cache
