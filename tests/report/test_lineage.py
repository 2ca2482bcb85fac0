"""The chain of mutations from the first ancestor."""

import io
import json
import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib.image import imread

from hpcnas.records import Individual, State
from hpcnas.report.lineage import lineage, lineage_dot, lineage_image, lineage_json, lineage_text


def individual(individual_id: int, parent: int | None, mutation: str, digest: str, *accuracies: float) -> Individual:
    state = State.EVALUATED if accuracies else State.LEASED
    return Individual(
        individual_id, digest, "{}", parent, mutation, individual_id, 1000, state, 1, "w", 0, 0, 0, "", 1, accuracies, 1.0
    )  # fmt: skip


FAMILY = {
    3: individual(3, None, "", "a", 0.7, 0.72),
    250: individual(250, 3, "level 2 motif 3: 1-4 none -> conv1x1", "b", 0.75, 0.75),
    300: individual(300, 250, "level 3 motif 1: 1-2 motif1 -> motif1", "b", 0.74, 0.745),
    999: individual(999, 300, "level 2 motif 1: 2-3 none -> identity", "c"),
}


def test_a_lineage_runs_from_the_first_ancestor_to_the_individual():
    """With gains over the parent; one that is still in training has none."""
    chain = lineage(999, FAMILY.__getitem__)
    assert [ancestor.id for ancestor in chain] == [3, 250, 300, 999]
    assert [ancestor.fitness for ancestor in chain] == [pytest.approx(0.71), 0.75, pytest.approx(0.7425), None]
    assert [ancestor.gain for ancestor in chain] == [None, pytest.approx(0.04), pytest.approx(-0.0075), None]
    assert [ancestor.is_same_network for ancestor in chain] == [False, False, True, False]
    assert [ancestor.id for ancestor in lineage(3, FAMILY.__getitem__)] == [3]
    with pytest.raises(KeyError):
        lineage(4, FAMILY.__getitem__)


def test_the_text_has_a_line_for_each():
    """Aligned, dashes where nothing is known."""
    assert lineage_text(lineage(999, FAMILY.__getitem__)) == (
        " id   fitness      gain  mutation\n"
        "  3   71.00 %         -  random genotype\n"
        "250   75.00 %   +4.00 %  level 2 motif 3: 1-4 none -> conv1x1\n"
        "300   74.25 %   -0.75 %  level 3 motif 1: 1-2 motif1 -> motif1 (same network)\n"
        "999         -         -  level 2 motif 1: 2-3 none -> identity\n"
    )


def test_other_formats_hold_the_same():
    """JSON for programs, DOT for Graphviz, images for people."""
    chain = lineage(999, FAMILY.__getitem__)
    rows = json.loads(lineage_json(chain))
    assert rows[1] == {
        "id": 250,
        "step": 250,
        "mutation": "level 2 motif 3: 1-4 none -> conv1x1",
        "fitness": 0.75,
        "gain": pytest.approx(0.04),
        "is_same_network": False,
    }
    dot = lineage_dot(chain)
    assert 'i3 -> i250 [label="level 2 motif 3: 1-4 none -> conv1x1"];' in dot
    assert dot.count("->") - dot.count("none ->") - dot.count("motif1 ->") == 3
    svg = ElementTree.fromstring(lineage_image(chain, "svg"))
    words = " ".join(svg.itertext())
    assert "level 2 motif 3: 1-4 none -> conv1x1" in words
    assert "fitness (%)" in words
    assert imread(io.BytesIO(lineage_image(chain, "png"))).shape[1] == 1350
    assert lineage_image(chain[:1], "svg")
