"""A fitness without training, for trying out clusters, heads and searches in seconds. No torch.

The accuracy is made up: a fixed function of the network, plus noise. The function reads the operator graph, so
equal networks are equally fit. It rewards properties that tend to help in real networks. It says nothing about
architectures; reports that use it say that they are synthetic.
"""

import math
import time
from collections.abc import Iterator, Mapping
from random import Random

from hpcnas.records import Fitness
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.operators import OperatorGraph, operator_graph
from hpcnas.representation.primitives import (
    AVGPOOL3X3,
    CONV1X1,
    DEPTHWISE3X3,
    MAX_PRIMITIVES,
    MAXPOOL3X3,
    PRIMITIVES,
    SEPARABLE3X3,
)
from hpcnas.training.fitness.evaluator import ProgressCallback

NOISE = 0.002  # standard deviation of one training setup, section 4.2
_REPORT_S = 0.1
_CONV1X1, _DEPTHWISE, _SEPARABLE, _MAX, _AVG = (
    PRIMITIVES.index(name) + 1 for name in (CONV1X1, DEPTHWISE3X3, SEPARABLE3X3, MAXPOOL3X3, AVGPOOL3X3)
)
_OWN = tuple(range(len(PRIMITIVES) + 1, len(PRIMITIVES) + 1 + MAX_PRIMITIVES))  # as if they were learned 3x3 convolutions
_DEEP = (_DEPTHWISE, _SEPARABLE, *_OWN)
_SPATIAL = (*_DEEP, _MAX, _AVG)
_LEARNED = (*_DEEP, _CONV1X1)


class SyntheticEvaluator:
    """Gives every genotype its synthetic fitness at once, or as slowly as training would.

    Args:
        seconds: wall time that all repeats of one genotype take together.
    """

    at_once = 1

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: ProgressCallback) -> Iterator[Fitness]:
        """Give the repeats their synthetic accuracies one after the other, see `Evaluator.evaluate`.

        Raises:
            GenotypeError: the genotype builds no network.
        """
        accuracy = expected_accuracy(genotype)
        each_s = self._seconds / max(1, len(seeds))
        for done, (repeat, seed) in enumerate(seeds.items()):
            start = time.monotonic()
            while (elapsed_s := time.monotonic() - start) < each_s:
                progress((done + elapsed_s / each_s) / len(seeds))
                time.sleep(min(_REPORT_S, each_s - elapsed_s))
            progress((done + 1) / len(seeds))
            noisy = Random(seed).gauss(accuracy, NOISE)
            yield Fitness(repeat, min(1.0, max(0.0, noisy)), seed, 0, time.monotonic() - start, "synthetic")


def expected_accuracy(genotype: Genotype) -> float:
    """The accuracy without noise, from 0.6 to below 0.96.

    0.6 + 0.36 x the geometric mean of four marks from 0 to 1:
    - depth, 1 - exp(-d / 8) for d learned 3x3 convolutions on the longest way from input to output;
    - scales, r / (r + 6) for r different receptive fields at the output;
    - shortcut, 1 / (1 + s / 4) for s learned operators on the shortest way;
    - mixture, exp(-12 (p - 0.15)^2) for a share p of pooling among the operators.

    Raises:
        GenotypeError: the genotype builds no network.
    """
    graph = operator_graph(genotype)
    longest, shortest, fields = _paths(graph)
    pools = sum(label in (_MAX, _AVG) for label in graph.labels)
    marks = (
        1 - math.exp(-(longest + 0.5) / 8),
        fields / (fields + 6),
        1 / (1 + shortest / 4),
        math.exp(-12 * (pools / len(graph.labels) - 0.15) ** 2),
    )
    return 0.6 + 0.36 * math.prod(marks) ** (1 / len(marks))


def _paths(graph: OperatorGraph) -> tuple[int, int, int]:
    """Over all ways from input to output: most learned 3x3, fewest learned operators, different numbers of 3x3."""
    longest, shortest, fields = [0], [0], [1]  # fields: bit n stands for a way through n 3x3 operators
    for label, tensor in zip(graph.labels[1:], graph.reads[1:], strict=True):
        deepest, nearest, union = _merge(graph.tensors[tensor], longest, shortest, fields)
        longest.append(deepest + (label in _DEEP))
        shortest.append(nearest + (label in _LEARNED))
        fields.append(union << (label in _SPATIAL))
    deepest, nearest, union = _merge(graph.tensors[graph.output], longest, shortest, fields)
    return deepest, nearest, union.bit_count()


def _merge(parts: tuple[int, ...], longest: list[int], shortest: list[int], fields: list[int]) -> tuple[int, int, int]:
    deepest, nearest, union = longest[parts[0]], shortest[parts[0]], fields[parts[0]]
    for part in parts[1:]:
        deepest, nearest, union = max(deepest, longest[part]), min(nearest, shortest[part]), union | fields[part]
    return deepest, nearest, union
