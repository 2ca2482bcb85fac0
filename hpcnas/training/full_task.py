"""What is to be trained at full size, and the surroundings, which change nothing about the result."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hpcnas.errors import HpcnasError
from hpcnas.representation.canonical import digest as digest_of
from hpcnas.representation.genotype import Genotype
from hpcnas.training.full_recipe import FullRecipe


class Stopped(HpcnasError):
    """A signal ended the training; its checkpoint is written. The exit code is 128 + the signal's number."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What may differ between a training and its continuation.

    Attributes:
        checkpoint_minutes: between two checkpoints.
        log_s: between two lines of a log.
        loaders: processes per rank that decode images; None: the CPUs given, less one.
        stop_code: 0, or 128 + the number of a signal that asks this process to stop.
        tensorboard: write scalars into the output folder.
        download: whether a missing data set may be fetched.
    """

    checkpoint_minutes: float = 15.0
    log_s: float = 30.0
    loaders: int | None = None
    stop_code: Callable[[], int] = lambda: 0
    tensorboard: bool = False
    download: bool = False


@dataclass(frozen=True)
class Task:
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
