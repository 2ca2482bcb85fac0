"""An engine trains the repeats of one genotype."""

import logging
from collections.abc import Iterator, Mapping
from typing import Protocol

import torch

from hpcnas.config import RecipeConfig
from hpcnas.errors import UsageError
from hpcnas.networks.gpu.support import reason_against
from hpcnas.records import Fitness
from hpcnas.representation.genotype import Genotype
from hpcnas.training.data.datasets import Dataset
from hpcnas.training.fitness.evaluator import Progress

log = logging.getLogger(__name__)


class Engine(Protocol):
    """Trains the repeats of one genotype to their validation accuracies.

    Attributes:
        at_once: see `Evaluator`.
    """

    @property
    def at_once(self) -> int:
        """See the class."""
        ...

    def train(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: Progress) -> Iterator[Fitness]:
        """Train and evaluate the repeats in `seeds`; arguments, result and errors are those of `Evaluator.evaluate`."""
        ...


def make_engine(recipe: RecipeConfig, data: Dataset, device: torch.device) -> Engine:
    """The engine for `device`: all repeats together where the GPU's kernels can run, else one after the other."""
    reason = reason_against(device, recipe.precision)
    if not reason:
        from hpcnas.training.fitness.together import TogetherEngine

        return TogetherEngine(recipe, data, device)
    if device.type == "cuda":
        log.warning("repeats are trained one after the other, which takes several times as long: %s", reason)
    from hpcnas.training.fitness.repeats import RepeatsEngine

    return RepeatsEngine(recipe, data, device)


def choose_device(device: str) -> torch.device:
    """The device of `--device`: auto takes the GPU where there is one.

    Raises:
        UsageError: cuda was asked for and there is none, or the name is unknown.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"--device {device} is unknown; choose auto, cpu, cuda or cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {device} is not supported; choose auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch finds no CUDA device here; choose cpu or auto")
    return chosen
