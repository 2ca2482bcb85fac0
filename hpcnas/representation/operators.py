"""The network that a genotype builds, reduced to what is computed: its operators and what each reads.

An operator is a primitive other than identity, or the 1x1 convolution after each motif of level 2 (which is the
same primitive). It reads one tensor: the concatenation of the outputs of other operators and of the cell's input.
Identity computes nothing, so it is no operator; a node that only hands its input on vanishes.
"""

from dataclasses import dataclass

from hpcnas.errors import GenotypeError
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels
from hpcnas.representation.primitives import CONV1X1, IDENTITY, PRIMITIVES

_IDENTITY = PRIMITIVES.index(IDENTITY) + 1
_CONV1X1 = PRIMITIVES.index(CONV1X1) + 1


@dataclass(frozen=True, slots=True)
class OperatorGraph:
    """Operators 1..n of the live network, each after those that it reads; 0 stands for the cell's input.

    Attributes:
        labels: the primitive k of each operator; labels[0] is 0.
        reads: the tensor, an index into `tensors`, that each operator reads; reads[0] is meaningless.
        tensors: what each tensor concatenates, ascending, an operator as often as its channels occur.
        output: the tensor that leaves the cell.
    """

    labels: tuple[int, ...]
    reads: tuple[int, ...]
    tensors: tuple[tuple[int, ...], ...]
    output: int


def operator_graph(genotype: Genotype) -> OperatorGraph:
    """Expand every use of every motif, primitives and their wiring alone.

    Raises:
        GenotypeError: the cell's sink cannot be reached, so that there is no network.
    """
    levels = live_levels(genotype)
    if levels[-1][0] is None:
        raise GenotypeError("the sink of the cell cannot be reached from its source, so the genotype builds no network")
    builder = _Builder(levels)
    output = builder.tensor(builder.run(len(levels) + 1, levels[-1][0], (0,)))
    return OperatorGraph(tuple(builder.labels), tuple(builder.reads), tuple(builder.tensors), output)


class _Builder:
    def __init__(self, levels: tuple[tuple[LiveMotif | None, ...], ...]) -> None:
        self.levels = levels
        self.labels = [0]
        self.reads = [0]
        self.tensors: dict[tuple[int, ...], int] = {(0,): 0}

    def tensor(self, parts: tuple[int, ...]) -> int:
        return self.tensors.setdefault(parts, len(self.tensors))

    def run(self, level: int, motif: LiveMotif, source: tuple[int, ...]) -> tuple[int, ...]:
        """The operators that the sink of a motif of `level` concatenates when its source is given."""
        nodes: dict[int, list[int]] = {i: [] for i in motif.nodes}
        nodes[motif.nodes[0]].extend(source)
        for j, i, k in motif.edges:  # ascending i: node j is complete
            nodes[i].extend(self.apply(level - 1, k, tuple(sorted(nodes[j]))))
        return tuple(sorted(nodes[motif.nodes[-1]]))

    def apply(self, level: int, k: int, source: tuple[int, ...]) -> tuple[int, ...]:
        """The outputs of operation k of `level`, 1 for a primitive."""
        if level == 1:
            return source if k == _IDENTITY else self.operator(k, source)
        motif = self.levels[level - 2][k - 1]
        assert motif is not None, "a live edge carries a live motif"
        output = self.run(level, motif, source)
        return self.operator(_CONV1X1, output) if level == 2 else output

    def operator(self, label: int, source: tuple[int, ...]) -> tuple[int]:
        self.labels.append(label)
        self.reads.append(self.tensor(source))
        return (len(self.labels) - 1,)
