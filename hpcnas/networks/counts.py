"""Parameters, multiply-adds and widths of a network, without building it: the head counts every child.

The standard library alone, but for own primitives that are counted by their modules.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from hpcnas.errors import GenotypeError
from hpcnas.networks.blueprint import Cell, Convolution, Separable, blueprint
from hpcnas.networks.own_primitives import count_own, own_primitive, used_module
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels
from hpcnas.representation.primitives import CONV1X1, DEPTHWISE3X3, PRIMITIVES, SEPARABLE3X3


@dataclass(frozen=True, slots=True)
class NetworkCounts:
    """The size of a network.

    Attributes:
        trainable: weights that the optimiser changes.
        all_variables: those and the running means and variances of batch normalisation.
        macs: multiply-adds of convolutions and classifier for one evaluation image.
        output_widths: channels that each cell emits, in order.
    """

    model: str
    channels: int
    cells: int
    trainable: int
    all_variables: int
    macs: int
    output_widths: tuple[int, ...]


class _Cost(NamedTuple):
    """Of a part of the network: output width, trainable parameters, running statistics, multiply-adds for one pixel."""

    width: int
    trainable: int = 0
    statistics: int = 0
    macs: int = 0

    def then(self, other: "_Cost") -> "_Cost":
        """The cost of this part with `other` behind it: its width, the sums of all else."""
        return _Cost(other.width, self.trainable + other.trainable, self.statistics + other.statistics, self.macs + other.macs)


def count(
    genotype: Genotype,
    model: str = "small",
    *,
    channels: int | None = None,
    cells: int | None = None,
    classes: int | None = None,
    in_channels: int = 3,
    tail: str = "none",
    image_px: int | None = None,
) -> NetworkCounts:
    """Count a network; the arguments are those of `blueprint`.

    Args:
        image_px: image size that `macs` is for; None takes 32 (CIFAR) or 299 (ImageNet).
    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
        UsageError: an unknown model or tail, or a number below 1.
    """
    plan = blueprint(model, channels=channels, cells=cells, classes=classes, in_channels=in_channels, tail=tail)
    size = image_px or plan.image_px
    width, widths, trainable, statistics, macs = in_channels, [], 0, 0, 0
    for layer in plan.layers:
        if not isinstance(layer, Cell):
            size = (size - 1) // layer.stride + 1
        cost = _layer_cost(genotype, layer, width)
        if isinstance(layer, Cell):
            widths.append(cost.width)
        pixels = size * size
        trainable, statistics, macs = trainable + cost.trainable, statistics + cost.statistics, macs + cost.macs * pixels
        width = cost.width
    trainable, macs = trainable + (width + 1) * plan.classes, macs + width * plan.classes
    return NetworkCounts(plan.model, plan.channels, plan.cells, trainable, trainable + statistics, macs, tuple(widths))


def _layer_cost(genotype: Genotype, layer: Convolution | Cell | Separable, width: int) -> _Cost:
    if isinstance(layer, Cell):
        return _cell_cost(genotype, layer.channels, used_module())
    if isinstance(layer, Separable):
        return _depthwise(width).then(_conv1x1(width, layer.c_out))
    return _normalised(layer.c_out, 9 * layer.c_in * layer.c_out)


def _normalised(width: int, weights: int) -> _Cost:
    """A convolution of stride 1 and its batch normalisation: scale and shift are trained, mean and variance are not."""
    return _Cost(width, weights + 2 * width, 2 * width, weights)


def _conv1x1(c_in: int, c_out: int) -> _Cost:
    return _normalised(c_out, c_in * c_out)


def _depthwise(c: int) -> _Cost:
    return _normalised(c, 9 * c)


def _primitive(name: str, c_in: int, C: int) -> _Cost:
    if name == CONV1X1:
        return _conv1x1(c_in, C)
    if name == DEPTHWISE3X3:
        return _depthwise(c_in)
    if name == SEPARABLE3X3:
        return _depthwise(c_in).then(_conv1x1(c_in, C))
    if name in PRIMITIVES:
        return _Cost(c_in)
    primitive = own_primitive(name)
    return _Cost(primitive.width(c_in, C), *count_own(primitive, c_in, C))


# By the module, too: in another run of this process the same names may mean other operations.
@lru_cache(maxsize=4096)
def _cell_cost(genotype: Genotype, C: int, module: str) -> _Cost:
    levels = live_levels(genotype)
    if levels[-1][0] is None:
        raise GenotypeError("the cell's sink cannot be reached from its source, so that there is no network to build")
    return _Parts(levels, genotype.primitives, C).motif(levels[-1][0], len(levels) + 1, C)


class _Parts:
    """The costs of the parts of one cell; a part that is placed again on an input of the same width is not added up again."""

    def __init__(self, levels: tuple[tuple[LiveMotif | None, ...], ...], primitives: tuple[str, ...], C: int) -> None:
        self.levels, self.primitives = levels, primitives
        self.C = C
        self.known: dict[tuple[int, int, int], _Cost] = {}  # (level, operation, input width) -> cost

    def motif(self, motif: LiveMotif, level: int, c_in: int) -> _Cost:
        """Cost of a motif of `level`, all its operations with it."""
        widths = dict.fromkeys(motif.nodes, 0)
        widths[1] = c_in
        trainable = statistics = macs = 0
        for j, i, k in motif.edges:  # ascending i: the width of node j is complete
            part = self.operation(level - 1, k, widths[j])
            widths[i] += part.width
            trainable, statistics = trainable + part.trainable, statistics + part.statistics
            macs += part.macs
        return _Cost(widths[motif.nodes[-1]], trainable, statistics, macs)

    def operation(self, level: int, k: int, c_in: int) -> _Cost:
        """Cost of operation k of `level`: a primitive for 1, else a motif."""
        key = (level, k, c_in)
        if key not in self.known:
            self.known[key] = self._operation(level, k, c_in)
        return self.known[key]

    def _operation(self, level: int, k: int, c_in: int) -> _Cost:
        if level == 1:
            return _primitive(self.primitives[k - 1], c_in, self.C)
        motif = self.levels[level - 2][k - 1]
        assert motif is not None, "a live edge carries a live motif"
        inside = self.motif(motif, level, c_in)
        # Section 2.3: a 1x1 convolution to C channels after each motif of level 2.
        return inside.then(_conv1x1(inside.width, self.C)) if level == 2 else inside
