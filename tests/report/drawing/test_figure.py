"""Pictures of genotypes: each operation distinct in every way, no label or arrowhead covered, nothing off the page."""

import io
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from random import Random

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon

from hpcnas.evolution.initialization import random_genotype
from hpcnas.report.drawing import figure as drawing_figure
from hpcnas.report.drawing.content import draw
from hpcnas.report.drawing.figure import drawing_image, drawing_svg
from hpcnas.report.drawing.layout import PAGE
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.representation.space import FLAT, HIERARCHICAL, SearchSpace

FULL = Genotype(((Motif(tuple((3,) * i for i in range(1, 11))),),))  # all 55 edges
DEEP = SearchSpace("hierarchical", (3, 2, 1), (3, 3, 4))


def genotypes():
    rng = Random(82)
    spaces = (HIERARCHICAL, HIERARCHICAL, FLAT, FLAT, DEEP)
    return [PUBLISHED, FULL, *(random_genotype(space, rng) for space in spaces)]


@pytest.fixture(params=[(index, live) for index in range(len(genotypes())) for live in (False, True)], ids=str)
def drawn(request):
    """(drawing, figure, renderer)"""
    index, live = request.param
    drawing = draw(genotypes()[index], title="genotype", live=live, all_motifs=not live)
    figure = drawing_figure._figure(drawing)
    canvas = FigureCanvasAgg(figure)
    return drawing, figure, canvas.get_renderer()


def patches(figure, kind):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, kind)]


def corners(figure, patch):
    """The vertices of a patch in data coordinates, which are inches."""
    return figure.axes[0].transData.inverted().transform(patch.get_transform().transform_path(patch.get_path()).vertices)


def test_no_label_covers_another_or_leaves_the_page(drawn):
    """Boxes of all texts as rendered; every arc and box within the figure."""
    _, figure, renderer = drawn
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    for (name, one), (other_name, other) in combinations(boxes, 2):
        assert not one.overlaps(other), (name, other_name)
    for name, box in [*boxes, *((patch, patch.get_window_extent(renderer)) for patch in figure.axes[0].patches)]:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, name
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, name


def test_arrowheads_are_free(drawn):
    """One for each edge; every tip is outside of every node's box, no two heads overlap, and nothing is drawn over them."""
    drawing, figure, renderer = drawn
    heads = patches(figure, Polygon)
    assert len(heads) == sum(len(panel.edges) for panel in drawing.panels)
    nodes = [patch.get_window_extent(renderer) for patch in patches(figure, FancyBboxPatch)]
    for head in heads:
        for x, y in figure.axes[0].transData.transform(corners(figure, head)):
            assert not any(node.contains(x, y) for node in nodes)
        assert head.get_zorder() > max(patch.get_zorder() for patch in patches(figure, (PathPatch, FancyBboxPatch)))
    for one, other in combinations(heads, 2):
        (x, y), (a, b) = corners(figure, one)[:3].mean(axis=0), corners(figure, other)[:3].mean(axis=0)
        assert (x - a) ** 2 + (y - b) ** 2 > 0.07**2, "heads of 0.084 inches may touch, not cover each other"


def test_every_edge_has_its_operations_name_or_its_code_of_the_legend(drawn):
    """So that it can be named without colours."""
    drawing, figure, _ = drawn
    texts = [text.get_text() for text in figure.axes[0].texts]
    codes = {name: entry.split(":")[0] for name in drawing.operations for entry in texts if entry.endswith(f": {name}")}
    wanted = [edge.label if panel.has_motifs else codes[edge.label] for panel in drawing.panels for edge in panel.edges]
    for code in set(wanted):
        assert texts.count(code) - (code in {panel.title for panel in drawing.panels}) == wanted.count(code)


def test_every_operation_is_in_the_legend_once(drawn):
    """And no other; at the bottom, below all panels."""
    drawing, figure, _ = drawn
    legend = [text.get_text() for text in figure.axes[0].texts if text.get_position()[1] < 0]
    for name in PRIMITIVES:
        assert sum(entry.endswith(f": {name}") for entry in legend) == (name in drawing.operations)
    assert ("motif of that name" in legend) == any(panel.has_motifs for panel in drawing.panels)
    assert ("dead" in legend) == any(not edge.is_live for panel in drawing.panels for edge in panel.edges)


def test_a_figure_is_no_wider_than_a_phone_can_show():
    """At 390 pixels letters of 9 points are 8 pixels high; flat cells of 11 nodes are drawn from top to bottom."""
    for genotype in genotypes():
        for live in (False, True):
            assert drawing_figure._figure(draw(genotype, live=live)).get_figwidth() == PAGE


def test_an_svg_is_xml_with_its_words_as_text():
    """So that it can be searched and read aloud."""
    svg = drawing_svg(draw(PUBLISHED, all_motifs=True))
    texts = {
        "".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    }
    assert {"cell", "motif2 (not used)", "motif5", "sep: separable3x3", "id: identity", "sep"} <= texts


@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_drawing_gives_the_same_file_every_time(form, start):
    """Without a date, so that it can be compared."""
    image = drawing_image(draw(PUBLISHED), form)
    assert image.startswith(start)
    assert drawing_image(draw(PUBLISHED), form) == image


def test_a_pdf_is_of_vectors_and_letters():
    """No image in it, and fonts that publishers take: TrueType, not Type 3."""
    pdf = drawing_image(draw(PUBLISHED), "pdf")
    assert b"/Subtype /Image" not in pdf
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf


def test_a_png_is_in_colour():
    """White paper, dark letters, and at least one strong colour."""
    image = imread(io.BytesIO(drawing_image(draw(PUBLISHED), "png")))[..., :3]
    assert image.shape[1] == 900
    assert image.min() < 0.2
    assert (image.max(axis=2) - image.min(axis=2)).max() > 0.6


def test_a_large_motif_gives_an_image_of_bounded_size():
    """64 nodes in a row, and an edge from each to the last."""
    rows = (*((0,) * (i - 1) + (4,) for i in range(1, 63)), (4,) * 63)
    figure = drawing_figure._figure(draw(Genotype(((Motif(rows),),))))
    assert drawing_figure._dpi(figure) * max(figure.get_size_inches()) <= 16_000
