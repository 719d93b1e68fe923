"""Fixtures: a real headless Chromium; only where the browser and its driver are installed."""

from __future__ import annotations

import json
import os
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

MISSING = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
WHY_NOT = f"no {', '.join(MISSING)}: bash tests/system/browser/install.sh" if MISSING else ""

#: Contrast of every text that is seen with the ground behind it, by WCAG 2's formula; those below 4.5 : 1.
FAINT = """
const light = (rgb) => rgb.map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (at) => { const found = rgb(getComputedStyle(at).backgroundColor);
  return found.length < 4 || found[3] === 1 ? found.slice(0, 3) : at.parentElement ? ground(at.parentElement) : [255, 255, 255]; };
const faint = new Set();
for (const at of document.querySelectorAll("body *:not(script):not(svg *)")) {
  const own = [...at.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!own || !at.offsetParent) continue;
  const [a, b] = [light(rgb(getComputedStyle(at).color).slice(0, 3)), light(ground(at))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(`${at.tagName}.${at.className} ${at.textContent.slice(0, 30)}`);
}
return [...faint];
"""

#: https://www.deque.com/axe/core-documentation/api-documentation/
_AXE = """axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations
  .filter(each => ["serious", "critical"].includes(each.impact))
  .flatMap(each => each.nodes.map(node => `${each.id}: ${node.target.join(" ")}: ${node.html.slice(0, 120)}`)))"""


class Browser:
    """One tab that opens files, and what it asked and complained of since."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, file: Path) -> None:
        """Load a page; what was logged before is forgotten."""
        self.driver.get("about:blank")
        self._log("performance")
        self._log("browser")
        self.driver.get(file.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of https://chromedevtools.github.io/devtools-protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def complaints(self) -> list[str]:
        """What the console has said since the page was opened."""
        return [entry["message"] for entry in self._log("browser")]

    def asked_for(self) -> set[str]:
        """Every address that was requested since, its own included."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}

    def barriers(self) -> list[str]:
        """What axe-core finds of this page, as it is shown now, that keeps people from reading or using it: serious and critical."""
        source = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
        # By the protocol, not by an element of the page: its policy lets no foreign script in.
        self.command("Runtime.evaluate", expression=source)
        found = self.command("Runtime.evaluate", expression=_AXE, awaitPromise=True, returnByValue=True)
        return list(found["result"]["value"])

    def _log(self, kind: str) -> list[Any]:
        """Entries since the last time it was asked for."""
        return list(self.driver.get_log(kind))  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser without a window, with nothing of any user's."""
    if WHY_NOT:
        pytest.skip(f"no browser: {WHY_NOT}")
    with start() as driver:
        yield Browser(driver)


def start() -> Chrome:
    """Start it; to be ended by ``quit`` (or ``with``)."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.add_argument("--headless=new")
    options.add_argument("--disable-gpu")
    options.add_argument("--disable-dev-shm-usage")  # containers have 64 MB of it
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's does not work for root; only our own pages are opened
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The path of the driver is given, so that selenium looks for none and downloads none.
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(120)
    return driver
