"""Genotypes known by name: the paper's best cell, and the chain where every search begins."""

from typing import Final

from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.primitives import IDENTITY, PRIMITIVES
from hpcnas.representation.space import SearchSpace

_SHORT = dict(zip(("id", "c1", "dw", "sep", "max", "avg"), range(1, len(PRIMITIVES) + 1), strict=True))


def _motif(text: str) -> Motif:
    # "max / c1 dw / sep c1 max": the rows of nodes 2, 3, 4, each from predecessor 1 on.
    return Motif(tuple(tuple(_SHORT[word] for word in row.split()) for row in text.split("/")))


# Liu et al. 2018, Appendix A. Read off the figure; unlabelled edges are taken as identity.
# Motifs 2 and 6 are not used by the cell.
PUBLISHED: Final = Genotype(
    (
        (
            _motif("max / c1 dw / sep c1 max"),
            _motif("max / dw dw / c1 sep sep"),
            _motif("sep / dw sep / sep id avg"),
            _motif("avg / sep sep / id max avg"),
            _motif("id / sep id / sep id sep"),
            _motif("dw / max max / sep id avg"),
        ),
        (Motif(((5,), (3, 3), (3, 1, 3), (4, 5, 5, 5))),),
    )
)


def identity_chain(space: SearchSpace) -> Genotype:
    """The genotype whose motifs are chains: edge (i, i-1) is identity, above level 2 motif 1, the rest none.

    A user's own primitives may lack identity; the first of them then takes its place.

    Source: Liu et al. 2018, section 3.2.
    """
    pool = space.pool
    first = pool.index(IDENTITY) + 1 if IDENTITY in pool else 1
    links = (first, *(1 for _ in space.nodes[1:]))
    levels = zip(space.motifs, space.nodes, links, strict=True)
    return Genotype(tuple((_chain(nodes, link),) * motifs for motifs, nodes, link in levels), pool)


def _chain(nodes: int, link: int) -> Motif:
    return Motif(tuple((0,) * (i - 2) + (link,) for i in range(2, nodes + 1)))
