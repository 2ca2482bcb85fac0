"""The list of operations that the compiled kernels run, on a CPU or a GPU: merged, and memory for it. Stdlib only.

What reads the same tensor is merged: all 1x1 convolutions of one concatenation become one product, all depthwise
convolutions of one value one pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from hpcnas.networks.graph import AVGPOOL, DEPTHWISE, MAXPOOL, OWN, PRODUCT, STEM, NetworkGraph, Operation

_ALIGNMENT = 64  # elements; at least a cache line


class OperationKind(IntEnum):
    """The kind of a merged operation; the numbers are those of engine.cpp."""

    STEM = 0
    PRODUCT = 1
    DEPTHWISE = 2
    POOL = 3
    MEAN = 4
    OWN = 5  # which no kernel runs


@dataclass(slots=True)
class Merged:
    """Operations that run as one: what it reads, and (output, module, first channel) of what it writes."""

    kind: OperationKind
    inputs: tuple[int, ...]
    outputs: list[tuple[int, int, int]] = field(default_factory=list)
    stride: int = 1
    is_max: bool = False


class Memory:
    """Hands out blocks of an arena and takes them back; best fit by size, grows at the end."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (size, offset)

    def take(self, size: int) -> int:
        """Offset of a block of `size` elements."""
        size = -(-size // _ALIGNMENT) * _ALIGNMENT
        fitting = [block for block in self._free if block[0] >= size]
        if fitting:
            # The smallest that fits, of equal ones the first: one graph always gets one layout.
            block = min(fitting)
            self._free.remove(block)
            if block[0] > size:
                self._free.append((block[0] - size, block[1] + size))
            return block[1]
        offset, self.size = self.size, self.size + size
        return offset

    def give_back(self, size: int, offset: int) -> None:
        """Free the block that `take(size)` gave."""
        self._free.append((-(-size // _ALIGNMENT) * _ALIGNMENT, offset))


def merge(graph: NetworkGraph, number: Mapping[tuple[str, int], int]) -> list[Merged]:
    """Merge the operations of a graph, in an order in which they can run.

    Args:
        number: of each ConvBNReLU, or of a slice of it, by its path and first channel.
    """
    merged: list[Merged] = []
    open_steps: dict[tuple[OperationKind, tuple[int, ...], int], Merged] = {}

    def join(kind: OperationKind, inputs: tuple[int, ...], stride: int, output: tuple[int, int, int]) -> None:
        key = (kind, inputs, stride)
        if key not in open_steps:
            open_steps[key] = Merged(kind, inputs, stride=stride)
            merged.append(open_steps[key])
        open_steps[key].outputs.append(output)

    for operation in graph.operations:
        module = number.get((operation.module, operation.first), -1)
        if operation.kind == PRODUCT:
            join(OperationKind.PRODUCT, operation.inputs, 1, (operation.outputs[0], module, 0))
        elif operation.kind == STEM:
            merged.append(Merged(OperationKind.STEM, operation.inputs, [(operation.outputs[0], module, 0)], operation.stride))
        elif operation.kind == OWN:
            merged.append(Merged(OperationKind.OWN, operation.inputs, [(output, -1, 0) for output in operation.outputs]))
        else:
            for v, output, channel in _slices(operation, graph.widths):
                if operation.kind == DEPTHWISE:
                    join(OperationKind.DEPTHWISE, (v,), operation.stride, (output, module, channel))
                elif operation.kind in (MAXPOOL, AVGPOOL):
                    merged.append(Merged(OperationKind.POOL, (v,), [(output, -1, 0)], is_max=operation.kind == MAXPOOL))
    return merged


def _slices(operation: Operation, widths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    channel = 0
    for v, output in zip(operation.inputs, operation.outputs, strict=True):
        yield v, output, channel
        channel += widths[v]
