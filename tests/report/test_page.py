"""What the page's file holds; test_page_in_chromium.py looks at it as its reader does."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hpcnas.errors import UsageError
from hpcnas.report import page
from hpcnas.report.page import write_page
from hpcnas.report.page_board import MOST_ROWS, ancestors, board
from hpcnas.report.read_run import read_runs
from tests.report.populations import HOSTILE, make_run

VOID = {"meta", "link", "br", "img", "input", "path", "rect", "circle"}


class Structure(HTMLParser):
    """Checks that tags nest, and collects what would load something."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.ids, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "srcset", "data", "action", "poster")]
        if tag == "link":
            self.loads.append(values["href"])
        if "id" in values:
            self.ids.append(values["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("page") / "a run & more", 300, population=50)
    return write_page(read_runs([folder]))


def test_the_page_is_well_formed_and_loads_nothing(html):
    structure = Structure()
    structure.feed(html)
    assert structure.open == []
    assert all(address.startswith("data:") for address in structure.loads)
    assert len(structure.ids) == len(set(structure.ids))
    assert not re.search(r"@import|url\((?!['\"]?data:)", html)
    assert "default-src 'none'" in html


def test_what_comes_from_a_run_is_escaped(html):
    """A failure's message with a script, and the folder's name with an ampersand."""
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(" in html
    assert "a run &amp; more" in html
    assert html.count("<script") == 2, "the data and the page's own"


def test_every_section_is_there_and_linked(html):
    for section in page.SECTIONS:
        assert f'<section id="{section}"' in html
        assert f'href="#{section}"' in html


def test_the_data_are_json_that_nothing_inside_can_end(html):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1]
    data = json.loads(text)
    assert len(data["genotypes"][0]) == 300
    assert len(data["rows"]) == 300
    assert "<" not in text
    assert set(data["panels"]) >= {"figure3-0", "figure3-1", "figure3-2", "figure4-0", "workers-0", "workers-1", "noise-0"}


def test_the_leaderboard_is_limited_and_says_so(make_rows):
    """The best are kept, whatever run they are of."""
    runs = [make_rows("a", steps=40), make_rows("b", steps=40, seed=1)]
    rows = board(runs)
    assert [row[2] for row in rows.rows] == sorted((row[2] for row in rows.rows), reverse=True)
    assert rows.note.startswith("80 evaluated genotypes")
    assert MOST_ROWS >= 7000, "a whole search of the paper's size is shown"


def test_lineage_starts_with_a_random_genotype(make_rows):
    run = make_rows(steps=300, population=50)
    chain = ancestors(run, run.best)
    assert chain[0].parent_id is None
    assert [row.parent_id for row in chain[1:]] == [row.id for row in chain[:-1]]
    assert chain[-1] == run.best


def test_a_run_without_evaluations_has_a_page_too(tmp_path):
    folder = make_run(tmp_path / "empty", 1)
    runs = read_runs([folder])
    text = write_page([replace(runs[0], evaluations=(), genotypes={}, attempts=(), workers=(), ended=None)])
    assert "No genotype is evaluated yet" in text


def test_synthetic_runs_are_marked_on_the_page(tmp_path):
    text = write_page(read_runs([make_run(tmp_path / "toy", 20, fitness="synthetic")]))
    assert '<span class="mark">synthetic fitness: nothing was trained</span>' in text


def test_without_jinja2_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError, match="pip install jinja2"):
        write_page([])


@pytest.mark.slow
def test_seven_thousand_genotypes_stay_below_five_megabytes(tmp_path):
    text = write_page(read_runs([make_run(tmp_path / "large", 7000)]))
    assert len(text.encode()) < 5_000_000
