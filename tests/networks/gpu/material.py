"""Tiny genotypes and batches for the kernels, and the float64 reference's answers."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.steps import Steps
from hpcnas.networks.gpu.structure import Structure
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.networks.graph import network_graph
from hpcnas.networks.skeletons import Network, build_network
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.training.data.augment import crop_and_flip
from tests.networks.drawn_weights import draw_weights

# Operations: 1 identity, 2 conv1x1, 3 depthwise, 4 separable, 5 maxpool, 6 avgpool.
TINY = {
    "every_primitive": ((3,), (5, 2), (6, 4, 1)),
    "smallest": ((5,),),  # 1x1 and depthwise convolutions stand between the cells
    "read_twice": ((1,), (1, 5), (2, 0, 3)),  # node 3 reads node 1 through an identity twice
    "pool_of_pool": ((2,), (0, 5), (0, 6, 5)),  # a max pool of a max pool beside an average pool of the same value: ties
}
CLASSES = 3  # of the 16 whose logits a program holds


def tiny(name: str) -> Genotype:
    return Genotype(((Motif(TINY[name]),),))


def structure_of(genotype: Genotype, channels: int, classes: int, in_channels: int = 3) -> Structure:
    plan = blueprint("small", channels=channels, classes=classes, in_channels=in_channels)
    return Structure(network_graph(genotype, plan), classes, in_channels)


def meta_layout(genotype: Genotype, training: bool = True, runs: int = 4, batch: int = 256, side: int = 24) -> Layout:
    """As a search of the paper's has it, without memory."""
    meta = torch.device("meta")
    weights = EngineWeights(structure_of(genotype, 16, 10), runs, meta, torch.bfloat16)
    vector = torch.empty(3, device=meta)
    images = torch.empty(40_000, 32, 32, 3, dtype=torch.uint8, device=meta)
    data = ImageBytes(images, torch.empty(40_000, dtype=torch.int64, device=meta), vector, vector)
    return Layout(weights, batch, side, data, Descent(0.9, 3e-4) if training else None)


@dataclass
class Case:
    """One training of a tiny network: data, choices and initial weights."""

    genotype: Genotype
    runs: int = 1
    steps: int = 1
    batch: int = 2
    crop: int = 5
    channels: int = 4
    in_channels: int = 3
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    data: ImageBytes = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        side = self.crop + 3
        images = torch.randint(0, 256, (16, side, side, self.in_channels), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, CLASSES, (16,), generator=generator)
        scale, shift = torch.tensor([1 / 64] * self.in_channels), torch.tensor([-2.0] * self.in_channels)
        self.data = ImageBytes(*(t.to(self.device) for t in (images, labels, scale, shift)))
        shape = (self.steps, self.runs, 1, self.batch)
        rows = [torch.randint(0, high, shape, generator=generator) for high in (16, 4, 4, 2)]
        self.choices = torch.cat(rows, 2)
        self.states = [self.reference(seed).state_dict() for seed in range(self.runs)]

    def reference(self, seed: int, dtype: torch.dtype = torch.float32) -> Network:
        sizes = {"channels": self.channels, "classes": CLASSES, "in_channels": self.in_channels}
        network = build_network(self.genotype, "small", **sizes)
        draw_weights(network, seed)
        return network.to(dtype)

    def steps_of(self, runs: list[int], descent: Descent, rate: float) -> Steps:
        """A training of some of the runs by the kernels."""
        structure = structure_of(self.genotype, self.channels, CLASSES, self.in_channels)
        weights = EngineWeights(structure, len(runs), torch.device(self.device), self.dtype)
        for place, run in enumerate(runs):
            weights.load(place, self.states[run])
        layout = Layout(weights, self.batch, self.crop, self.data, descent)
        return Steps(layout, self.choices[:, runs], [rate] * self.steps)

    def images(self, run: int, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        choice = self.choices[step, run]
        raw = crop_and_flip(self.data.images.cpu(), choice, self.crop).to(dtype)
        standard = raw * self.data.scale.cpu().to(dtype) + self.data.shift.cpu().to(dtype)
        return standard.permute(0, 3, 1, 2), self.data.labels.cpu()[choice[0]]


def loss_of(network: Network, images: Tensor, labels: Tensor, bf16: bool) -> Tensor:
    """Torch's, or that of its own bf16."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = network(images)
    return cross_entropy(logits.float() if bf16 else logits, labels)


def gradients(
    case: Case, run: int, dtype: torch.dtype, bf16: bool = False
) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and buffers of the reference after one pass."""
    network = case.reference(run, dtype)
    loss = loss_of(network, *case.images(run, 0, dtype), bf16)
    loss.backward()
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return loss.item(), found, {name: b for name, b in network.named_buffers() if "running" in name}


def trained(case: Case, run: int, descent: Descent, rate: float, dtype: torch.dtype, bf16: bool = False) -> dict[str, Tensor]:
    """The reference's weights after all steps."""
    network = case.reference(run, dtype)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=descent.momentum, weight_decay=descent.decay)
    for step in range(case.steps):
        optimizer.zero_grad()
        loss_of(network, *case.images(run, step, dtype), bf16).backward()
        optimizer.step()
    return network.state_dict()


def stored(steps: Steps, run: int, like: dict[str, Tensor], momenta: bool = False) -> dict[str, Tensor]:
    state = {name: torch.zeros_like(tensor) for name, tensor in copy.deepcopy(like).items()}
    steps.layout.weights.store(run, state, momenta)
    return state


def flat(tensors: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([tensors[name].detach().double().flatten() for name in names])


def error(found: Tensor, right: Tensor) -> float:
    return float((found - right).norm() / right.norm())
