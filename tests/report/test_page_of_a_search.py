"""A page of a search that goes on, and one of several runs, in a browser."""

import re
import time
from pathlib import Path

import pytest

from hpcnas.report.page import write_page
from hpcnas.report.read_run import read_runs
from hpcnas.run_folder import RunFolder
from tests.report.chromium import Browser
from tests.report.populations import make_run

pytestmark = pytest.mark.xdist_group("chromium")
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    top = tmp_path_factory.mktemp("pages")
    return [make_run(top / "first", 130, population=20), make_run(top / "second", 60, population=20)]


def _write(folder: RunFolder, *, period: float, again: float = 0.5) -> None:
    text = write_page(read_runs([folder]), period)
    folder.page.write_text(text.replace('"again":30.0', f'"again":{again}'), encoding="utf-8")


def _is_reloaded(browser: Browser) -> bool:
    """Whether the mark on the window goes, which a reload takes away."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if browser.run("return window.mark === undefined"):
            return True
        time.sleep(0.1)
    return False


def test_it_loads_itself_anew_and_keeps_what_the_reader_has_chosen(browser: Browser, folders: list[RunFolder]) -> None:
    """Where he is, his filter, the order of the leaderboard."""
    folder = folders[0]
    _write(folder, period=1.0)
    browser.open(folder.page)
    browser.type("#filter", "random")
    browser.click("#board th[data-key=parameters] button")
    browser.run("document.activeElement.blur(); scrollTo(0, 1500); window.mark = 1")
    wanted = browser.run("return [document.querySelector('#board tbody').innerText, Math.round(scrollY)]")
    assert _is_reloaded(browser)
    assert browser.run("return [document.querySelector('#board tbody').innerText, Math.round(scrollY)]") == wanted
    assert browser.run("return document.querySelector('#filter').value") == "random"


def test_it_stays_while_a_genotype_is_looked_at(browser: Browser, folders: list[RunFolder]) -> None:
    _write(folders[0], period=1.0)
    browser.open(folders[0].page)
    browser.run("window.mark = 1; showGenotype(0, 1)")
    assert browser.run("return isInUse()")
    browser.run("dialog.close()")
    assert _is_reloaded(browser)


def test_a_page_of_a_run_that_is_over_stays(browser: Browser, folders: list[RunFolder]) -> None:
    _write(folders[0], period=0.0)
    browser.open(folders[0].page)
    assert browser.run("return data.live") is None
    assert browser.run("return document.querySelector('#age').textContent") == ""


def test_a_page_that_is_not_late_says_that_the_search_goes_on(browser: Browser, folders: list[RunFolder]) -> None:
    _write(folders[0], period=300.0)
    browser.open(folders[0].page)
    assert "the search goes on" in browser.run("return document.querySelector('#age').textContent")


def test_an_old_page_says_that_nothing_new_came(browser: Browser, folders: list[RunFolder]) -> None:
    text = write_page(read_runs([folders[0]]), 300.0)
    old = re.sub(r'"written":(\d+)', lambda found: f'"written":{int(found[1]) - 7200}', text)
    folders[0].page.write_text(old, encoding="utf-8")
    browser.open(folders[0].page)
    assert (
        browser.run("return document.querySelector('#age').textContent") == "Written 2.0 h ago; the search has ended or waits."
    )


SHOWN = """const seen = (part) => part.getClientRects().length > 0;
return [...document.querySelectorAll('[data-run="' + arguments[0] + '"]')].filter(seen).length;"""


def test_runs_are_switched_off_and_on(browser: Browser, folders: list[RunFolder], tmp_path: Path) -> None:
    """With their series, rows of every table, cells and settings."""
    path = tmp_path / "both.html"
    path.write_text(write_page(read_runs(folders)), encoding="utf-8")
    browser.open(path)
    before = [browser.run(SHOWN, run) for run in (0, 1)]
    assert min(before) > 15
    assert browser.run("return document.querySelector('#page').textContent") == "1 to 50 of 190"
    browser.click("#runs label:nth-of-type(1) input")
    assert [browser.run(SHOWN, run) for run in (0, 1)] == [0, before[1]]
    assert browser.run("return document.querySelector('#page').textContent") == "1 to 50 of 60"
    series = browser.run("return data.panels['figure3-0'].series.filter(one => !isOff(one.run)).map(one => one.label)")
    assert series == ["second"]
    browser.click("#runs label:nth-of-type(1) input")
    assert [browser.run(SHOWN, run) for run in (0, 1)] == before


def test_one_run_has_no_switches(browser: Browser, folders: list[RunFolder]) -> None:
    _write(folders[1], period=0.0)
    browser.open(folders[1].page)
    assert browser.run("return document.querySelector('#runs')") is None


def test_the_name_of_an_axis_stands_clear_of_its_numbers(browser: Browser, folders: list[RunFolder]) -> None:
    """In every panel, however large the numbers are."""
    path = folders[1].page
    text = write_page(read_runs([folders[1]]))
    path.write_text(text, encoding="utf-8")
    browser.open(path)
    overlaps = browser.run(
        """return [...document.querySelectorAll('[data-panel]')].filter((panel) => {
          const name = panel.querySelector('text.name[transform]').getBoundingClientRect();
          return [...panel.querySelectorAll('text.y')].some((text) => text.getBoundingClientRect().left < name.right);
        }).map((panel) => panel.dataset.panel);"""
    )
    assert overlaps == []
