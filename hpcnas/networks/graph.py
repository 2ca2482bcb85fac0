"""A whole network as a flat list of operations on values: pruned, shared, without concatenations. Stdlib only.

A value is a tensor of some channels that one operation wrote. A node of a motif is the concatenation of its inputs.
Here that is no tensor but a tuple of values, in channel order. It may name one value twice, where identities meet.
Operations on channels (depthwise convolutions, pools) give one value for each value they read. So
- an identity costs nothing,
- a 1x1 convolution reads the parts where they lie: its weights split by columns, the results summed,
- a pool is computed once for each value, for all equal pools of overlapping concatenations.
Every operation with weights has the path of its ConvBNReLU in the reference, so weights map one to one.
"""

from dataclasses import dataclass

from hpcnas.errors import GenotypeError
from hpcnas.networks.blueprint import Blueprint, Cell, Convolution, Separable
from hpcnas.networks.own_primitives import own_primitive
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels
from hpcnas.representation.primitives import AVGPOOL3X3, CONV1X1, DEPTHWISE3X3, IDENTITY, MAXPOOL3X3, SEPARABLE3X3

STEM, PRODUCT, DEPTHWISE, MAXPOOL, AVGPOOL, OWN = "stem", "product", "depthwise", "maxpool", "avgpool", "own"
ValueTuple = tuple[int, ...]  # values whose channels follow each other


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of the list.

    Attributes:
        kind: STEM (3x3 convolution), PRODUCT (1x1 convolution), DEPTHWISE (3x3), each followed by BN and ReLU;
            MAXPOOL or AVGPOOL (3x3); OWN, a user's own primitive, which torch runs.
        inputs: the values read. PRODUCT, STEM and OWN write one value; the others one for each input.
        module: path of the reference's ConvBNReLU, or of the own primitive's module; "" for pools.
        first: the module's channel with which the output begins; above 0 where a wide value was cut, see `gpu.narrow`.
    """

    kind: str
    inputs: ValueTuple
    outputs: ValueTuple
    module: str = ""
    stride: int = 1
    first: int = 0


@dataclass(frozen=True, slots=True)
class NetworkGraph:
    """The operations in an order in which they can run, and what the global pooling reads.

    Attributes:
        widths: channels of each value; value 0 is the image.
        output: what is pooled for the classifier.
    """

    operations: tuple[Operation, ...]
    widths: tuple[int, ...]
    output: ValueTuple

    @property
    def has_own(self) -> bool:
        """Whether an operation is a user's own, for which there are no compiled kernels."""
        return any(operation.kind == OWN for operation in self.operations)


def network_graph(genotype: Genotype, plan: Blueprint) -> NetworkGraph:
    """Lay a network out flat.

    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
        UsageError: an own primitive that is not known to this process.
    """
    builder = _Builder(genotype)
    values: ValueTuple = ()
    for layer in plan.layers:
        values = builder.layer(layer, values)
    return NetworkGraph(tuple(builder.operations), tuple(builder.widths), values)


class _Builder:
    def __init__(self, genotype: Genotype) -> None:
        self.levels, self.primitives = live_levels(genotype), genotype.primitives
        if self.levels[-1][0] is None:
            raise GenotypeError("the cell's sink cannot be reached from its source, so that there is no network to build")
        self.operations: list[Operation] = []
        self.widths: list[int] = []
        self.pooled: dict[tuple[str, int], int] = {}  # pools have no weights, so equal ones are one

    def layer(self, layer: Convolution | Cell | Separable, values: ValueTuple) -> ValueTuple:
        """Append the operations of a layer that reads `values`; the values that it emits."""
        if isinstance(layer, Convolution):
            inputs = values or (self._value(layer.c_in),)
            return self._weighted(STEM, inputs, (layer.c_out,), layer.name, layer.stride)
        if isinstance(layer, Separable):
            return self._separable(values, layer.name, layer.c_out, layer.stride)
        return self._assemble(len(self.levels) + 1, 1, layer.name, values, layer.channels)

    def _assemble(self, level: int, m: int, path: str, values: ValueTuple, C: int) -> ValueTuple:
        motif = self.levels[level - 2][m - 1]
        if not isinstance(motif, LiveMotif):
            raise GenotypeError(f"motif {m} of level {level} has no path from its source to its sink")
        nodes = {1: values}
        for i in motif.nodes[1:]:
            nodes[i] = ()
            for j, k in motif.inputs(i):
                nodes[i] += self._operation(level, k, f"{path}.edges.{j}_{i}", nodes[j], C)
        return nodes[motif.nodes[-1]]

    def _operation(self, level: int, k: int, path: str, values: ValueTuple, C: int) -> ValueTuple:
        if level > 3:
            return self._assemble(level - 1, k, path, values, C)
        if level == 3:
            inside = self._assemble(2, k, f"{path}.graph", values, C)
            return self._weighted(PRODUCT, inside, (C,), f"{path}.project")
        name = self.primitives[k - 1]
        if name == IDENTITY:
            return values
        if name == CONV1X1:
            return self._weighted(PRODUCT, values, (C,), path)
        if name == DEPTHWISE3X3:
            return self._depthwise(values, path)
        if name == SEPARABLE3X3:
            return self._separable(values, path, C)
        if name in (MAXPOOL3X3, AVGPOOL3X3):
            return self._pool(MAXPOOL if name == MAXPOOL3X3 else AVGPOOL, values)
        width = own_primitive(name).width(sum(self.widths[v] for v in values), C)
        return self._weighted(OWN, values, (width,), path)

    def _separable(self, values: ValueTuple, path: str, c_out: int, stride: int = 1) -> ValueTuple:
        return self._weighted(PRODUCT, self._depthwise(values, f"{path}.depthwise", stride), (c_out,), f"{path}.pointwise")

    def _depthwise(self, values: ValueTuple, path: str, stride: int = 1) -> ValueTuple:
        return self._weighted(DEPTHWISE, values, tuple(self.widths[v] for v in values), path, stride)

    def _pool(self, kind: str, values: ValueTuple) -> ValueTuple:
        missing = tuple(v for v in dict.fromkeys(values) if (kind, v) not in self.pooled)
        if missing:
            outputs = tuple(self._value(self.widths[v]) for v in missing)
            self.operations.append(Operation(kind, missing, outputs))
            self.pooled.update({(kind, v): out for v, out in zip(missing, outputs, strict=True)})
        return tuple(self.pooled[kind, v] for v in values)

    def _weighted(self, kind: str, inputs: ValueTuple, widths: tuple[int, ...], path: str, stride: int = 1) -> ValueTuple:
        outputs = tuple(self._value(width) for width in widths)
        self.operations.append(Operation(kind, inputs, outputs, path, stride))
        return outputs

    def _value(self, width: int) -> int:
        self.widths.append(width)
        return len(self.widths) - 1
