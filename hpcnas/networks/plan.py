"""The fast network: the reference's weights and results, computed from a flat list of operations.

`GraphForward` runs the list with torch's own operators, on any device, in any precision, with autograd.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.networks.blueprint import Blueprint, blueprint
from hpcnas.networks.cpu.body import NativeBody
from hpcnas.networks.graph import AVGPOOL, MAXPOOL, PRODUCT, NetworkGraph, Operation, ValueTuple, network_graph
from hpcnas.networks.operations import ConvBNReLU
from hpcnas.networks.skeletons import Network
from hpcnas.representation.genotype import Genotype


class PlannedNetwork(Network):
    """A network that runs as a flat list of operations, see `graph`; its state dict is the reference's.

    On a CPU compiled kernels run it if there is a C++ compiler. Otherwise torch's operators run it.
    """

    def __init__(self, genotype: Genotype, plan: Blueprint) -> None:
        super().__init__(genotype, plan)
        graph = network_graph(genotype, plan)
        named = {operation.module for operation in graph.operations}
        self._graph_forward = GraphForward(graph, {path: one for path, one in self.named_modules() if path in named})
        modules = [(path, module) for path, module in self.named_modules() if isinstance(module, ConvBNReLU)]
        # One own primitive is enough: the kernels run the whole body or nothing.
        self._native = None if graph.has_own else NativeBody(graph, modules)

    @property
    def has_own(self) -> bool:
        """Whether it has a user's own primitives, so that no compiled kernels run it."""
        return self._graph_forward.graph.has_own

    @property
    def memory_bytes(self) -> int:
        """Bytes that the compiled kernels hold for tensors and gradients; 0 where they do not run."""
        return 0 if self._native is None else self._native.memory_bytes

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W), standardised, to logits (B, classes)."""
        if self._native is not None and self._native.can_run(images, self.training):
            features = self._native(images, self.training)
        else:
            features = self._graph_forward(images)
        logits: Tensor = self.classifier(features)
        return logits


def build_planned_network(
    genotype: Genotype,
    model: str = "small",
    *,
    channels: int | None = None,
    cells: int | None = None,
    classes: int | None = None,
    in_channels: int = 3,
    tail: str = "none",
) -> PlannedNetwork:
    """Build the fast network; arguments, initial weights and errors are those of `skeletons.build_network`."""
    plan = blueprint(model, channels=channels, cells=cells, classes=classes, in_channels=in_channels, tail=tail)
    return PlannedNetwork(genotype, plan)


@dataclass(frozen=True, slots=True)
class _Slice:
    """The place of a value: channels start..start+width of a tensor that may hold its neighbours too."""

    tensor: Tensor
    start: int
    width: int


class GraphForward:
    """The body of a network, from images to the features that its classifier reads.

    Args:
        modules: of the reference by their paths, see `graph.Operation.module`.
    """

    def __init__(self, graph: NetworkGraph, modules: Mapping[str, nn.Module]) -> None:
        self.graph = graph
        self.modules = modules
        self.last_reader = {v: index for index, operation in enumerate(graph.operations) for v in operation.inputs}

    def __call__(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, features)."""
        values = {0: _Slice(images, 0, images.shape[1])}
        for index, operation in enumerate(self.graph.operations):
            written = self._run(operation, values)
            start = 0
            for v in operation.outputs:
                values[v] = _Slice(written, start, self.graph.widths[v])
                start += self.graph.widths[v]
            # Freed after the last reader: an evaluation needs no memory for the whole network.
            for v in set(operation.inputs):
                if self.last_reader[v] == index and v not in self.graph.output:
                    del values[v]
        # Means first: joining vectors costs nothing, joining maps would write the widest tensor of all.
        means = {v: chunk.mean(dim=(2, 3)) for v in set(self.graph.output) for chunk in _chunks(values, (v,))}
        return torch.cat([means[v] for v in self.graph.output], dim=1)

    def _run(self, operation: Operation, values: dict[int, _Slice]) -> Tensor:
        chunks = _chunks(values, operation.inputs)
        if operation.kind == PRODUCT:
            return self._product(self.modules[operation.module], chunks)
        x = chunks[0] if len(chunks) == 1 else torch.cat(chunks, dim=1)
        if operation.kind == MAXPOOL:
            return functional.max_pool2d(x, 3, stride=1, padding=1)
        if operation.kind == AVGPOOL:
            return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        found: Tensor = self.modules[operation.module](x)
        return found

    def _product(self, module: nn.Module, chunks: list[Tensor]) -> Tensor:
        """A 1x1 convolution of a concatenation that is never made: split the weights, sum the results."""
        assert isinstance(module, ConvBNReLU)
        weights = module.conv.weight.split([chunk.shape[1] for chunk in chunks], dim=1)
        total = functional.conv2d(chunks[0], weights[0])
        for chunk, weight in zip(chunks[1:], weights[1:], strict=True):
            total = total + functional.conv2d(chunk, weight)
        normalised: Tensor = module.norm(total).relu()
        return normalised


def _chunks(slices: dict[int, _Slice], values: ValueTuple) -> list[Tensor]:
    """The tensors of a tuple of values in order; values that lie side by side in one tensor stay together."""
    joined: list[_Slice] = []
    for v in values:
        here = slices[v]
        if joined and joined[-1].tensor is here.tensor and joined[-1].start + joined[-1].width == here.start:
            before = joined.pop()
            here = _Slice(before.tensor, before.start, before.width + here.width)
        joined.append(here)
    return [
        part.tensor if part.width == part.tensor.shape[1] else part.tensor.narrow(1, part.start, part.width) for part in joined
    ]
