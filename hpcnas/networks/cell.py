"""A genotype's cell as nested modules, one for each motif that is used (paper sections 2.1 and 2.2)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hpcnas.errors import GenotypeError
from hpcnas.networks.operations import ConvBNReLU, make_primitive
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels


class Parts(NamedTuple):
    """Of what a cell is made: the live motifs of every level, and the names of the primitives."""

    levels: tuple[tuple[LiveMotif | None, ...], ...]
    primitives: tuple[str, ...]


def merge(features: Sequence[Tensor]) -> Tensor:
    """Join the inputs of one node along channels.

    Args:
        features: k >= 1 maps, each (B, C_k, H, W), same B, H, W.
    Returns:
        (B, sum of C_k, H, W), in predecessor order.
    Source: Liu et al. 2018, section 2.1.
    """
    # torch.cat copies even a single tensor.
    return features[0] if len(features) == 1 else torch.cat(list(features), dim=1)


class Assembly(nn.Module):
    """assemble(G, o): x_i = merge of o_{G[i][j]}(x_j) over the live predecessors j of node i, equation (1).

    Every edge has a module, and so weights, of its own; it is called `edges.<j>_<i>`.
    """

    def __init__(self, parts: Parts, level: int, m: int, c_in: int, C: int) -> None:
        super().__init__()
        motif = parts.levels[level - 2][m - 1]
        if motif is None:
            raise GenotypeError(f"motif {m} of level {level} has no path from its source to its sink, so it cannot be built")
        self.motif = motif
        self.edges = nn.ModuleDict()
        widths = {1: c_in}
        for i in motif.nodes[1:]:
            widths[i] = 0
            for j, k in motif.inputs(i):
                self.edges[f"{j}_{i}"], width = _operation(parts, level, k, widths[j], C)
                widths[i] += width
        self.width = widths[motif.nodes[-1]]

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, width, H, W)."""
        nodes = {1: x}
        for i in self.motif.nodes[1:]:
            nodes[i] = merge([self.edges[f"{j}_{i}"](nodes[j]) for j, _ in self.motif.inputs(i)])
        return nodes[self.motif.nodes[-1]]


class MotifOperation(nn.Module):
    """A motif of level 2 used as an operation: its graph, then a 1x1 convolution to C channels (section 2.3)."""

    def __init__(self, parts: Parts, m: int, c_in: int, C: int) -> None:
        super().__init__()
        self.graph = Assembly(parts, 2, m, c_in, C)
        self.project = ConvBNReLU(self.graph.width, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, C, H, W)."""
        return self.project(self.graph(x))


def make_cell(genotype: Genotype, channels: int) -> Assembly:
    """The cell for an input of `channels` = C; its `width` is what it emits.

    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
    """
    levels = live_levels(genotype)
    if levels[-1][0] is None:
        raise GenotypeError("the cell's sink cannot be reached from its source, so that there is no network to build")
    return Assembly(Parts(levels, genotype.primitives), len(levels) + 1, 1, channels, channels)


def _operation(parts: Parts, level: int, k: int, c_in: int, C: int) -> tuple[nn.Module, int]:
    if level == 2:
        return make_primitive(parts.primitives[k - 1], c_in, C)
    if level == 3:
        return MotifOperation(parts, k, c_in, C), C
    graph = Assembly(parts, level - 1, k, c_in, C)
    return graph, graph.width
