"""Genotypes drawn edge by edge, for tests of what a genotype is."""

from collections.abc import Callable
from random import Random

import pytest

from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import is_valid
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.representation.space import SearchSpace

Draw = Callable[..., Genotype]


def draw_uniform(space: SearchSpace, rng: Random, primitives: tuple[int, ...] = tuple(range(len(PRIMITIVES) + 1))) -> Genotype:
    """A valid genotype with independent edges; level 2 takes its operations from `primitives`."""
    while True:
        levels, pool = [], primitives
        for motifs, nodes in zip(space.motifs, space.nodes, strict=True):
            rows = [tuple(tuple(rng.choice(pool) for _ in range(i)) for i in range(1, nodes)) for _ in range(motifs)]
            levels.append(tuple(map(Motif, rows)))
            pool = tuple(range(motifs + 1))
        genotype = Genotype(tuple(levels))
        if is_valid(genotype):
            return genotype


@pytest.fixture
def uniform() -> Draw:
    return draw_uniform
