"""Makes random genotypes: identity chains, mutated many times (paper section 3.2)."""

from itertools import accumulate
from random import Random

from hpcnas.errors import UsageError
from hpcnas.evolution.mutation import MAX_DRAWS, Admits
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import is_valid
from hpcnas.representation.presets import identity_chain
from hpcnas.representation.space import SearchSpace


def random_genotype(
    space: SearchSpace, rng: Random, mutations: int = 1000, admits: Admits | None = None, draws: int = MAX_DRAWS
) -> Genotype:
    """A random genotype: the identity chain after `mutations` random mutations, drawn again until valid and admitted.

    The cell may be unreachable on the way; only the last genotype has to be valid. So the edges of
    what is drawn are independent and, after 1000 mutations of the paper's spaces, uniform to 1e-4.

    Raises:
        UsageError: none of `draws` genotypes was valid and admitted.
    Source: Liu et al. 2018, section 3.2.
    """
    chain = identity_chain(space)
    for _ in range(draws):
        genotype = _walk(chain, mutations, rng)
        if is_valid(genotype) and (admits is None or admits(genotype)):
            return genotype
    raise UsageError(
        f"none of {draws} random genotypes was valid and admitted; raise --max-parameters (now {space.max_parameters})"
    )


def _walk(start: Genotype, mutations: int, rng: Random) -> Genotype:
    # Draws the edges that draw_mutation would hit, each by its probability. Only the last operation drawn for an edge
    # counts, and it is uniform whatever came before. So 1000 mutations take 0.2 ms instead of 10.
    levels = [[[list(row) for row in motif.rows] for motif in motifs] for motifs in start.levels]
    edges = [
        (row, j, start.pool_size(level) + 1, 1 / (len(motifs) * len(rows) * len(row)))
        for level, motifs in enumerate(levels, start=2)
        for rows in motifs
        for row in rows
        for j in range(len(row))
    ]
    chances = list(accumulate(chance for _, _, _, chance in edges))
    # Sorted, so that one seed gives one genotype whatever the order of a set.
    for hit in sorted(set(rng.choices(range(len(edges)), cum_weights=chances, k=mutations))):
        row, j, pool, _ = edges[hit]
        row[j] = rng.randrange(pool)
    return Genotype(tuple(tuple(Motif(tuple(map(tuple, rows))) for rows in motifs) for motifs in levels), start.primitives)
