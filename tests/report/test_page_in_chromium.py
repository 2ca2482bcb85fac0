"""The page as its reader has it: a file opened in a browser."""

import re

import pytest

from hpcnas.report.page import write_page
from hpcnas.report.read_run import read_runs
from tests.report.chromium import RIGHT
from tests.report.populations import make_run

pytestmark = pytest.mark.xdist_group("chromium")
OPEN_MS = 2000.0  # the promise for 7,000 genotypes


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(write_page(read_runs([make_run(path.parent / "large", 7000)])), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page):
    browser.command("Emulation.setEmulatedMedia", features=[])
    browser.command("Page.navigate", url="about:blank")  # what a reader has chosen outlives a reload
    browser.log("performance")
    browser.open(page)
    return browser


def column(browser, key):
    script = """const k = [...document.querySelectorAll('#board th')].findIndex(cell => cell.dataset.key === arguments[0]);
                return [...document.querySelectorAll('#board tbody tr')].map(row => row.cells[k].textContent);"""
    return browser.run(script, key)


def numbers(texts):
    return [float(text.replace(",", "")) for text in texts]


@pytest.mark.serial
def test_seven_thousand_genotypes_open_within_two_seconds(opened):
    """From the navigation's start to the end of the load event, by the browser's own clock."""
    timing = opened.run("const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime;")
    assert timing < OPEN_MS


def test_the_leaderboard_has_all_of_seven_thousand(opened):
    assert opened.run("return document.querySelector('#page').textContent") == "1 to 50 of 7,000"


def test_nothing_leaves_the_file_and_nothing_is_complained_about(opened, page):
    requests = [address for address in opened.requests() if not address.startswith(("data:", "chrome:"))]
    assert requests == [page.as_uri()]
    assert opened.log("browser") == []


def test_the_leaderboard_sorts_both_ways_by_any_column(opened):
    assert numbers(column(opened, "fitness")) == sorted(numbers(column(opened, "fitness")), reverse=True)
    opened.click("#board th[data-key=parameters] button")
    falling = numbers(column(opened, "parameters"))
    assert falling == sorted(falling, reverse=True)
    opened.click("#board th[data-key=parameters] button")
    rising = numbers(column(opened, "parameters"))
    assert rising == sorted(rising)
    assert rising[0] < falling[-1]
    assert opened.run("return document.querySelector('#board th[data-key=parameters]').ariaSort") == "ascending"


def test_the_leaderboard_turns_pages_and_filters(opened):
    opened.click("#next")
    assert opened.run("return document.querySelector('#page').textContent") == "51 to 100 of 7,000"
    opened.type("#filter", "4711")
    assert column(opened, "id") == ["4,711"]
    assert opened.run("return document.querySelector('#next').disabled")


def test_pointing_at_a_figure_tells_the_value_there(opened):
    box = opened.run(
        """const svg = document.querySelector('[data-panel=figure3-1] svg'); svg.scrollIntoView({block: 'center'});
           const b = svg.getBoundingClientRect(); return [b.left, b.top, b.width, b.height];"""
    )
    assert opened.run("return document.querySelector('#tip').hidden")
    opened.point(box[0] + box[2] * 0.97, box[1] + box[3] * 0.1)
    text = opened.run("return document.querySelector('#tip').innerText")
    best = opened.run("return Math.max(...JSON.parse(document.querySelector('#data').textContent).rows.map(row => row[2]))")
    assert text.startswith("large\nevolution step: ")
    assert float(re.search(r"fitness \(%\): ([\d.]+)", text)[1]) == pytest.approx(best, abs=0.01)


def test_arrow_keys_read_a_figure_to_people_without_a_pointer(opened):
    opened.run("document.querySelector('[data-panel=figure3-0] svg').focus()")
    opened.command("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight", text=RIGHT)
    assert "evolution step: 1\n" in opened.run("return document.querySelector('#tip').innerText")
    assert opened.run("return document.querySelector('#tip').getAttribute('aria-live')") == "polite"


def test_dark_mode_follows_the_system_and_the_button(opened):
    back = "return getComputedStyle(document.body).backgroundColor"
    light = opened.run(back)
    opened.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = opened.run(back)
    assert brightness(dark) < 60 < 200 < brightness(light)
    assert brightness(opened.run("return getComputedStyle(document.body).color")) > 200
    opened.run("scrollTo(0, 0)")
    opened.click("#theme")
    opened.click("#theme")
    assert opened.run("return document.querySelector('#theme').textContent") == "Theme: light"
    assert opened.run(back) == light


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_a_phone_scrolls_down_only(opened):
    """Wide tables scroll inside their frames, not the page."""
    opened.command("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    try:
        assert opened.run("return document.documentElement.scrollWidth") == 360
    finally:
        opened.command("Emulation.clearDeviceMetricsOverride")


def test_everything_to_operate_has_a_name(opened):
    """Buttons, fields, figures, scrolling regions, by the browser's accessibility tree."""
    nodes = opened.command("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "searchbox", "region", "image", "img", "table"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]
    assert nameless == []
