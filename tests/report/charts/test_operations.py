"""The shares of primitives over a search, against counts by hand."""

import csv
import io
import sqlite3
from collections import Counter
from random import Random

import pytest

from hpcnas.evolution.initialization import random_genotype
from hpcnas.report.charts.operations import MOST_READ, SPANS, operations_chart, primitive_counts
from hpcnas.report.charts.plot import draw
from hpcnas.report.drawing.styles import operation_styles
from hpcnas.report.read_run import read_run
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.representation.space import FLAT, HIERARCHICAL
from tests.report.populations import make_run

POOLS = Genotype(((Motif(((5,), (0, 6))),),))  # 1 -> maxpool3x3 -> 2 -> avgpool3x3 -> 3
LAST = Genotype(((Motif(((5,), (4, 0))),),))  # separable3x3 past a dead end


def run_of(path, genotypes, population):
    """Rows of a run whose individuals 1, 2, ... have these genotypes, the first `population` of them random."""
    folder = make_run(path, len(genotypes), population=population)
    with sqlite3.connect(folder.database) as database:
        texts = [(genotype_to_json(genotype), step) for step, genotype in enumerate(genotypes, start=1)]
        database.executemany("UPDATE individual SET genotype = ? WHERE id = ?", texts)
    return read_run(folder, "search")


def test_an_edge_of_a_motif_counts_at_each_of_its_places():
    """The published cell has motif1 once, motif3 four times, motif4 once, motif5 four times; 2 and 6 do not count."""
    inside = {m: Counter(PRIMITIVES[k - 1] for _, _, k in PUBLISHED.levels[0][m - 1].edges()) for m in (1, 3, 4, 5)}
    places = {m: sum(k == m for _, _, k in PUBLISHED.cell.edges()) for m in inside}
    wanted = sum((Counter({name: n * places[m] for name, n in inside[m].items()}) for m in inside), Counter())
    assert primitive_counts(PUBLISHED) == wanted
    assert wanted.total() == 6 * 10


def test_dead_edges_do_not_count():
    """And a genotype without a network has none that do."""
    assert primitive_counts(LAST) == {"separable3x3": 1}
    assert primitive_counts(Genotype(((Motif(((0,),)),),))) == {}


@pytest.mark.parametrize("space", [HIERARCHICAL, FLAT], ids=["hierarchical", "flat"])
def test_shares_of_every_span_add_up(tmp_path, space):
    """To 100 %, and the spans to the whole search."""
    rng = Random(5)
    run = run_of(tmp_path / "run", [random_genotype(space, rng) for _ in range(90)], population=30)
    rows = list(csv.DictReader(io.StringIO(operations_chart([run]).csv())))
    spans = {(int(row["first_step"]), int(row["last_step"]), int(row["genotypes"])) for row in rows}
    assert sum(genotypes for _, _, genotypes in spans) == 90
    for first, _, _ in spans:
        shares = [float(row["share_percent"]) for row in rows if int(row["first_step"]) == first]
        assert len(shares) == len(PRIMITIVES)
        assert sum(shares) == pytest.approx(100)


def test_random_and_evolved_genotypes_are_not_mixed(tmp_path):
    """All pools until step 25, all separable convolutions after it: the step is exactly there."""
    run = run_of(tmp_path / "run", [POOLS] * 25 + [LAST] * 40, population=25)
    chart = operations_chart([run])
    lines = {series.label: series for series in chart.panels[0].series}
    assert list(lines) == list(PRIMITIVES)
    separable = dict(zip(lines["separable3x3"].x, lines["separable3x3"].y, strict=True))
    assert {share for step, share in separable.items() if step <= 25} == {0}
    assert {share for step, share in separable.items() if step > 25} == {100}
    assert 26 in separable, "the first evolved genotype begins a span"
    assert max(separable) == 65, "the last span lasts until the end"
    assert lines["maxpool3x3"].y[0] == pytest.approx(50)
    assert "25 random, then 40 evolved" in chart.caption


def test_a_large_search_has_a_bounded_number_of_spans_and_of_genotypes_to_read(tmp_path, monkeypatch):
    """So that a page of a large run stays quick."""
    from hpcnas.report.charts import operations

    read = []
    monkeypatch.setattr(operations, "_shares", lambda text: read.append(text) or {"identity": 1.0})
    run = read_run(make_run(tmp_path / "run", 7000), "search")
    chart = operations_chart([run])
    assert SPANS - 2 <= len(chart.panels[0].series[0].x) - 1 <= SPANS + 2
    assert SPANS * MOST_READ / 2 <= len(read) <= (SPANS + 2) * MOST_READ


def test_the_lines_are_those_of_the_drawings(tmp_path):
    """Colour and dashes of each operation, in the panels and in the legend."""
    figure = draw(operations_chart([run_of(tmp_path / "run", [PUBLISHED] * 12, population=12)]))
    colours = [style.colour for style in operation_styles(PRIMITIVES).values()]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(PRIMITIVES)
    for lines in (figure.axes[0].lines, figure.legends[0].legend_handles):
        assert [line.get_color() for line in lines] == colours
        looks = {(str(line._unscaled_dash_pattern[1]), line.get_linewidth()) for line in lines}
        assert len(looks) == len(PRIMITIVES), "told apart without colour"


def test_without_genotypes_there_is_no_figure(make_rows):
    """The caption says why."""
    chart = operations_chart([make_rows()])
    assert chart.is_empty
    assert chart.caption == "No evaluated genotype can be read."


def test_runs_have_a_panel_each(tmp_path):
    """With all operations in each, so that one legend is enough."""
    runs = [run_of(tmp_path / name, [genotype] * 12, population=12) for name, genotype in (("a", POOLS), ("b", LAST))]
    one, other = operations_chart(runs).panels
    assert [series.label for series in one.series] == [series.label for series in other.series] == list(PRIMITIVES)
