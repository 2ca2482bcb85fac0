"""Search spaces: the paper's, and which shapes are refused."""

import pytest

from hpcnas.errors import UsageError
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.representation.space import FLAT, FLAT_CONSTRAINED, HIERARCHICAL, SearchSpace


def test_the_papers_spaces_have_the_papers_sizes():
    """46 edges and 7.5e38 genotypes, 55 edges and 3.0e46."""

    def edges(space: SearchSpace) -> int:
        return sum(m * n * (n - 1) // 2 for m, n in zip(space.motifs, space.nodes, strict=True))

    assert (edges(HIERARCHICAL), edges(FLAT)) == (46, 55)
    operations = len(PRIMITIVES) + 1.0
    assert operations ** edges(HIERARCHICAL) == pytest.approx(7.5e38, rel=0.01)
    assert operations ** edges(FLAT) == pytest.approx(3.0e46, rel=0.01)
    assert FLAT_CONSTRAINED.max_parameters == 550_000
    assert tuple(len(level) for level in PUBLISHED.levels) == HIERARCHICAL.motifs


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("cubic",), "--space cubic is unknown"),
        (("hierarchical", (6, 1), (4,)), "have different lengths"),
        (("hierarchical", (6, 2), (4, 5)), "must be positive and end with 1"),
        (("hierarchical", (0, 1), (4, 5)), "must be positive"),
        (("hierarchical", (), ()), "must be positive"),
        (("hierarchical", (1,), (4,)), "does not go with"),
        (("flat", (6, 1), (4, 5)), "does not go with"),
        (("flat", (1,), (1,)), "2 to 64 nodes"),
        (("flat", (1,), (65,)), "2 to 64 nodes"),
        (("hierarchical", (65, 1), (4, 5)), "64 motifs"),
        (("hierarchical", (*[2] * 8, 1), (2,) * 9), "up to 8 levels"),
        (("hierarchical", (6, 1), (64, 64)), "more than 100000 operations"),
        (("flat-constrained", (1,), (11,), 0), "--max-parameters 0"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(arguments, expected):
    """By the options that a user gave."""
    with pytest.raises(UsageError, match=expected):
        SearchSpace(*arguments)
