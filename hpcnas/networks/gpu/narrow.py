"""Cuts wide values into slices that the kernels' tiles hold; the network stays the same. Stdlib only."""

from dataclasses import replace

from hpcnas.networks.graph import PRODUCT, STEM, NetworkGraph, ValueTuple

# A product of 256 x 256 channels would need 262,144 bytes of shared memory, more than any card has. Its backward pass
# spills from 128 x 256 on (Triton 3.9, sm_90). At most 64 wide, the variants of the paper's search serve every width.
WIDEST = 64
NARROWEST = 16  # a tile of the tensor cores


def narrow(graph: NetworkGraph) -> NetworkGraph:
    """The graph with each value of more than WIDEST channels as slices of equal width.

    A convolution that wrote such a value becomes one for each slice, with its share of the module's weights. A width that
    has no divisor between NARROWEST and WIDEST stays as it is; `Structure.reason_against` then refuses the network.
    """
    widths: list[int] = []
    slices: list[ValueTuple] = []
    for v, width in enumerate(graph.widths):
        count = _slices(width) if v else 1  # the image is no value of the kernels
        slices.append(tuple(range(len(widths), len(widths) + count)))
        widths += [width // count] * count

    def cut(wire: ValueTuple) -> ValueTuple:
        return tuple(part for v in wire for part in slices[v])

    operations = []
    for operation in graph.operations:
        inputs, outputs = cut(operation.inputs), cut(operation.outputs)
        if operation.kind in (STEM, PRODUCT):
            for place, part in enumerate(outputs):
                operations.append(replace(operation, inputs=inputs, outputs=(part,), first=place * widths[part]))
        else:
            operations.append(replace(operation, inputs=inputs, outputs=outputs))
    return NetworkGraph(tuple(operations), tuple(widths), cut(graph.output))


def _slices(width: int) -> int:
    fitting = [width // part for part in range(NARROWEST, WIDEST + 1) if width % part == 0]
    return min(fitting, default=1) if width > WIDEST else 1
