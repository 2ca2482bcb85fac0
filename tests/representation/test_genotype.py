"""Motifs and genotypes check themselves; changing one gives a new value."""

import pytest

from hpcnas.errors import GenotypeError
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED

MOTIF = Motif(((1,), (0, 4)))


def test_an_edge_goes_from_j_to_i():
    """G[i][j] = k places o_k on the edge from node j to node i: the reverse of nasbench's matrix[src, dst]."""
    assert MOTIF.nodes == 3
    assert MOTIF.operation(2, 1) == 1
    assert (MOTIF.operation(3, 1), MOTIF.operation(3, 2)) == (0, 4)
    assert list(MOTIF.edges()) == [(1, 2, 1), (2, 3, 4)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((), "at least 2 nodes"),
        (((1, 2),), r"row 1 of a motif \(node 2\) has 2 operations; it needs 1"),
        (((1,), (1,)), "row 2 .* has 1 operations; it needs 2"),
        (((-1,),), "operation -1 is negative"),
    ],
)
def test_a_motif_of_the_wrong_shape_is_refused(rows, expected):
    """With the row that is wrong."""
    with pytest.raises(GenotypeError, match=expected):
        Motif(rows)


def test_a_genotype_needs_a_cell_and_existing_operations():
    """One motif at the last level; operations that the level below has."""
    for levels in ((), ((),), ((MOTIF, MOTIF),), ((MOTIF,), (MOTIF, MOTIF))):
        with pytest.raises(GenotypeError, match="exactly one motif, the cell"):
            Genotype(levels)
    with pytest.raises(GenotypeError, match="operation 7 at level 2 does not exist; the level below has 6"):
        Genotype(((Motif(((7,),)),),))
    with pytest.raises(GenotypeError, match="operation 2 at level 3 does not exist; the level below has 1"):
        Genotype(((MOTIF,), (Motif(((2,),)),)))


def test_changing_an_edge_gives_a_new_genotype_and_leaves_the_old():
    """Values are frozen; the new one is checked like any other."""
    motif = PUBLISHED.levels[0][2].with_operation(4, 2, 0)
    changed = PUBLISHED.with_motif(2, 3, motif)
    assert changed.levels[0][2].rows == ((4,), (3, 4), (4, 0, 6))
    assert PUBLISHED.levels[0][2].rows == ((4,), (3, 4), (4, 1, 6))
    assert changed.levels[0][:2] == PUBLISHED.levels[0][:2]
    assert changed == Genotype(changed.levels)
    assert hash(changed) == hash(Genotype(changed.levels))
    with pytest.raises(GenotypeError, match="operation 7 at level 3"):
        PUBLISHED.with_motif(3, 1, PUBLISHED.cell.with_operation(2, 1, 7))
    with pytest.raises(AttributeError):
        changed.levels = ()


def test_operations_have_names():
    """Primitives at level 2, motifs above."""
    assert [PUBLISHED.operation_name(2, k) for k in (0, 1, 6)] == ["none", "identity", "avgpool3x3"]
    assert [PUBLISHED.operation_name(3, k) for k in (0, 1, 6)] == ["none", "motif1", "motif6"]
    assert (PUBLISHED.pool_size(2), PUBLISHED.pool_size(3)) == (6, 6)
    assert (PUBLISHED.space, Genotype(((MOTIF,),)).space) == ("hierarchical", "flat")
