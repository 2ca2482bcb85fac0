"""The network that a genotype builds, reduced to what is computed: its operators and what each reads.

An operator is a primitive other than identity, or the 1x1 convolution after each motif of level 2 (which is the
same primitive). It reads one tensor: the concatenation of the outputs of other operators and of the cell's input.
Identity computes nothing, so it is no operator; a node that only hands its input on vanishes.
"""

from dataclasses import dataclass

from hpcnas.errors import GenotypeError
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels
from hpcnas.representation.primitives import CONV1X1, IDENTITY, NONE, PRIMITIVES

_LABELS = {name: label for label, name in enumerate((NONE, *PRIMITIVES))}


@dataclass(frozen=True, slots=True)
class OperatorGraph:
    """Operators 1..n of the live network, each after those that it reads; 0 stands for the cell's input.

    Attributes:
        labels: of each operator the place of its primitive among the paper's, from 1, then among `names`; labels[0] is 0.
        names: the primitives of a user's own that occur, by name.
        reads: the tensor, an index into `tensors`, that each operator reads; reads[0] is meaningless.
        tensors: what each tensor concatenates, ascending, an operator as often as its channels occur.
        output: the tensor that leaves the cell.
    """

    labels: tuple[int, ...]
    reads: tuple[int, ...]
    tensors: tuple[tuple[int, ...], ...]
    output: int
    names: tuple[str, ...] = ()


def operator_graph(genotype: Genotype) -> OperatorGraph:
    """Expand every use of every motif, primitives and their wiring alone.

    Raises:
        GenotypeError: the cell's sink cannot be reached, so that there is no network.
    """
    levels = live_levels(genotype)
    if levels[-1][0] is None:
        raise GenotypeError("the sink of the cell cannot be reached from its source, so the genotype builds no network")
    builder = _Builder(levels, genotype.primitives)
    output = builder.tensor(builder.run(len(levels) + 1, levels[-1][0], (0,)))
    labels, names = builder.labelled()
    return OperatorGraph(labels, tuple(builder.reads), tuple(builder.tensors), output, names)


class _Builder:
    def __init__(self, levels: tuple[tuple[LiveMotif | None, ...], ...], primitives: tuple[str, ...]) -> None:
        self.levels, self.primitives = levels, primitives
        self.operations = [NONE]  # of each operator, its primitive
        self.reads = [0]
        self.tensors: dict[tuple[int, ...], int] = {(0,): 0}

    def tensor(self, parts: tuple[int, ...]) -> int:
        """The number of the tensor that concatenates these operators; equal ones have one number."""
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
            name = self.primitives[k - 1]
            return source if name == IDENTITY else self.operator(name, source)
        motif = self.levels[level - 2][k - 1]
        assert motif is not None, "a live edge carries a live motif"
        output = self.run(level, motif, source)
        return self.operator(CONV1X1, output) if level == 2 else output

    def operator(self, name: str, source: tuple[int, ...]) -> tuple[int]:
        """Append an operator that reads the operators of `source`; its number, alone in a tuple."""
        self.operations.append(name)
        self.reads.append(self.tensor(source))
        return (len(self.operations) - 1,)

    def labelled(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """`labels` and `names` of the graph: numbers that no other primitive of the genotype's pool has a part in."""
        if self.primitives == PRIMITIVES:
            return tuple([_LABELS[name] for name in self.operations]), ()
        names = tuple(sorted(set(self.operations) - set(_LABELS)))
        labels = _LABELS | {name: len(_LABELS) + place for place, name in enumerate(names)}
        return tuple([labels[name] for name in self.operations]), names
