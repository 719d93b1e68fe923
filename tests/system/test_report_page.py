"""The report page in a real Chromium: it opens without complaint and without network, and can be searched, sorted, read and printed."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest
from support.big_runs import big_run, judged_run, past_of
from support.browser_fixtures import FAINT
from support.builders import evidence, judged_run_of, plan, record, suite

from hpcaccept.report.formats import html

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.browser_fixtures import Browser

ROWS = "return [...document.querySelectorAll(`#${arguments[0]} tbody:not(.pad) tr`)].map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 24 nodes with everything on it."""
    found = big_run(24, pairs=True)
    past = past_of(found)
    place = tmp_path_factory.mktemp("page") / "report.html"
    place.write_text(html.render(judged_run(found, past)), "utf-8")
    return place


@pytest.fixture
def page(chromium: Browser, file: Path) -> Iterator[Browser]:
    """It, opened anew, 1280 wide, in the light; whatever a test does to it, the console stays silent."""
    look(chromium)
    chromium.open(file)
    yield chromium
    assert chromium.complaints() == []


def look(browser: Browser, *, width: int = 1280, scheme: str = "light", media: str = "screen") -> None:
    """Size of the window, and which of light, dark or paper it is."""
    browser.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.command("Emulation.setEmulatedMedia", media=media, features=features)


def click(browser: Browser, selector: str, text: str = "") -> None:
    """The first element of a kind with these words."""
    browser.run(
        "[...document.querySelectorAll(arguments[0])].find(x => x.textContent.includes(arguments[1])).click()",
        selector,
        text,
    )


def search(browser: Browser, grid: str, words: str) -> str:
    """Type into the filter of a table; gives what it says it found."""
    script = "const x = document.querySelector(`#${arguments[0]} input[type=search]`); x.value = arguments[1]; x.dispatchEvent(new Event('input')); return document.querySelector(`#${arguments[0]} .found`).textContent"
    return str(browser.run(script, grid, words))


def test_it_opens_without_complaint_and_asks_for_nothing(page: Browser, file: Path) -> None:
    assert page.run("return document.documentElement.dataset.ready") == "yes"
    assert page.complaints() == []
    assert {address for address in page.asked_for() if not address.startswith("data:")} == {file.as_uri()}
    assert page.run("return document.querySelector('#verdict h2').textContent") == "NOT ACCEPTED"


def test_the_policy_of_the_page_holds(chromium: Browser, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "with-more.html"
    more = "<script>document.title = 'acted'</script><img src='https://example.org/x.png' onerror='document.title = 1'></body>"
    other.write_text(file.read_text("utf-8").replace("</body>", more), "utf-8")
    chromium.open(other)
    assert chromium.run("return document.title").startswith("NOT ACCEPTED")
    assert len([words for words in chromium.complaints() if "Content Security Policy" in words]) >= 2


def test_rows_are_found_by_name_and_by_verdict(page: Browser) -> None:
    rows = page.run(ROWS, "nodes")
    order = [("FAIL", "ERROR", "WARN", "PASS").index(row[1]) for row in rows]
    assert order == sorted(order)
    assert rows[0][0] == "gpu00002"  # farthest beyond its limit
    assert search(page, "nodes", "GPU0001") == "10 of 24 nodes"
    assert all(row[0].startswith("gpu0001") for row in page.run(ROWS, "nodes"))
    assert search(page, "nodes", "no such node") == "0 of 24 nodes"
    assert page.run(ROWS, "nodes") == []
    assert search(page, "nodes", "") == "24 nodes"
    others = "document.querySelectorAll('#nodes button[data-outcome]:not([data-outcome=FAIL])').forEach(x => x.click())"
    page.run(others)
    assert {row[1] for row in page.run(ROWS, "nodes")} == {"FAIL"}
    assert page.run("return document.querySelector('#nodes .found').textContent") == "4 of 24 nodes"
    click(page, "#nodes button", "Names")
    assert sorted(page.run("return document.querySelector('dialog textarea').value").split(",")) == [
        f"gpu0000{i}" for i in range(4)
    ]


def test_devices_are_found_by_their_id(page: Browser) -> None:
    assert search(page, "devices", "GPU-00000003-0001") == "1 of 184 devices"
    ((node, outcome, device, *_),) = page.run(ROWS, "devices")
    assert (node, outcome, device) == ("gpu00003", "FAIL", "GPU 1")


def test_a_click_on_a_column_sorts_by_it_the_worst_first_then_the_best(page: Browser) -> None:
    head = "#devices thead button"

    def shown() -> list[float]:
        place = page.run(
            "return [...document.querySelectorAll('#devices thead th')].findIndex(x => x.ariaSort !== 'none')"
        )
        return [float(row[place].split()[0]) for row in page.run(ROWS, "devices")]

    click(page, head, "BF16-0 matrix multiply")
    worst_first = shown()
    assert worst_first == sorted(worst_first)
    assert page.run(ROWS, "devices")[0][0] == "gpu00003"
    click(page, head, "BF16-0 matrix multiply")
    best_first = shown()
    assert best_first == sorted(best_first, reverse=True)
    assert best_first[0] > worst_first[-1]
    click(page, head, "node")
    assert [row[0] for row in page.run(ROWS, "devices")][:9] == ["gpu00000"] * 8 + ["gpu00001"]
    assert page.run("return document.querySelectorAll('#devices th[aria-sort=ascending]').length") == 1


def test_columns_can_be_chosen_and_shown_as_shares_of_the_median(page: Browser) -> None:
    count = "return document.querySelectorAll('#nodes thead th').length"
    before = page.run(count)
    click(page, "#nodes .choices label:not(:has(:checked)) input")
    assert page.run(count) == before + 1
    page.run(
        "const x = document.querySelector('#nodes select'); x.value = 'share'; x.dispatchEvent(new Event('change'))"
    )
    search(page, "nodes", "gpu00003")
    ((*_, first, _second, _third, _fourth, _fifth, _more),) = page.run(ROWS, "nodes")
    assert re.fullmatch(r"8[78]\.\d %", first)


def test_the_keyboard_is_enough(page: Browser) -> None:
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.support.wait import WebDriverWait

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    page.run("document.querySelector('#nodes table').focus()")
    press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    active = "return document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).cells[0].textContent"
    node = page.run(active)
    assert node == page.run(ROWS, "nodes")[2][0]
    press(Keys.END)
    assert page.run(active) == page.run(ROWS, "nodes")[-1][0]
    press(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    assert page.run("return document.querySelector('dialog[open] h3').textContent") == node
    assert page.run("return document.querySelectorAll('dialog tbody tr').length") > 30
    assert page.run("return document.querySelectorAll('dialog svg .mark').length") > 30
    press(Keys.ESCAPE)
    # The dialog goes with its event, not with the key.
    WebDriverWait(page.driver, 60).until(lambda _: page.run("return document.querySelector('dialog')") is None)


def test_without_script_verdict_and_bad_units_can_be_read(chromium: Browser, file: Path) -> None:
    chromium.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(file)
        words = str(
            chromium.command("DOM.getOuterHTML", nodeId=chromium.command("DOM.getDocument")["root"]["nodeId"])[
                "outerHTML"
            ]
        )
        seen = chromium.driver.find_element("css selector", "body").text
    finally:
        chromium.command("Emulation.setScriptExecutionDisabled", value=False)
    assert "data-ready" not in words
    for text in (
        "NOT ACCEPTED",
        "gpu00003 GPU 0",
        "lowest of",
        "GPU to GPU copy (0→7)",
        "This table needs JavaScript",
    ):
        assert text in seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(page: Browser, scheme: str) -> None:
    look(page, scheme=scheme)
    page.run("document.querySelectorAll('details').forEach(x => { x.open = true })")
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 384) == (scheme == "light")
    assert page.run(FAINT) == []


def test_nothing_keeps_anybody_from_reading_it(chromium: Browser, tmp_path: Path) -> None:
    found = big_run(5, 2, 6, pairs=True)
    small = tmp_path / "report.html"
    small.write_text(html.render(judged_run(found, past_of(found))), "utf-8")
    look(chromium, width=390, scheme="dark")
    chromium.open(small)
    chromium.run("document.querySelectorAll('details').forEach(x => { x.open = true })")
    assert chromium.barriers() == []


def test_a_narrow_screen_shows_the_medians(page: Browser) -> None:
    look(page, width=390)
    right = "return [...document.querySelectorAll('#checks thead th')].filter(x => x.textContent === 'median').map(x => x.getBoundingClientRect().right)"
    assert all(0 < place <= 390 for place in page.run(right))


@pytest.mark.parametrize("width", [400, 768, 1920])
def test_the_page_is_as_wide_as_the_window(page: Browser, width: int) -> None:
    look(page, width=width)
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_it_can_be_printed(page: Browser) -> None:
    look(page, media="print")
    assert page.run("return getComputedStyle(document.querySelector('#nodes .controls')).display") == "none"
    look(page)
    paper = base64.b64decode(page.command("Page.printToPDF", printBackground=True)["data"])
    assert paper.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 3


def test_hostile_names_do_nothing_in_a_browser(chromium: Browser, tmp_path: Path) -> None:
    names = (
        "<img src=x onerror=\"document.title='acted'\">",
        "</script><script>document.title='acted'</script>",
        "x" * 200,
        "node3",
    )
    rows = [record("speed", name, {"rate_flops[<b>]": 100.0 + i, "wrong_elements": i}) for i, name in enumerate(names)]
    found = evidence(rows, plan(suite("speed")), names=names, rank_starts=())
    place = tmp_path / "hostile.html"
    place.write_text(html.render(judged_run_of(found)), "utf-8")
    look(chromium, width=400)
    chromium.open(place)
    click(chromium, "#nodes tbody tr", names[1])
    assert chromium.run("return document.querySelector('dialog h3').textContent") == names[1]
    assert chromium.run("return document.title").startswith("NOT ACCEPTED")
    assert chromium.run("return document.querySelectorAll('img').length") == 0
    assert chromium.run("return document.documentElement.scrollWidth") <= 400
    assert chromium.complaints() == []
    assert len({address for address in chromium.asked_for() if not address.startswith("data:")}) == 1


def test_131072_devices_can_be_searched_and_sorted(chromium: Browser, tmp_path: Path) -> None:
    place = tmp_path / "large.html"
    place.write_text(html.render(judged_run(big_run(16_384, metrics=3, cells=False))), "utf-8")
    look(chromium)
    chromium.open(place)
    assert chromium.run("return document.querySelector('#devices .found').textContent") == "131,064 devices"
    assert len(chromium.run(ROWS, "devices")) < 60
    assert search(chromium, "devices", "gpu12345 gpu 7") == "1 of 131,064 devices"
    assert search(chromium, "devices", "") == "131,064 devices"
    click(chromium, "#devices thead button", "BF16-0 matrix multiply")
    assert [row[0] for row in chromium.run(ROWS, "devices")][:2] == ["gpu00003", "gpu00003"]
    chromium.run("const x = document.querySelector('#devices .scroller'); x.scrollTop = x.scrollHeight")
    chromium.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    last = "return [...document.querySelectorAll('#devices tbody:not(.pad) tr')].at(-1).getAttribute('aria-rowindex')"
    assert chromium.run(last) == "131065"
    assert chromium.complaints() == []
