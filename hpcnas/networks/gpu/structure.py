"""The structure that R networks of one genotype share: readers, their order, and the place of each weight. Numbers only."""

from collections import defaultdict

from hpcnas.networks.gpu import narrow
from hpcnas.networks.graph import NetworkGraph
from hpcnas.networks.schedule import Merged, OperationKind, merge

MOST_CLASSES = 128  # a program holds all logits of its images


class Structure:
    """A network graph as launches need it.

    Attributes:
        modules: the reference's ConvBNReLU, or a slice of one, as (path, its first channel); the position is its number.
        merged: operations, see `schedule.merge`.
        module: of each value that is normalised: (module, its first channel there).
        channel: of each value its channel base, the channels of those before it; -1 where it is not normalised.
        channels: all of them.
        weight, weight_size: offset and size of each module's weights among those of one run.
        packing: of each product's module: K, C, N, see `kernels.optimiser.sgd`.
        features: what the classifier reads; its weights begin at `classifier`, its biases at `bias`.
        size: weights of one run, a multiple of 16.
        level: of each value, the longest path from the image.
        back: of each value, the longest path to the loss: its gradient is made when those of all its readers' outputs are.
        readers: of each value the operations that read it.
    """

    def __init__(self, graph: NetworkGraph, classes: int, in_channels: int) -> None:
        graph = narrow.narrow(graph)
        self.graph, self.classes, self.in_channels = graph, classes, in_channels
        self.widths, self.output = graph.widths, graph.output
        self.values = range(1, len(graph.widths))
        self.modules = list(dict.fromkeys((step.module, step.first) for step in graph.operations if step.module))
        self.merged = merge(graph, {module: index for index, module in enumerate(self.modules)})
        self.module = {v: (m, c) for step in self.merged for v, m, c in step.outputs if m >= 0}
        self._count_channels()
        self._place_weights()
        self._order()

    @property
    def normalised(self) -> list[int]:
        """The values that are normalised."""
        return [v for v in self.values if v in self.module]

    @property
    def stems(self) -> list[Merged]:
        """The 3x3 convolutions at the entry: one, or one for each slice of a wide one."""
        return [step for step in self.merged if step.kind is OperationKind.STEM]

    @property
    def top(self) -> int:
        """The level of the pooling, above all values."""
        return max(self.level.values()) + 1

    def sides(self, side: int) -> dict[int, int]:
        """Height and width of each value for square images."""
        found = {0: side}
        for step in self.merged:
            for v, _, _ in step.outputs:
                found[v] = (found[step.inputs[0]] - 1) // step.stride + 1
        return found

    def reason_against(self) -> str:
        """Why the kernels cannot run this network; "" if they can."""
        if self.graph.has_own:
            return "a primitive of your own has no kernel"
        for step in self.merged:
            if len({self.widths[v] for v in step.inputs}) > 1:
                return "a 1x1 convolution reads values of different widths"
        if len({self.widths[v] for v in self.output}) > 1:
            return "the classifier reads values of different widths"
        if any(step.inputs != (0,) or step.stride != 1 for step in self.stems):
            return "the stem is not one convolution of stride 1"
        if self.classes > MOST_CLASSES:
            return f"there are {self.classes} classes, and the kernels hold {MOST_CLASSES}"
        widest = max(self.widths[v] for v in self.values)
        if widest > narrow.WIDEST:
            return f"values of {widest} channels cannot be cut into slices of {narrow.NARROWEST} to {narrow.WIDEST}"
        return ""

    def _count_channels(self) -> None:
        self.channel, self.channels = {}, 0
        for v in self.values:
            self.channel[v] = self.channels if v in self.module else -1
            self.channels += self.widths[v] if v in self.module else 0

    def _place_weights(self) -> None:
        self.packing: dict[int, tuple[int, int, int]] = {}
        self.weight_size: dict[int, int] = defaultdict(int)
        for step in self.merged:
            for v, m, _ in step.outputs:
                if step.kind is OperationKind.PRODUCT:
                    row = sum(self.widths[i] for i in step.inputs)
                    self.packing[m] = row, self.widths[step.inputs[0]], self.widths[v]
                    self.weight_size[m] = row * self.widths[v]
                elif m >= 0:
                    self.weight_size[m] += 9 * self.widths[v] * (self.in_channels if step.kind is OperationKind.STEM else 1)
        at = 0
        self.weight: dict[int, int] = {}
        for m in range(len(self.modules)):
            self.weight[m] = at
            at += round_up(self.weight_size[m], 16)
        self.features = sum(self.widths[v] for v in self.output)
        self.classifier, self.bias = at, at + self.classes * self.features
        self.size = round_up(at + self.classifier_size, 16)

    @property
    def classifier_size(self) -> int:
        """Weights and biases of the classifier."""
        return self.classes * (self.features + 1)

    def _order(self) -> None:
        self.level = {0: 0}
        self.readers: dict[int, list[Merged]] = defaultdict(list)
        for step in self.merged:
            level = 1 + max(self.level[v] for v in step.inputs)
            self.level.update({v: level for v, _, _ in step.outputs})
            for v in dict.fromkeys(step.inputs):
                self.readers[v].append(step)
        self.back: dict[int, int] = {}
        for v in reversed(self.values):
            self.back[v] = 1 + max((self.back[o] for step in self.readers[v] for o, _, _ in step.outputs), default=0)


def round_up(size: int, to: int) -> int:
    """The next multiple of `to`: kernels are compiled for offsets that are multiples, and nothing checks that they are."""
    return -(-size // to) * to


def power_of_2(width: int) -> int:
    """The tile that holds `width` channels: a power of 2, at least the 16 that a tensor core takes."""
    return max(16, 1 << (width - 1).bit_length())
