"""The fast network: the reference's weights and results, by another way of computing them."""

from torch import Tensor

from hpcnas.networks.blueprint import Blueprint, blueprint
from hpcnas.networks.cpu.body import NativeBody
from hpcnas.networks.graph import network_graph
from hpcnas.networks.graph_forward import GraphForward
from hpcnas.networks.operations import ConvBNReLU
from hpcnas.networks.skeletons import Network
from hpcnas.representation.genotype import Genotype


class PlannedNetwork(Network):
    """A network that runs as a flat list of operations, see `graph`; its state dict is the reference's.

    On a CPU compiled kernels run it where a C++ compiler is at hand; elsewhere, and in every other case, torch's operators do.
    """

    def __init__(self, genotype: Genotype, plan: Blueprint) -> None:
        super().__init__(genotype, plan)
        modules = [(path, module) for path, module in self.named_modules() if isinstance(module, ConvBNReLU)]
        graph = network_graph(genotype, plan)
        self._graph_forward = GraphForward(graph, dict(modules))
        self._native = NativeBody(graph, modules)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the compiled kernels hold for tensors and gradients; 0 where they do not run."""
        return self._native.memory_bytes

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W), standardised, to logits (B, classes)."""
        if self._native.can_run(images, self.training):
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
