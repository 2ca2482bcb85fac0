"""Drawings: what is on them, widths, as text and in DOT; test_figure.py is about the pictures."""

import re
import shutil
import subprocess
from random import Random

import pytest

from hpcnas.errors import GenotypeError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.networks.counts import count
from hpcnas.report.drawing.content import Edge, draw
from hpcnas.report.drawing.dot import drawing_dot
from hpcnas.report.drawing.figure import drawing_svg
from hpcnas.report.drawing.text import drawing_text
from hpcnas.report.drawing.widths import Width, motif_widths
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import live_levels
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.representation.space import FLAT, HIERARCHICAL, SearchSpace

DEAD_END = Genotype(((Motif(((0,), (5, 0), (4, 1, 0))),),))  # node 2 has no input, node 3 leads nowhere
DEEP = SearchSpace("hierarchical", (3, 2, 1), (3, 3, 4))


def test_a_whole_drawing_shows_every_edge_and_marks_what_is_dead():
    """As stored; motifs 2 and 6 of the paper's cell are not used."""
    drawing = draw(PUBLISHED, all_motifs=True)
    assert [panel.title for panel in drawing.panels] == [
        "cell", "motif1", "motif2 (not used)", "motif3", "motif4", "motif5", "motif6 (not used)",
    ]  # fmt: skip
    assert [len(panel.edges) for panel in drawing.panels] == [10, *[6] * 6]
    assert {panel.name for panel in drawing.panels if not all(edge.is_live for edge in panel.edges)} == {"motif2", "motif6"}
    [cell] = draw(DEAD_END).panels
    assert cell.edges == (Edge(1, 3, "maxpool3x3", False), Edge(1, 4, "separable3x3", True), Edge(2, 4, "identity", False))
    assert [node.is_live for node in cell.nodes] == [True, False, False, True]


def test_unused_motifs_are_drawn_only_if_asked():
    """The drawing names those that it leaves out; the dead parts of the others stay."""
    drawing = draw(PUBLISHED)
    assert [panel.title for panel in drawing.panels] == ["cell", "motif1", "motif3", "motif4", "motif5"]
    assert drawing.notes[-1] == "Not used, not drawn: motif2, motif6."
    assert "motif2" not in " ".join(draw(PUBLISHED, all_motifs=True).notes)
    broken = PUBLISHED.with_motif(3, 1, Motif(((0,), (0, 0), (0, 0, 0), (0, 0, 0, 3))))
    assert [panel.name for panel in draw(broken).panels] == ["cell"]
    assert [edge.is_live for edge in draw(broken).panels[0].edges] == [False]


def test_a_live_drawing_shows_the_network_alone_with_its_widths():
    """Only used motifs, only live nodes."""
    drawing = draw(PUBLISHED, live=True)
    assert [panel.name for panel in drawing.panels] == ["cell", "motif1", "motif3", "motif4", "motif5"]
    assert [node.width for node in drawing.panels[0].nodes] == ["C", "C", "2C", "3C", "4C"]
    assert [node.width for node in drawing.panels[3].nodes] == ["c", "c", "2C", "2c+2C"]
    [cell] = draw(DEAD_END, live=True).panels
    assert [(node.number, node.width) for node in cell.nodes] == [(1, "C"), (4, "C")]


def test_a_dead_motif_is_said_to_count_as_none():
    """Its sink is not reached."""
    genotype = PUBLISHED.with_motif(2, 2, Motif(((1,), (1, 1), (0, 0, 0))))
    assert draw(genotype, all_motifs=True).panels[2].title == "motif2 (sink not reached: counts as none)"


def test_a_genotype_without_a_network_is_drawn_whole_only():
    """There is nothing live to draw."""
    broken = Genotype(((Motif(((0,),)),),))
    assert not draw(broken).panels[0].nodes[0].is_live
    assert drawing_svg(draw(broken))
    with pytest.raises(GenotypeError, match="leave --live out"):
        draw(broken, live=True)


@pytest.mark.parametrize("space", [HIERARCHICAL, FLAT, DEEP], ids=["hierarchical", "flat", "four levels"])
def test_widths_are_those_of_the_counted_network(space):
    """The cell's output, in multiples of C, against networks.counts."""
    rng = Random(80)
    for _ in range(40):
        genotype = random_genotype(space, rng)
        levels = live_levels(genotype)
        widths = motif_widths(levels, len(levels) + 1, 1)
        output = widths[max(widths)]
        assert output.motif == 0
        assert count(genotype, "cifar", channels=8, cells=1).output_widths[0] == 8 * output.cell


def test_widths_read_like_sums():
    """One is not written."""
    assert [str(width) for width in (Width(1), Width(0, 1), Width(2, 3), Width(1, 1))] == ["c", "C", "2c+3C", "c+C"]


def test_the_text_of_the_published_cell():
    """Equation (1), node by node."""
    text = drawing_text(draw(PUBLISHED, title="published", live=True))
    assert text.startswith(
        """published

cell
  x1 (C)  = input
  x2 (C)  = motif5(x1)
  x3 (2C) = motif3(x1), motif3(x2)
  x4 (3C) = motif3(x1), motif1(x2), motif3(x3)
  x5 (4C) = motif4(x1), motif5(x2), motif5(x3), motif5(x4)

motif1
"""
    )
    assert "motif2" not in text


def test_the_text_of_a_wide_cell_keeps_to_the_columns_and_brackets_what_is_dead():
    """11 nodes, 80 columns."""
    text = drawing_text(draw(random_genotype(FLAT, Random(81))), columns=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "x3 = [maxpool3x3(x1)]" in drawing_text(draw(DEAD_END))
    assert "In brackets: dead or unused" in drawing_text(draw(DEAD_END))


def test_dot_names_every_node_and_edge_once():
    """One cluster a panel and one for the legend; dead edges dotted and grey."""
    text = drawing_dot(draw(PUBLISHED, title='a "name"', all_motifs=True))
    assert text.count("subgraph cluster_") == 7 + 1
    assert len(re.findall(r"n\d+_\d+ -> n\d+_\d+ ", text)) == 10 + 36
    assert len(re.findall(r"n\d+_\d+ -> .*style=dotted.*fontcolor", text)) == 12
    assert r"a \"name\"" in text
    assert text.count("{") == text.count("}") == 9


def test_dot_has_each_operation_once_in_its_legend_with_the_look_of_its_edges():
    """By colour, line and width."""
    text = drawing_dot(draw(PUBLISHED))
    legend = dict(re.findall(r'l(\d+) \[shape=plaintext, label="(.*)"\]', text))
    looks = {legend[number]: look for number, look in re.findall(r"k\d+ -> l(\d+) \[(.*)\];", text)}
    assert sorted(looks) == sorted(PRIMITIVES)
    assert len(set(looks.values())) == len(looks)
    edges = re.findall(r'n[1-9]_\d+ -> n\d_\d+ \[label="(\w+)", (.*)\];', text)
    assert len(edges) == 24
    assert all(looks[name] == look for name, look in edges)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dot") is None, reason="the dot program is not installed; nothing else needs it")
@pytest.mark.parametrize("genotype", [PUBLISHED, DEAD_END, random_genotype(FLAT, Random(83))], ids=["paper", "dead", "flat"])
def test_dot_can_be_read_by_graphviz(genotype):
    """Where it is there; every edge and every line of the legend arrives, and nothing is complained about."""
    drawing = draw(genotype, all_motifs=True)
    done = subprocess.run(["dot", "-Tsvg"], input=drawing_dot(drawing), text=True, capture_output=True, check=True)
    edges = sum(len(panel.edges) for panel in drawing.panels)
    assert done.stdout.count('class="edge"') == edges + len(drawing.operations)
    assert done.stderr == ""
