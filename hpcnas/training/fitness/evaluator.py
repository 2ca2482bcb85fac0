"""The contract of all evaluators, which turn a genotype into accuracies, and their common parts."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from hpcnas.errors import HpcnasError
from hpcnas.records import FailureKind, Fitness
from hpcnas.representation.genotype import Genotype

ProgressCallback = Callable[[float], None]


class Evaluator(Protocol):
    """Gives a genotype its fitness, one accuracy for each repeat.

    Attributes:
        at_once: repeats that end together, at most: an evaluation with less time than they take gives none.
    """

    @property
    def at_once(self) -> int:
        """Repeats that end together, at most."""
        ...

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: ProgressCallback) -> Iterator[Fitness]:
        """Evaluate the repeats in `seeds`.

        Args:
            seeds: the seed of each repeat to do; repeats may be missing that were done before.
            progress: called regularly with the share done, 0 to 1; whatever it raises goes through.
        Yields:
            One Fitness for each repeat as it is finished (all at the end where repeats are trained together).
        Raises:
            EvaluationFailed: a finding about the genotype: out of memory, not a number, not buildable.
        """
        ...


class EvaluationFailed(HpcnasError):
    """A genotype that has no fitness, and why; data about the genotype, not a bug."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def repeat_seed(run_seed: int, genotype_json: str, repeat: int) -> int:
    """The seed of one repeat: 63 bits of SHA-256 over run, genotype and repeat.

    So it needs no state, and a repeat that is done again elsewhere is the same repeat.
    """
    text = f"{run_seed}\n{genotype_json}\n{repeat}"
    # 63 bits, as the integers of the databases have a sign.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def share_of(progress: ProgressCallback, done: int, total: int) -> ProgressCallback:
    """The progress callback of one repeat: its share, from 0 to 1, becomes that of all `total`, of which `done` are done."""
    return lambda share: progress((done + min(max(share, 0.0), 1.0)) / total)
