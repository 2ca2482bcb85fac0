"""Mutation: equation (3), its shares and its limits. Random numbers have fixed seeds; tolerances are five standard errors."""

from collections import Counter
from math import sqrt
from random import Random

import pytest

from hpcnas.errors import GenotypeError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.evolution.mutation import Draw, draw_mutation, mutate
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import is_valid
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.space import FLAT, HIERARCHICAL

DRAWS = 60_000
NODES = {"hierarchical": ((4,) * 6, (5,)), "flat": ((11,),)}
# Conditioning on validity shifts these shares by less than a tenth of a tolerance: see test_a_child_is_valid.
TOLERANCE = 5


def near(share: float, expected: float, n: int) -> bool:
    return abs(share - expected) <= TOLERANCE * sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("space", NODES)
def test_every_edge_is_hit_as_often_as_the_order_of_drawing_says(space):
    """Level, motif, successor, predecessor, each uniform: P = 1/(L-1) x 1/M_l x 1/(|G|-1) x 1/(i-1)."""
    nodes, rng = NODES[space], Random(1)
    hits = Counter(draw_mutation(nodes, rng)[:4] for _ in range(DRAWS))
    expected = {
        (level, m, i, j): 1 / len(nodes) / len(motifs) / (n - 1) / (i - 1)
        for level, motifs in enumerate(nodes, start=2)
        for m, n in enumerate(motifs, start=1)
        for i in range(2, n + 1)
        for j in range(1, i)
    }
    assert sum(expected.values()) == pytest.approx(1)
    assert set(hits) <= set(expected)
    for edge, share in expected.items():
        assert near(hits[edge] / DRAWS, share, DRAWS), edge


@pytest.mark.parametrize("space", NODES)
def test_the_new_operation_is_uniform_over_the_pool_and_none(space):
    """Six primitives or six motifs, and none: a seventh each, at every level."""
    rng = Random(2)
    operations = Counter(draw.operation for draw in (draw_mutation(NODES[space], rng) for _ in range(DRAWS)))
    assert set(operations) == set(range(7))
    assert all(near(operations[k] / DRAWS, 1 / 7, DRAWS) for k in range(7))


def test_at_stationarity_a_mutation_adds_alters_removes_and_does_nothing_in_the_known_shares():
    """6/49 add, 30/49 alter, 6/49 remove an edge, 1/7 change nothing."""
    rng, kinds, n = Random(3), Counter(), 20_000
    genotype = random_genotype(HIERARCHICAL, rng)
    for _ in range(n):
        mutation = mutate(genotype, rng)
        genotype = mutation.genotype
        if mutation.old == mutation.new:
            kinds["nothing"] += 1
        else:
            kinds["add" if mutation.old == 0 else "remove" if mutation.new == 0 else "alter"] += 1
    expected = {"add": 6 / 49, "alter": 30 / 49, "remove": 6 / 49, "nothing": 7 / 49}
    for kind, share in expected.items():
        # Neighbours of a chain are not independent: twice the tolerance of independent draws.
        assert abs(kinds[kind] / n - share) < 2 * TOLERANCE * sqrt(share * (1 - share) / n), kind


def test_a_child_differs_from_its_parent_on_the_edge_that_the_mutation_names():
    """All other operations are the parent's."""
    rng = Random(4)
    for _ in range(500):
        parent = random_genotype(HIERARCHICAL, rng, 100)
        mutation = mutate(parent, rng)
        motif = parent.levels[mutation.level - 2][mutation.motif - 1]
        assert motif.operation(mutation.successor, mutation.predecessor) == mutation.old
        changed = motif.with_operation(mutation.successor, mutation.predecessor, mutation.new)
        assert parent.with_motif(mutation.level, mutation.motif, changed) == mutation.genotype


def test_a_child_is_valid():
    """A chain with a single edge to the sink breaks in many draws; none of its children is broken."""
    rng, chain = Random(5), identity_chain(HIERARCHICAL)
    assert all(is_valid(mutate(chain, rng).genotype) for _ in range(3000))


def test_the_same_parent_is_mutated_again_until_the_child_is_admitted():
    """The condition holds for the child, and the draws before it left no trace in it."""
    rng = Random(6)
    for _ in range(200):
        mutation = mutate(PUBLISHED, rng, admits=lambda genotype: genotype.cell != PUBLISHED.cell)
        assert mutation.level == 3
        assert mutation.genotype.levels[0] == PUBLISHED.levels[0]


def test_a_condition_that_nothing_meets_ends_in_an_error():
    """Not in an endless loop."""
    with pytest.raises(GenotypeError, match="--max-parameters"):
        mutate(PUBLISHED, Random(7), admits=lambda genotype: False)


def test_the_same_seed_gives_the_same_child():
    """All randomness comes from the argument."""
    assert mutate(PUBLISHED, Random(8)) == mutate(PUBLISHED, Random(8))


def test_motifs_of_different_sizes_are_mutated_within_their_own_nodes():
    """A genotype file may hold them, though no search space does."""
    genotype = Genotype(((Motif(((1,),)), Motif(((1,), (0, 1), (1, 0, 1)))), (Motif(((2,),)),)))
    rng, seen = Random(9), set()
    for _ in range(500):
        mutation = mutate(genotype, rng)
        seen.add((mutation.level, mutation.motif, mutation.successor))
    assert seen == {(2, 1, 2), (2, 2, 2), (2, 2, 3), (2, 2, 4), (3, 1, 2)}


def test_a_mutation_is_described_in_words():
    """As the population stores it."""
    rng = Random(10)
    mutation = next(m for m in iter(lambda: mutate(PUBLISHED, rng), None) if m.level == 2)
    names = ("none", "identity", "conv1x1", "depthwise3x3", "separable3x3", "maxpool3x3", "avgpool3x3")
    edge = f"{mutation.predecessor}-{mutation.successor}"
    assert mutation.describe() == f"level 2 motif {mutation.motif}: {edge} {names[mutation.old]} -> {names[mutation.new]}"
    cell = next(m for m in iter(lambda: mutate(PUBLISHED, rng), None) if m.level == 3 and m.new)
    assert cell.describe().endswith(f"-> motif{cell.new}")


def test_a_draw_is_named():
    """Level first, operation last."""
    assert Draw(2, 3, 4, 1, 5)._asdict() == {"level": 2, "motif": 3, "successor": 4, "predecessor": 1, "operation": 5}


def test_flat_genotypes_have_one_level_to_draw_from():
    """Every mutation changes the cell."""
    rng = Random(11)
    genotype = random_genotype(FLAT, rng)
    assert {mutate(genotype, rng).level for _ in range(100)} == {2}
