"""Genotypes that the page draws by a script, in a browser: against the drawings of Python, and by clicks."""

import json
from random import Random

import pytest

from hpcnas.evolution.initialization import random_genotype
from hpcnas.report.drawing.content import draw
from hpcnas.report.drawing.layout import MARGIN, PAGE, arrange, routes
from hpcnas.report.drawing.styles import operation_styles
from hpcnas.report.page import write_page
from hpcnas.report.page_genotypes import short_text
from hpcnas.report.read_run import read_runs
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.space import FLAT, HIERARCHICAL, SearchSpace
from tests.report.populations import make_run

pytestmark = pytest.mark.xdist_group("chromium")
FULL = Genotype(((Motif(tuple((3,) * i for i in range(1, 11))),),))  # all 55 edges
BROKEN = Genotype(((Motif(((1,), (0, 0))),),))  # the sink is not reached
SPACES = (HIERARCHICAL, HIERARCHICAL, FLAT, SearchSpace("hierarchical", (3, 2, 1), (3, 3, 4)))
PLACES = """
const names = arguments[1], margin = 0.1;
const label = (edge) => (edge.isMotif ? edge.name : arguments[2][edge.name]);
return arrange(panelsOf(readGenotype(arguments[0]), names), arguments[3], label).map((box) => ({
  title: box.panel.title, left: +(box.left - margin).toFixed(6), bottom: +box.bottom.toFixed(6), box: +box.box.toFixed(6),
  live: [...box.panel.live].sort((a, b) => a - b),
  routes: box.routes().map((r) => [
    r.edge.name, r.edge.isLive, r.isBeside, [...r.line, ...r.head].flatMap(([x, y]) => [x - margin, y]),
  ]),
}));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("page") / "search", 120, population=20)
    path = folder.path / "report.html"
    path.write_text(write_page(read_runs([folder])), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page):
    browser.command("Page.navigate", url="about:blank")
    browser.open(page)
    return browser


def _genotypes():
    rng = Random(82)
    return [PUBLISHED, FULL, BROKEN, *(random_genotype(space, rng) for space in SPACES)]


@pytest.mark.parametrize("index", range(len(_genotypes())))
def test_the_script_puts_everything_where_python_does(opened, index):
    """Panels, what is live, lines, arrowheads; the page is narrower by its margins."""
    genotype = _genotypes()[index]
    drawing = draw(genotype)
    codes = {name: style.code for name, style in operation_styles(drawing.operations).items()}
    names = {"none": 0}
    text = short_text(genotype_to_json(genotype), names)
    found = opened.run(PLACES, text, list(names), codes, PAGE - 2 * MARGIN + 0.2)
    placed = arrange(
        drawing.panels, lambda panel: [edge.label if panel.has_motifs else codes[edge.label] for edge in panel.edges]
    )
    assert [one["title"] for one in found] == [box.panel.title for box in placed]
    for one, box in zip(found, placed, strict=True):
        assert one["live"] == [node.number for node in box.panel.nodes if node.is_live]
        assert [one["left"], one["bottom"], one["box"]] == pytest.approx([box.left - MARGIN, box.bottom, box.box], abs=1e-5)
        for way, route in zip(one["routes"], routes(box), strict=True):
            assert way[:3] == [route.edge.label, route.edge.is_live, route.is_beside]
            assert way[3] == pytest.approx(
                [value for x, y in (*route.line, *route.head) for value in (x - MARGIN, y)], abs=1e-5
            )


def test_a_click_on_an_id_draws_the_genotype_and_shows_its_lineage(opened):
    opened.type("#filter", "120")
    opened.click("#board tbody button")
    assert opened.run("return document.querySelector('#genotype-title').textContent") == "Genotype 120 of search"
    edges = sum(len(panel.edges) for panel in draw(PUBLISHED).panels)
    assert opened.run("return document.querySelectorAll('#genotype svg.cell .op.head').length") == edges
    rows = opened.run("return document.querySelectorAll('#genotype tbody tr').length")
    caption = opened.run("return document.querySelector('#genotype caption').textContent")
    assert rows > 1
    assert caption == f"Lineage: {rows - 1} mutations from a random genotype"
    opened.click("#genotype tbody button")
    assert opened.run("return document.querySelectorAll('#genotype tbody tr').length") == 1, "its first ancestor"
    opened.click("#genotype-close")
    assert not opened.run("return document.querySelector('#genotype').open")


def test_a_click_in_the_front_draws_the_genotype_there(opened):
    box = opened.run(
        """const svg = document.querySelector('[data-panel=front-0] svg'); svg.scrollIntoView({block: 'center'});
           const b = svg.getBoundingClientRect(); return [b.left, b.top, b.width, b.height];"""
    )
    opened.click("[data-panel=front-0] svg")
    shown = opened.run("return document.querySelector('#genotype').dataset.shown")
    point = opened.run("return document.querySelector('#tip').innerText.split('\\n')[1]")
    row = opened.run(f"return rowOf.get('{shown}')[column('parameters')]")
    assert point == f"parameters of the small model (thousands): {row / 1000:.5g}"
    assert box[2] > 0


def test_the_best_cell_is_drawn_from_the_start_with_a_legend(opened):
    assert opened.run("return document.querySelectorAll('#cells svg.cell').length") == 1
    legend = opened.run("return [...document.querySelectorAll('#cells .legend li')].map(item => item.textContent.trim())")
    assert "sep: separable3x3" in legend
    assert "a motif of that name" in legend


def test_on_a_phone_the_drawing_is_laid_out_anew_and_scrolls_down_only(opened):
    opened.command("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    try:
        opened.run("showGenotype(0, 7)")
        width = opened.run("return document.querySelector('#genotype svg.cell').viewBox.baseVal.width")
        assert width < 100 * PAGE - 100
        assert opened.run("return document.querySelector('#genotype').scrollWidth") <= 390
        assert opened.run("return document.documentElement.scrollWidth") == 390
    finally:
        opened.command("Emulation.clearDeviceMetricsOverride")


def test_a_genotype_that_is_too_much_for_the_page_is_named(browser, tmp_path, monkeypatch):
    """The best ones are held, as far as they fit; of another the page says how to draw it."""
    monkeypatch.setattr("hpcnas.report.page_genotypes.MOST_LETTERS", 1000)
    folder = make_run(tmp_path / "search", 60)
    folder.page.write_text(write_page(read_runs([folder])), encoding="utf-8")
    browser.open(folder.page)
    held = browser.run("return Object.keys(data.genotypes[0]).map(Number)")
    rows = browser.run("return data.rows.map(row => row[0])")
    assert 0 < len(held) < 60
    assert set(held) == set(rows[: len(held)])
    browser.run(f"showGenotype(0, {rows[-1]})")
    assert browser.run("return document.querySelector('#genotype .drawing').textContent").endswith(
        f"hpcnas show {rows[-1]} draws it."
    )


def test_short_texts_are_a_letter_an_edge():
    """Operations of the lowest level are counted as they come."""
    levels = [[[["conv5x5"]], [["none"]]], [[["motif2"], ["none", "motif1"]]]]
    names = {"none": 0, "identity": 1}
    assert short_text(json.dumps({"levels": levels}), names) == "2 0/201"
    assert names == {"none": 0, "identity": 1, "conv5x5": 2}
