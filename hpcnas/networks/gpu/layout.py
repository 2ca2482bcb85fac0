"""The network at one batch and image size: memory, tables and the list of launches of a pass. Works on the meta device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hpcnas.networks.gpu.backward import backward_launches, classifier_launches, update_launches
from hpcnas.networks.gpu.forward import forward_launches, head_launches
from hpcnas.networks.gpu.launch import ArgumentTable, Block
from hpcnas.networks.gpu.memory import place_gradients, place_marks, place_values
from hpcnas.networks.gpu.structure import power_of_2, round_up
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.networks.operations import BN_MOMENTUM


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """A data set on the device.

    Attributes:
        images: uint8 (n, side, side, channels).
        labels: int64 (n,).
        scale, shift: float32 (channels,); image * scale + shift is standardised.
    """

    images: Tensor
    labels: Tensor
    scale: Tensor
    shift: Tensor

    def like(self, device: torch.device) -> "ImageBytes":
        """Empty ones of the same shapes on another device, such as meta."""
        return ImageBytes(*(torch.empty_like(t, device=device) for t in (self.images, self.labels, self.scale, self.shift)))


@dataclass(frozen=True, slots=True)
class Descent:
    """The optimiser's numbers that no step changes."""

    momentum: float
    decay: float


class Layout:
    """Memory and launches of one pass.

    Args:
        side: of the square that the network sees.
        descent: of a training pass; None lays out an evaluation.
    Attributes:
        launches: in an order in which they can run; `choice`, int32 (R, 4, B), says on which images.
        memory_bytes: of everything that is allocated beside `weights` and the data.
    """

    def __init__(self, weights: EngineWeights, batch: int, side: int, data: ImageBytes, descent: Descent | None) -> None:
        self.weights, self.structure, self.runs = weights, weights.structure, weights.runs
        self.batch, self.side, self.training = batch, side, descent is not None
        self.data = data
        self.sides = self.structure.sides(side)
        self.tasks, self.edges = ArgumentTable(), ArgumentTable()
        self._place()
        # Launches are made before the memory: they say how many partial gradients and table rows there are.
        self.launches = forward_launches(self) + head_launches(self)
        if self.training:
            self.launches += classifier_launches(self) + backward_launches(self) + update_launches(self)
        self._allocate(descent or Descent(0.0, 0.0))

    def pixels(self, v: int) -> int:
        """Of a value in one run."""
        return self.batch * self.sides[v] ** 2

    def elements(self, v: int) -> int:
        """Of a value in all runs."""
        return self.runs * self.pixels(v) * self.structure.widths[v]

    def partial_at(self, m: int, chunks: int, size: int) -> int:
        """The place of a module's partial gradients; the same for all its launches."""
        if m not in self.partial:
            self.partial[m] = self.partial_size, chunks
            # Kernels are compiled for aligned offsets, and no address is checked against that.
            self.partial_size += round_up(chunks * self.runs * size, 64)
        at, known = self.partial[m]
        assert known == chunks, "the chunks of a module's launches differ"
        return at

    def block(self, block: Block) -> tuple[int, int]:
        """First byte and size of a block in its memory, for reports and tests."""
        space, number = block
        item = self.weights.dtype.itemsize
        if space == "partial":
            at, chunks = self.partial[number]
            size = self.structure.weight_size[number] if number >= 0 else self.structure.classifier_size
            return at * 4, chunks * self.runs * size * 4
        if space == "mark":
            return self.mark_at[number], self.elements(number)
        at = (self.value_at if space == "value" else self.grad_at)[number]
        return at * item, self.elements(number) * item

    def _place(self) -> None:
        elements = {v: self.elements(v) for v in self.structure.values}
        values = place_values(self.structure, elements, self.training)
        self.value_at, self.value_size = values.at, values.size
        marks = place_marks(self.structure, elements)
        self.mark_at, self.mark_size = marks.at, marks.size if self.training else 0
        self.grad_at: dict[int, int] = {}
        self.grad_size = self.partial_size = 0
        self.partial: dict[int, tuple[int, int]] = {}
        if self.training:
            gradients = place_gradients(self.structure, elements)
            self.grad_at, self.grad_size = gradients.at, gradients.size

    def _allocate(self, descent: Descent) -> None:
        device, runs, structure = self.weights.device, self.runs, self.structure

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(*shape, dtype=dtype, device=device)

        own = {
            "values": empty(self.value_size, dtype=self.weights.dtype),
            "grads": empty(self.grad_size, dtype=self.weights.dtype),
            "marks": empty(self.mark_size, dtype=torch.uint8),
            "partial": empty(self.partial_size),
            "features": empty(runs, self.batch, structure.features),
            "dlogits": empty(runs, self.batch, power_of_2(structure.classes)),
            "losses": empty(runs, self.batch),
            "hits": empty(runs, self.batch, dtype=torch.int32),
            "choice": torch.zeros(runs, 4, self.batch, dtype=torch.int32, device=device),
            "rate": torch.zeros(1, device=device),
            # On the device: a replayed graph takes its choices and its rate by this number, and nothing from the host.
            "step": torch.zeros(1, dtype=torch.int64, device=device),
            "tasks": self.tasks.tensor(device),
            "edges": self.edges.tensor(device),
        }
        self.losses, self.hits, self.choice, self.step = own["losses"], own["hits"], own["choice"], own["step"]
        self.features = own["features"]
        self.memory_bytes = sum(tensor.nbytes for tensor in own.values())
        data = {"images": self.data.images, "labels": self.data.labels, "scale": self.data.scale, "shift": self.data.shift}
        self.shared = (
            self.weights.tensors() | own | data | self._numbers() | {"momentum": descent.momentum, "decay": descent.decay}
        )
        for launch in self.launches:
            launch.bytes = sum(self.block(block)[1] for block in dict.fromkeys(launch.reads + launch.writes))
            # A block that is read and written moves twice.
            launch.bytes += sum(self.block(block)[1] for block in set(launch.reads) & set(launch.writes))
            launch.bind(self.shared, runs)

    def _numbers(self) -> dict[str, float]:
        structure = self.structure
        return {
            "NP": structure.size,
            "F": structure.features,
            "classifier": structure.classifier,
            "bias": structure.bias,
            "classes": structure.classes,
            "batch": self.batch,
            "image_side": self.data.images.shape[1],
            "runs": self.runs,
            "bn_momentum": BN_MOMENTUM,
        }
