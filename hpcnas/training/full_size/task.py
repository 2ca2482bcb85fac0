"""A training at full size, and its surroundings, which do not change the result."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hpcnas.representation.canonical import digest as digest_of
from hpcnas.representation.genotype import Genotype
from hpcnas.training.full_size.recipe import FullRecipe


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options that may differ between a training and its continuation.

    Attributes:
        checkpoint_minutes: between two checkpoints.
        log_s: between two lines of a log.
        loaders: processes per rank that decode images; None: the CPUs given, less one.
        stop_code: 0, or 128 + the number of a signal that asks this process to stop.
        preparing: while it is entered nothing is to be saved, and a signal may raise StoppedBySignal anywhere.
        tensorboard: write scalars into the output folder.
        download: whether a missing data set may be fetched.
        compile: whether torch.compile is tried on the network.
    """

    checkpoint_minutes: float = 15.0
    log_s: float = 30.0
    loaders: int | None = None
    stop_code: Callable[[], int] = lambda: 0
    preparing: Callable[[], AbstractContextManager[None]] = nullcontext
    tensorboard: bool = False
    download: bool = False
    compile: bool = False


@dataclass(frozen=True)
class TrainingTask:
    """One run of one genotype.

    Attributes:
        folder: output folder on a disk that all ranks see; restarted with the same one, the training goes on.
        individual_id: in the population; None for a genotype from elsewhere.
    """

    genotype: Genotype
    recipe: FullRecipe
    run: int
    folder: Path
    individual_id: int | None = None

    @cached_property
    def digest(self) -> str:
        """Of the genotype."""
        return digest_of(self.genotype)

    @property
    def seed(self) -> int:
        """Of this run."""
        return self.recipe.run_seed(self.digest, self.run)
