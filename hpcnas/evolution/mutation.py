"""The one operator of the search: another operation on one edge of one motif (paper section 3.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeAlias

from hpcnas.errors import GenotypeError
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import is_valid
from hpcnas.representation.primitives import PRIMITIVES

Admits: TypeAlias = Callable[[Genotype], bool]
MAX_DRAWS = 10_000


class Draw(NamedTuple):
    """One change of a genotype by equation (3): [G_motif^(level)]_(successor, predecessor) <- operation."""

    level: int
    motif: int
    successor: int
    predecessor: int
    operation: int


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mutation of a parent.

    Attributes:
        genotype: the child.
        level: 2..L. motif: 1..M_l.
        successor, predecessor: the edge from node predecessor to node successor.
        old, new: its operation before and after, 0 for none; equal in one of seven draws.
    """

    genotype: Genotype
    level: int
    motif: int
    successor: int
    predecessor: int
    old: int
    new: int

    def describe(self) -> str:
        """The change in words, as "level 2 motif 3: 1-4 none -> conv1x1"."""
        old, new = (self.genotype.operation_name(self.level, k) for k in (self.old, self.new))
        return f"level {self.level} motif {self.motif}: {self.predecessor}-{self.successor} {old} -> {new}"


def mutate(genotype: Genotype, rng: Random, admits: Admits | None = None) -> Mutation:
    """Change one operation of a genotype at random, and again until the child is valid and admitted.

    Args:
        admits: further condition on the child, such as a limit on its parameters; the same parent
            is mutated again until it holds.
    Raises:
        GenotypeError: no child of MAX_DRAWS was valid and admitted.
    Source: Liu et al. 2018, section 3.1, equation (3).
    """
    # Motifs that the cell does not use are drawn too, as in the paper: a later mutation may use them.
    nodes = tuple([tuple([len(motif.rows) + 1 for motif in motifs]) for motifs in genotype.levels])
    for _ in range(MAX_DRAWS):
        level, m, i, j, new = draw_mutation(nodes, rng, len(genotype.primitives))
        motif = genotype.levels[level - 2][m - 1]
        child = genotype.with_motif(level, m, motif.with_operation(i, j, new))
        if is_valid(child) and (admits is None or admits(child)):
            return Mutation(child, level, m, i, j, motif.operation(i, j), new)
    raise GenotypeError(f"none of {MAX_DRAWS} mutations of a genotype was valid and admitted; raise --max-parameters")


def draw_mutation(nodes: tuple[tuple[int, ...], ...], rng: Random, primitives: int = len(PRIMITIVES)) -> Draw:
    """Draw level, motif, successor, predecessor and operation, each uniformly, in this order.

    Args:
        nodes: nodes[l - 2][m - 1] is the number of nodes of motif m of level l.
        primitives: how many there are.
    """
    # int(random() * n) instead of randrange(n): 4 times as fast, and n is far too small for its bias of n / 2^53.
    draw = rng.random
    index = int(draw() * len(nodes))
    m = int(draw() * len(nodes[index]))
    i = int(draw() * (nodes[index][m] - 1)) + 2
    j = int(draw() * (i - 1)) + 1
    pool = len(nodes[index - 1]) if index else primitives
    return Draw(index + 2, m + 1, i, j, int(draw() * (pool + 1)))
