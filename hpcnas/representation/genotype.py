"""Motifs and genotypes: what an architecture is (paper sections 2.1 and 2.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from hpcnas.errors import GenotypeError
from hpcnas.representation.primitives import NONE, PRIMITIVES, check_names


@dataclass(frozen=True, slots=True)
class Motif:
    """A small graph G over the operations of the level below.

    Attributes:
        rows: rows[i - 2][j - 1] is G[i][j] for node i = 2..n and predecessor j = 1..i-1. It is the operation on the
            edge *from* j *to* i: 0 for none, k >= 1 for the k-th of the level below. This is the reverse of
            nasbench's matrix[src, dst].
    Raises:
        GenotypeError: no rows, a row of another length than its number of predecessors, or
            a negative operation.
    Source: Liu et al. 2018, equation (1).
    """

    rows: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise GenotypeError("a motif has no rows; it needs at least 2 nodes, source and sink")
        for index, row in enumerate(self.rows):
            if len(row) != index + 1:
                raise GenotypeError(
                    f"row {index + 1} of a motif (node {index + 2}) has {len(row)} operations; it needs {index + 1}, "
                    f"one for each of the nodes 1..{index + 1} before it"
                )
            if min(row) < 0:
                raise GenotypeError(f"operation {min(row)} is negative; 0 is none, k >= 1 an operation of the level below")

    @property
    def nodes(self) -> int:
        """|G|, source and sink included."""
        return len(self.rows) + 1

    def operation(self, i: int, j: int) -> int:
        """G[i][j]: the operation from node j to node i, 1 <= j < i <= nodes."""
        return self.rows[i - 2][j - 1]

    def edges(self) -> Iterator[tuple[int, int, int]]:
        """(j, i, k) of every edge that is not none, by ascending i, then j."""
        for i, row in enumerate(self.rows, start=2):
            for j, k in enumerate(row, start=1):
                if k:
                    yield j, i, k

    def with_operation(self, i: int, j: int, k: int) -> "Motif":
        """The motif that has [G]_ij = k and is otherwise this one."""
        row = self.rows[i - 2]
        changed = (*row[: j - 1], k, *row[j:])
        return Motif((*self.rows[: i - 2], changed, *self.rows[i - 1 :]))


@dataclass(frozen=True, slots=True)
class Genotype:
    """The motifs of every level above the primitives; the last level is the cell alone.

    Attributes:
        levels: levels[l - 2] holds the motifs of level l = 2..L. Operations count from 1: in level 2 the primitives,
            in level l > 2 the motifs of level l - 1.
        primitives: the names of the operations of level 1, in order; the paper's unless a user has his own.
    Raises:
        GenotypeError: a name that is none or occurs twice, no level, more than one motif at the last, or an operation that the
            level below has not.
    Source: Liu et al. 2018, equation (2).
    """

    levels: tuple[tuple[Motif, ...], ...]
    primitives: tuple[str, ...] = PRIMITIVES

    def __post_init__(self) -> None:
        if self.primitives is not PRIMITIVES:
            check_names(self.primitives)
        if not self.levels or len(self.levels[-1]) != 1:
            raise GenotypeError("a genotype needs at least one level, and exactly one motif, the cell, at the last")
        for level, motifs in enumerate(self.levels, start=2):
            for motif in motifs:
                self._check_operations(level, motif)

    @property
    def cell(self) -> Motif:
        """The single motif of the last level."""
        return self.levels[-1][0]

    @property
    def is_flat(self) -> bool:
        """Whether the cell is built of primitives directly (L = 2)."""
        return len(self.levels) == 1

    @property
    def space(self) -> str:
        """`flat` or `hierarchical`, as genotype files name it."""
        return "flat" if self.is_flat else "hierarchical"

    def pool_size(self, level: int) -> int:
        """The number of operations, none excluded, that a motif of `level` (2..L) chooses from."""
        return len(self.primitives) if level == 2 else len(self.levels[level - 3])

    def operation_name(self, level: int, k: int) -> str:
        """The name of operation k in a motif of `level`: none, a primitive or motif1, motif2, ..."""
        if k == 0:
            return NONE
        return self.primitives[k - 1] if level == 2 else f"motif{k}"

    def over(self, primitives: tuple[str, ...]) -> "Genotype":
        """The genotype that has the same operations by name, out of another pool of primitives.

        Raises:
            GenotypeError: the pool lacks one that the genotype has.
        """
        used = {k for motif in self.levels[0] for row in motif.rows for k in row}
        missing = [self.operation_name(2, k) for k in sorted(used) if k and self.primitives[k - 1] not in primitives]
        if missing:
            raise GenotypeError(f"the genotype has {missing[0]}, which is none of the primitives {', '.join(primitives)}")
        place = [0, *(primitives.index(name) + 1 if name in primitives else 0 for name in self.primitives)]
        lowest = tuple(Motif(tuple(tuple(place[k] for k in row) for row in motif.rows)) for motif in self.levels[0])
        return Genotype((lowest, *self.levels[1:]), primitives)

    def with_motif(self, level: int, m: int, motif: Motif) -> "Genotype":
        """The genotype whose motif m (from 1) of `level` (2..L) is `motif`."""
        self._check_operations(level, motif)
        motifs = self.levels[level - 2]
        changed = (*motifs[: m - 1], motif, *motifs[m:])
        genotype = object.__new__(Genotype)  # the other motifs were checked before: a third of the time of a mutation
        object.__setattr__(genotype, "primitives", self.primitives)
        object.__setattr__(genotype, "levels", (*self.levels[: level - 2], changed, *self.levels[level - 1 :]))
        return genotype

    def _check_operations(self, level: int, motif: Motif) -> None:
        highest, pool = max(map(max, motif.rows)), self.pool_size(level)
        if highest > pool:
            raise GenotypeError(f"operation {highest} at level {level} does not exist; the level below has {pool}")
