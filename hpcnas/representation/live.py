"""Finds the parts of a genotype that reach its output (paper.md: degenerate graphs).

The paper is silent about them; hpcnas prunes when a network is built and never in the
stored genotype. A node without a live input is absent with its outgoing edges. A node that
cannot reach the sink is pruned. A motif whose sink is unreachable counts as none where it
is used.
"""

from dataclasses import dataclass
from functools import lru_cache

from hpcnas.representation.genotype import Genotype, Motif


@dataclass(frozen=True, slots=True)
class LiveMotif:
    """The live part of a motif.

    Attributes:
        nodes: the live nodes by their numbers in the motif, ascending; first the source, last the sink.
        edges: (j, i, k): operation k >= 1 from node j to node i, by ascending i, then j.
    """

    nodes: tuple[int, ...]
    edges: tuple[tuple[int, int, int], ...]

    def inputs(self, i: int) -> tuple[tuple[int, int], ...]:
        """(j, k) of the edges that enter node i, in ascending j: the order of concatenation."""
        return tuple((j, k) for j, target, k in self.edges if target == i)


def live_motif(motif: Motif, is_dead: frozenset[int] = frozenset()) -> LiveMotif | None:
    """Prune one motif; operations in `is_dead` (motifs of the level below) count as none.

    Returns:
        The live part, or None when the sink cannot be reached from the source.
    """
    edges = [edge for edge in motif.edges() if edge[2] not in is_dead]
    reached = {1}
    for j, i, _ in edges:  # ascending i: every predecessor is decided before its successors
        if j in reached:
            reached.add(i)
    useful = {motif.nodes}
    for j, i, _ in reversed(edges):
        if i in useful:
            useful.add(j)
    live = reached & useful
    if 1 not in live or motif.nodes not in live:
        return None
    kept = tuple(edge for edge in edges if edge[0] in live and edge[1] in live)
    return LiveMotif(tuple(sorted(live)), kept)


@lru_cache(maxsize=256)  # breeding asks for its digest and for three widths of cells
def live_levels(genotype: Genotype) -> tuple[tuple[LiveMotif | None, ...], ...]:
    """Prune every motif of every level, from the lowest up; None marks a motif that counts as none.

    Motifs that the cell does not use are pruned like the others and stay in the answer.
    """
    levels: list[tuple[LiveMotif | None, ...]] = []
    dead: frozenset[int] = frozenset()
    for motifs in genotype.levels:
        pruned = tuple(live_motif(motif, dead) for motif in motifs)
        dead = frozenset(k for k, motif in enumerate(pruned, start=1) if motif is None)
        levels.append(pruned)
    return tuple(levels)


def used_motifs(levels: tuple[tuple[LiveMotif | None, ...], ...]) -> tuple[frozenset[int], ...]:
    """The motifs of each level, from 1, that a live edge of the level above places; the cell (if live) is always used.

    Args:
        levels: as `live_levels` gives them.
    """
    used = [frozenset({1} if levels[-1][0] else ())]
    for motifs in reversed(levels[1:]):
        live = [motif for m, motif in enumerate(motifs, start=1) if motif and m in used[0]]
        used.insert(0, frozenset(k for motif in live for _, _, k in motif.edges))
    return tuple(used)


def pruned(genotype: Genotype) -> Genotype:
    """The genotype with every dead edge none and every edge of an unused motif none; it builds the same network."""
    live = live_levels(genotype)
    used = used_motifs(live)
    levels = []
    for motifs, live_motifs, kept in zip(genotype.levels, live, used, strict=True):
        edges = [set(pair.edges) if pair and m in kept else set() for m, pair in enumerate(live_motifs, start=1)]
        levels.append(tuple(_keep(motif, alive) for motif, alive in zip(motifs, edges, strict=True)))
    return Genotype(tuple(levels), genotype.primitives)


def _keep(motif: Motif, alive: set[tuple[int, int, int]]) -> Motif:
    rows = enumerate(motif.rows, start=2)
    return Motif(tuple(tuple(k if (j, i, k) in alive else 0 for j, k in enumerate(row, start=1)) for i, row in rows))


def is_valid(genotype: Genotype) -> bool:
    """Whether the cell's sink can be reached from its source.

    Asked of every mutation, so it follows the edges forward only and makes no live graph.
    """
    if _has_direct_edge(genotype):
        return True
    dead = {0}
    for motifs in genotype.levels:
        dead = {0, *(k for k, motif in enumerate(motifs, start=1) if not _reaches_sink(motif.rows, dead))}
    return 1 not in dead


def _has_direct_edge(genotype: Genotype) -> bool:
    # From source to sink at once, on every level that it goes through: so it is in three genotypes of four.
    k = 1
    for motifs in reversed(genotype.levels):
        k = motifs[k - 1].rows[-1][0]
        if not k:
            return False
    return True


def _reaches_sink(rows: tuple[tuple[int, ...], ...], dead: set[int]) -> bool:
    reached = [True]
    for row in rows:
        for is_reached, k in zip(reached, row, strict=False):
            if is_reached and k not in dead:
                reached.append(True)
                break
        else:
            reached.append(False)
    return reached[-1]
