"""Where the search begins: identity chains, mutated many times (paper section 3.2)."""

from random import Random

from hpcnas.errors import UsageError
from hpcnas.evolution.mutation import MAX_DRAWS, Admits, draw_mutation
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import is_valid
from hpcnas.representation.presets import identity_chain
from hpcnas.representation.space import SearchSpace


def random_genotype(space: SearchSpace, rng: Random, mutations: int = 1000, admits: Admits | None = None) -> Genotype:
    """A random genotype: the identity chain after `mutations` random mutations, drawn again until valid and admitted.

    The cell may be unreachable on the way; only the last genotype has to be valid. So the edges of
    what is drawn are independent and, after 1000 mutations of the paper's spaces, uniform to 1e-4.

    Raises:
        UsageError: none of MAX_DRAWS genotypes was valid and admitted.
    Source: Liu et al. 2018, section 3.2.
    """
    chain = identity_chain(space)
    for _ in range(MAX_DRAWS):
        genotype = _walk(chain, mutations, rng)
        if is_valid(genotype) and (admits is None or admits(genotype)):
            return genotype
    raise UsageError(
        f"none of {MAX_DRAWS} random genotypes was valid and admitted; raise --max-parameters (now {space.max_parameters})"
    )


def _walk(start: Genotype, mutations: int, rng: Random) -> Genotype:
    # On nested lists: 1000 frozen genotypes would take ten times as long.
    nodes = tuple(tuple(motif.nodes for motif in motifs) for motifs in start.levels)
    levels = [[[list(row) for row in motif.rows] for motif in motifs] for motifs in start.levels]
    for _ in range(mutations):
        level, m, i, j, k = draw_mutation(nodes, rng)
        levels[level - 2][m - 1][i - 2][j - 1] = k
    return Genotype(tuple(tuple(Motif(tuple(map(tuple, rows))) for rows in motifs) for motifs in levels))
