"""The pages beside that of a run, looked at by axe-core in a real Chromium: nothing keeps anybody from reading them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from support.isolations import answer, concluded, ended, suspicion

from hpcaccept.app.vast import page as vast_page
from hpcaccept.app.vast.journal import Begun, Decided
from hpcaccept.app.vast.results import Results
from hpcaccept.model.isolation import Fault
from hpcaccept.report.isolation import page as isolation_page

if TYPE_CHECKING:
    from pathlib import Path

    from support.browser_fixtures import Browser


def isolation() -> str:
    """A fault that was found in two groups."""
    blamed = concluded(
        suspicion(Fault("node", ("node2",)), evidence_for=("r1g2",)),
        posterior={"node0": 0.001, "node1": 0.002, "node2": 0.99, "node3": 0.0},
    )
    tests = (ended("r1g1", "node0 node1", value=4e9), ended("r1g2", "node2 node3", "failed", how="too slow"))
    return isolation_page.render(answer(blamed, tests))


def rented() -> str:
    """Three machines: verified, slow, gone."""
    offer = {"num_gpus": 8, "gpu_name": "H100 SXM", "dph_total": 16.0}
    machines = (
        Decided(11, "verified", offer=offer, seconds={"load": 40.0, "tests": 300.0}, usd=1.4, proved={"TOP/s": 1500}),
        Decided(12, "proof-late", "reached a third of the floor", offer=offer, claimed={"driver": "580.1"}),
        Decided(13, "no-offer"),
    )
    begun = Begun("v1", (11, 12, 13), "torch", "default", 10.0, 4.0, None, 600.0, 600.0, 60.0, 3, 1)
    return vast_page.render(
        Results(begun, dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), machines, 1.4, (), 0, True, False)
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("text", [isolation, rented])
def test_nothing_keeps_anybody_from_reading_it(
    chromium: Browser, tmp_path: Path, text: object, width: int, scheme: str
) -> None:
    file = tmp_path / "page.html"
    assert callable(text)
    file.write_text(text(), "utf-8")
    chromium.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chromium.command("Emulation.setEmulatedMedia", media="screen", features=features)
    chromium.open(file)
    assert chromium.barriers() == []


def test_what_nobody_could_read_is_found(chromium: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(
        "<!doctype html><html><body><img src='data:,'><p style='color: #ccc'>words</p></body></html>", "utf-8"
    )
    chromium.open(file)
    found = {each.partition(":")[0] for each in chromium.barriers()}
    assert {"image-alt", "html-has-lang", "color-contrast"} <= found
