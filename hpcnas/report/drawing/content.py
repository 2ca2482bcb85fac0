"""The content of a drawing of a genotype, whatever its format: the cell first, then the motifs (paper, Appendix A)."""

from dataclasses import dataclass

from hpcnas.errors import GenotypeError
from hpcnas.report.drawing.widths import motif_widths
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels, used_motifs
from hpcnas.representation.primitives import PRIMITIVES


@dataclass(frozen=True, slots=True)
class Edge:
    """Operation `label` from node `source` to node `target`; a dead one is no part of the network."""

    source: int
    target: int
    label: str
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a motif.

    Attributes:
        width: its channels, such as "2C" or "c+C"; "" where widths are not shown.
    """

    number: int
    width: str = ""
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class GraphPanel:
    """One graph. Nodes ascending, the first the source, the last the sink; edges by target, then source.

    Attributes:
        has_motifs: whether its operations are motifs of the level below, not primitives.
    """

    name: str
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    has_motifs: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Panels to be drawn side by side, and what their signs mean; `pool` has all primitives of the genotype's space."""

    title: str
    panels: tuple[GraphPanel, ...]
    notes: tuple[str, ...]
    pool: tuple[str, ...] = PRIMITIVES

    @property
    def operations(self) -> tuple[str, ...]:
        """The primitives that are drawn, each once, by name."""
        return tuple(sorted({edge.label for panel in self.panels if not panel.has_motifs for edge in panel.edges}))


def draw(genotype: Genotype, *, title: str = "", live: bool = False, all_motifs: bool = False) -> Drawing:
    """Choose what to draw.

    Args:
        live: only what is part of the network, with the channels of every node; otherwise every drawn
            motif as it is stored, its dead parts marked.
        all_motifs: also the motifs that no live edge uses; `live` has none of them.
    Raises:
        GenotypeError: `live` of a genotype that builds no network.
    """
    levels = live_levels(genotype)
    used = used_motifs(levels)
    if live and levels[-1][0] is None:
        raise GenotypeError("the sink of the cell cannot be reached, so there is no network to draw; leave --live out")
    panels, left_out = [], []
    for level in range(len(genotype.levels) + 1, 1, -1):
        for m in range(1, len(genotype.levels[level - 2]) + 1):
            is_used = m in used[level - 2]
            if live and is_used:
                panels.append(_live_panel(genotype, levels, level, m))
            elif not live and (is_used or all_motifs or level == len(genotype.levels) + 1):
                panels.append(_whole_panel(genotype, levels[level - 2][m - 1], level, m, is_used))
            else:
                left_out.append(_name(genotype, level, m))
    return Drawing(
        title or f"{genotype.space} genotype", tuple(panels), _notes(genotype, panels, left_out, live), genotype.primitives
    )


def _whole_panel(genotype: Genotype, live: LiveMotif | None, level: int, m: int, is_used: bool) -> GraphPanel:
    motif = genotype.levels[level - 2][m - 1]
    alive = set(live.edges) if live and is_used else set()
    kept = set(live.nodes) if live and is_used else set()
    nodes = tuple(Node(number, is_live=number in kept) for number in range(1, motif.nodes + 1))
    edges = tuple(Edge(j, i, genotype.operation_name(level, k), (j, i, k) in alive) for j, i, k in motif.edges())
    name = _name(genotype, level, m)
    remark = "" if is_used else " (sink not reached: counts as none)" if live is None else " (not used)"
    return GraphPanel(name, name + remark, nodes, edges, level > 2)


def _live_panel(genotype: Genotype, levels: tuple[tuple[LiveMotif | None, ...], ...], level: int, m: int) -> GraphPanel:
    motif = levels[level - 2][m - 1]
    assert motif is not None, "a used motif is live"
    widths = motif_widths(levels, level, m, genotype.primitives)
    nodes = tuple(Node(number, str(widths[number])) for number in motif.nodes)
    edges = tuple(Edge(j, i, genotype.operation_name(level, k)) for j, i, k in motif.edges)
    name = _name(genotype, level, m)
    return GraphPanel(name, name, nodes, edges, level > 2)


def _name(genotype: Genotype, level: int, m: int) -> str:
    if level == len(genotype.levels) + 1:
        return "cell"
    # With three levels "motif3" is clear; with more, motif 3 of which level?
    return f"motif{m}" if len(genotype.levels) == 2 else f"level {level} motif{m}"


def _notes(genotype: Genotype, panels: list[GraphPanel], left_out: list[str], live: bool) -> tuple[str, ...]:
    notes = ["The inputs of a node are concatenated along channels."]
    if not genotype.is_flat:
        notes.append("A 1x1 convolution to C channels follows every motif of primitives.")
    if live:
        notes.append("C: channels that enter the cell." + ("" if genotype.is_flat else " c: channels that enter the motif."))
    elif not all(edge.is_live for panel in panels for edge in panel.edges):
        notes.append("Grey, dotted: dead or unused, no part of the network.")
    if left_out and not live:
        notes.append(f"Not used, not drawn: {', '.join(left_out)}.")
    return tuple(notes)
