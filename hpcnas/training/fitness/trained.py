"""Fitness by real training: loads the data set once and chooses the device and the engine (paper section 4.1)."""

import logging

import torch

from hpcnas.config import RecipeConfig
from hpcnas.errors import UnfitHostError, UsageError
from hpcnas.networks.gpu.support import reason_against
from hpcnas.training.data.arrays import check_sizes
from hpcnas.training.data.datasets import Dataset, load_dataset
from hpcnas.training.fitness.evaluator import Evaluator
from hpcnas.training.visible_gpu import explain_missing_gpu

log = logging.getLogger(__name__)


def training_evaluator(recipe: RecipeConfig, *, device: str = "auto", is_gpu_optional: bool = False) -> Evaluator:
    """The evaluator that trains genotypes by the recipe's data set and schedule.

    Raises:
        DataError: the data set is missing or damaged.
        UsageError: the crop is larger than the images, or the device is not there.
        UnfitHostError: this process was given a GPU, none was asked for by name, and torch sees none.
    """
    # A GPU that was given and cannot be seen is a fault of the host: training on the CPU takes hours for each genotype.
    missing = None if is_gpu_optional or device != "auto" else explain_missing_gpu()
    if missing is not None:
        raise UnfitHostError(missing)
    chosen = choose_device(device)
    data = load_dataset(
        recipe.dataset,
        recipe.data,
        split_seed=recipe.split_seed,
        fingerprint=recipe.fingerprint,
        image_px=recipe.image_px,
    )
    check_sizes(recipe.dataset, data.image_px, len(data.train.labels), crop=recipe.crop, batch=recipe.batch)
    return make_engine(recipe, data, chosen)


def make_engine(recipe: RecipeConfig, data: Dataset, device: torch.device) -> Evaluator:
    """The evaluator for `device`: all repeats together where the GPU's kernels can run, else one after the other."""
    reason = reason_against(device, recipe.precision)
    if not reason:
        # Only here: it imports Triton, which machines without a GPU need not have.
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
