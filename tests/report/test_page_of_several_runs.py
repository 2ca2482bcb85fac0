"""The page of several runs in a browser: what their settings are is read without scrolling aside."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.report.page import write_page
from hpcnas.report.views import RunRows
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.presets import PUBLISHED
from tests.report.chromium import Browser

pytestmark = pytest.mark.xdist_group("chromium")
# How many texts of settings and notes there are, and how many of them reach out of the window.
OUTSIDE = """const found = [...document.querySelectorAll('#summary *')].filter(part => !part.children.length
               && /--train-steps \\d|another look/.test(part.textContent));
             const range = document.createRange();
             return [found.length, found.filter(part => { range.selectNodeContents(part);
               const box = range.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth; }).length];"""


@pytest.fixture
def page(make_rows: Callable[..., RunRows], tmp_path: Path) -> Path:
    """Three runs of different recipes, one of them with a long path and a long note."""
    datasets = ("cifar10", "folder:/data/projects/flowers/version-2026-11", "fashion-mnist")
    runs = []
    for number, dataset in enumerate(datasets, 1):
        run = make_rows(f"run{number}", steps=40, seed=number)
        recipe = replace(run.config.recipe, dataset=dataset, train_steps=1000 * number, repeats=number, channels=8 * number)
        note = "another look at what a learning rate does " * 6 if number == 2 else ""
        text = genotype_to_json(PUBLISHED)
        config = replace(run.config, recipe=recipe, note=note)
        runs.append(replace(run, config=config, genotypes={one.id: text for one in run.evaluations}))
    path = tmp_path / "report.html"
    path.write_text(write_page(runs), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1200, 390])
def test_settings_that_differ_wrap_inside_the_window(browser: Browser, page: Path, width: int) -> None:
    browser.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    try:
        browser.open(page)
        assert browser.run(OUTSIDE) == [4, 0]
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        browser.run("document.querySelector('#summary .scroll').scrollLeft = 1000")
        assert browser.run(OUTSIDE) == [4, 0], "they stay where the numbers scroll"
    finally:
        browser.command("Emulation.clearDeviceMetricsOverride")


def test_a_run_that_is_switched_off_takes_its_settings_along(browser: Browser, page: Path) -> None:
    browser.open(page)
    shown = "return [...document.querySelectorAll('#summary tr.below')].filter(row => row.offsetParent !== null).length"
    assert browser.run(shown) == 4
    browser.click("#runs input[value='1']")
    assert browser.run(shown) == 2
    browser.click("#runs input[value='1']")
