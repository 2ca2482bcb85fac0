"""Random genotypes for the property tests of the networks."""

from random import Random

from hypothesis import strategies as st

from hpcnas.evolution.initialization import random_genotype
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.space import HIERARCHICAL, SearchSpace

SMALL_FLAT = SearchSpace("flat", motifs=(1,), nodes=(6,))
DEEP = SearchSpace("hierarchical", motifs=(3, 2, 1), nodes=(3, 3, 3))


def genotypes(space: SearchSpace = HIERARCHICAL) -> st.SearchStrategy[Genotype]:
    """Valid genotypes, spread over the space as the search's initial ones are."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_genotype(space, Random(seed), mutations=300))
