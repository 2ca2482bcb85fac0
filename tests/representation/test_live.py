"""Pruning: absent nodes, pruned nodes, dead motifs, validity; on literal graphs and against brute force."""

from random import Random

from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import LiveMotif, is_valid, live_levels, live_motif, pruned, used_motifs
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.space import FLAT, HIERARCHICAL, SearchSpace


def test_a_node_without_a_live_input_is_absent_with_its_outgoing_edges():
    """Node 2 has no input; its edge to the sink goes with it."""
    assert live_motif(Motif(((0,), (4, 0), (1, 5, 2)))) == LiveMotif((1, 3, 4), ((1, 3, 4), (1, 4, 1), (3, 4, 2)))


def test_a_node_that_cannot_reach_the_sink_is_pruned():
    """Node 2 leads nowhere."""
    assert live_motif(Motif(((4,), (1, 0)))) == LiveMotif((1, 3), ((1, 3, 1),))


def test_a_motif_whose_sink_is_not_reached_is_dead():
    """And counts as none where it is used."""
    dead = Motif(((4,), (0, 0)))
    assert live_motif(dead) is None
    genotype = Genotype(((dead, Motif(((1,),))), (Motif(((1,), (2, 2))),)))
    assert live_levels(genotype)[1][0] == LiveMotif((1, 3), ((1, 3, 2),))
    assert is_valid(genotype)
    assert not is_valid(genotype.with_motif(3, 1, Motif(((2,), (1, 1)))))


def test_inputs_come_in_the_order_of_concatenation():
    """Ascending predecessors."""
    live = live_motif(PUBLISHED.levels[0][2])
    assert live is not None
    assert live.inputs(4) == ((1, 4), (2, 1), (3, 6))


def _is_reached(genotype: Genotype, level: int, m: int) -> bool:
    """By following edges back from the sink, however slow that is."""

    def reaches(i: int) -> bool:
        motif = genotype.levels[level - 2][m - 1]
        return i == 1 or any(
            reaches(j)
            for j in range(1, i)
            if motif.operation(i, j) and (level == 2 or _is_reached(genotype, level - 1, motif.operation(i, j)))
        )

    return reaches(genotype.levels[level - 2][m - 1].nodes)


def test_validity_is_that_of_following_edges_back(uniform):
    """Half of these sparse genotypes are invalid; deep ones have motifs of motifs."""
    rng, invalid = Random(60), 0
    for space in (SearchSpace("flat", (1,), (4,)), SearchSpace("hierarchical", (2, 2, 1), (3, 3, 3))) * 400:
        genotype = uniform(space, rng)
        for _ in range(3):
            level = rng.randrange(2, len(genotype.levels) + 2)
            m = rng.randrange(1, len(genotype.levels[level - 2]) + 1)
            motif = genotype.levels[level - 2][m - 1]
            i = rng.randrange(2, motif.nodes + 1)
            genotype = genotype.with_motif(level, m, motif.with_operation(i, rng.randrange(1, i), 0))
        expected = _is_reached(genotype, len(genotype.levels) + 1, 1)
        assert is_valid(genotype) == expected == (live_levels(genotype)[-1][0] is not None)
        invalid += not expected
    assert 80 < invalid < 700


def test_used_motifs_are_those_on_live_edges():
    """Motif 2 is only on a dead edge; of four levels, a motif of an unused motif is unused."""
    assert used_motifs(live_levels(PUBLISHED)) == (frozenset({1, 3, 4, 5}), frozenset({1}))
    one = Motif(((1,),))
    genotype = Genotype(((one, one), (one, Motif(((2,),))), (Motif(((2,), (1, 0))),)))
    assert used_motifs(live_levels(genotype)) == (frozenset({1}), frozenset({1}), frozenset({1}))


def test_a_pruned_genotype_has_the_same_live_parts_and_nothing_else(uniform):
    """Pruning twice changes nothing more."""
    rng = Random(61)
    for space in (HIERARCHICAL, FLAT) * 50:
        genotype = uniform(space, rng)
        small = pruned(genotype)
        used = used_motifs(live_levels(genotype))
        for level, motifs in enumerate(live_levels(genotype)):
            for m, motif in enumerate(motifs, start=1):
                kept = motif.edges if motif and m in used[level] else ()
                assert tuple(small.levels[level][m - 1].edges()) == kept
        assert pruned(small) == small


def test_the_chain_is_all_alive():
    """Every node has one input, its predecessor; above level 2 through motif 1."""
    chain = identity_chain(HIERARCHICAL)
    assert chain.cell.rows == ((1,), (0, 1), (0, 0, 1), (0, 0, 0, 1))
    assert len(chain.levels[0]) == 6
    assert set(chain.levels[0]) == {Motif(((1,), (0, 1), (0, 0, 1)))}
    assert pruned(identity_chain(FLAT)) == identity_chain(FLAT)
