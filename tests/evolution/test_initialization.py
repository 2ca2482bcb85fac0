"""Random genotypes: uniform after 1000 mutations, not after 100, and as often dead as computed."""

from collections import Counter
from itertools import product
from math import comb, sqrt
from random import Random

import pytest

from hpcnas.errors import UsageError
from hpcnas.evolution.initialization import _walk, random_genotype
from hpcnas.evolution.mutation import mutate
from hpcnas.networks.counts import count
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import is_valid, live_motif
from hpcnas.representation.presets import identity_chain
from hpcnas.representation.space import FLAT, FLAT_CONSTRAINED, HIERARCHICAL, SearchSpace


def chi_square_of_edges(space: SearchSpace, mutations: int, genotypes: int) -> tuple[float, int]:
    """Sum over edges of the chi-square of operations against uniform, and its degrees of freedom."""
    rng = Random(12)
    counts: dict[tuple[int, int, int, int], Counter[int]] = {}
    for _ in range(genotypes):
        genotype = random_genotype(space, rng, mutations)
        for level, motifs in enumerate(genotype.levels):
            for m, motif in enumerate(motifs):
                for i, row in enumerate(motif.rows):
                    for j, k in enumerate(row):
                        counts.setdefault((level, m, i, j), Counter())[k] += 1
    expected = genotypes / 7
    return sum((c[k] - expected) ** 2 / expected for c in counts.values() for k in range(7)), 6 * len(counts)


@pytest.mark.parametrize("space", [HIERARCHICAL, FLAT], ids=["hierarchical", "flat"])
def test_edges_are_uniform_after_1000_mutations_and_not_after_100(space):
    """Chi-square over all edges: within five standard deviations of its degrees of freedom, and far outside."""
    statistic, freedom = chi_square_of_edges(space, 1000, 1500)
    assert abs(statistic - freedom) < 5 * sqrt(2 * freedom)
    statistic, freedom = chi_square_of_edges(space, 100, 1500)
    assert statistic - freedom > 50 * sqrt(2 * freedom)


@pytest.mark.parametrize("space", [HIERARCHICAL, FLAT], ids=["hierarchical", "flat"])
def test_one_mutation_of_the_walk_is_one_mutation(space):
    """It changes each edge as often as `mutate` would: P(hit) x 6/7, within five standard errors."""
    rng, chain, n = Random(19), identity_chain(space), 8000
    changes: Counter[tuple[int, int, int, int]] = Counter()
    for _ in range(n):
        walked = _walk(chain, 1, rng)
        for level, (before, after) in enumerate(zip(chain.levels, walked.levels, strict=True)):
            if before != after:
                changes.update(_changed_edges(level, before, after))
    for level, motifs in enumerate(chain.levels):
        for m, motif in enumerate(motifs):
            for i, row in enumerate(motif.rows):
                share = 6 / 7 / len(chain.levels) / len(motifs) / len(motif.rows) / len(row)
                for j in range(len(row)):
                    assert abs(changes[level, m, i, j] / n - share) < 5 * sqrt(share / n), (level, m, i, j)


def _changed_edges(level: int, before: tuple[Motif, ...], after: tuple[Motif, ...]) -> list[tuple[int, int, int, int]]:
    return [
        (level, m, i, j)
        for m, (old, new) in enumerate(zip(before, after, strict=True))
        for i, (row, new_row) in enumerate(zip(old.rows, new.rows, strict=True))
        for j, (k, new_k) in enumerate(zip(row, new_row, strict=True))
        if k != new_k
    ]


def test_edges_are_independent_after_1000_mutations():
    """Pairs of neighbouring edges of the cell: all 49 combinations as often as each other."""
    rng, pairs, n = Random(13), Counter(), 3000
    for _ in range(n):
        row = random_genotype(HIERARCHICAL, rng).cell.rows[-1]
        pairs[row[0], row[1]] += 1
    statistic = sum((pairs[pair] - n / 49) ** 2 / (n / 49) for pair in product(range(7), repeat=2))
    assert abs(statistic - 48) < 5 * sqrt(2 * 48)


def test_without_mutations_the_genotype_is_the_chain():
    """Where the walk begins."""
    assert random_genotype(HIERARCHICAL, Random(14), 0) == identity_chain(HIERARCHICAL)


def _reach_probability(nodes: int, p: float) -> float:
    """P(the sink is reached) when every edge is there with probability p; by enumeration."""
    edges = [(i, j) for i in range(2, nodes + 1) for j in range(1, i)]
    total = 0.0
    for present in product((0, 1), repeat=len(edges)):
        rows = tuple(tuple(present[edges.index((i, j))] for j in range(1, i)) for i in range(2, nodes + 1))
        if live_motif(Motif(rows)) is not None:
            total += p ** sum(present) * (1 - p) ** (len(edges) - sum(present))
    return total


def test_uniform_genotypes_are_dead_as_often_as_the_specification_says():
    """A dead 4-node motif 0.822 %, one of six 4.83 %, an invalid cell 0.272 %: exact, over all graphs."""
    dead = 1 - _reach_probability(4, 6 / 7)
    assert dead == pytest.approx(0.00822, abs=5e-6)
    assert 1 - (1 - dead) ** 6 == pytest.approx(0.0483, abs=5e-5)
    invalid = sum(comb(6, d) * dead**d * (1 - dead) ** (6 - d) * (1 - _reach_probability(5, (6 - d) / 7)) for d in range(7))
    assert invalid == pytest.approx(0.00272, abs=5e-6)


def test_drawn_genotypes_are_invalid_at_that_rate():
    """20,000 uniform genotypes: 0.272 % within five standard errors."""
    rng, n = Random(15), 20_000
    invalid = 0
    for _ in range(n):
        motifs = tuple(Motif(tuple(tuple(rng.randrange(7) for _ in range(i)) for i in (1, 2, 3))) for _ in range(6))
        cell = Motif(tuple(tuple(rng.randrange(7) for _ in range(i)) for i in (1, 2, 3, 4)))
        invalid += not is_valid(Genotype((motifs, (cell,))))
    assert abs(invalid / n - 0.00272) < 5 * sqrt(0.00272 / n)


def test_the_parameter_constraint_admits_15_percent_of_flat_genotypes_and_92_percent_of_children():
    """The choice T = 0.55M; both within five standard errors and the rounding of the stated shares."""
    rng, n = Random(16), 1200
    limit = FLAT_CONSTRAINED.max_parameters
    genotypes = [random_genotype(FLAT, rng) for _ in range(n)]
    admitted = [genotype for genotype in genotypes if count(genotype).trainable <= limit]
    assert abs(len(admitted) / n - 0.15) < 5 * sqrt(0.15 * 0.85 / n) + 0.005
    children = [mutate(parent, rng).genotype for parent in admitted for _ in range(5)]
    share = sum(count(child).trainable <= limit for child in children) / len(children)
    assert abs(share - 0.92) < 5 * sqrt(0.92 * 0.08 / len(children)) + 0.005


def test_a_genotype_is_drawn_again_until_admitted():
    """Every genotype of the constrained space is within its limit."""
    rng = Random(17)

    def admits(genotype: Genotype) -> bool:
        return count(genotype).trainable <= 550_000

    assert all(admits(random_genotype(FLAT_CONSTRAINED, rng, admits=admits)) for _ in range(10))


def test_a_limit_that_nothing_meets_ends_in_an_error():
    """One sentence instead of an endless loop."""
    space = SearchSpace("flat-constrained", (1,), (3,), max_parameters=1)
    with pytest.raises(UsageError, match=r"raise --max-parameters \(now 1\)"):
        random_genotype(space, Random(18), 1, admits=lambda genotype: False)
