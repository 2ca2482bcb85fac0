"""Estimates how long one fitness of the paper's recipe takes here, from two short trainings of each genotype."""

import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

import torch

from hpcnas.benchmarks.genotypes import PUBLISHED, is_flat
from hpcnas.config import RecipeConfig
from hpcnas.representation.genotype import Genotype
from hpcnas.training.data.datasets import Dataset, Images
from hpcnas.training.fitness.trained import make_engine

WARM_UP, SHORT, LONG = 10, 100, 300  # steps


def measure_fitness(genotypes: Mapping[str, Genotype], device: torch.device) -> dict[str, float]:
    """Seconds of one fitness of each genotype, 4 x 5000 steps, from the difference of a longer and a shorter training.

    Source: Liu et al. 2018, section 4.1.
    """
    data = noise(40_000, 10_000)
    return {name: _extrapolated(genotype, data, device) for name, genotype in genotypes.items()}


def summarise_fitness(seconds: Mapping[str, float]) -> dict[str, float]:
    """fitness_s_median over the hierarchical genotypes but the paper's, and fitness_s_published; each where measured."""
    hierarchical = [value for name, value in seconds.items() if name != PUBLISHED and not is_flat(name)]
    found = {"fitness_s_median": median(hierarchical)} if hierarchical else {}
    return found | ({"fitness_s_published": seconds[PUBLISHED]} if PUBLISHED in seconds else {})


def _extrapolated(genotype: Genotype, data: Dataset, device: torch.device) -> float:
    _training_s(genotype, WARM_UP, data, device)  # compiles and tunes what is new to this genotype
    fixed = _training_s(genotype, SHORT, data, device)
    more = _training_s(genotype, LONG, data, device)
    # The difference of both lengths holds the steps alone: building, capture and evaluation are in both once.
    return fixed + (more - fixed) / (LONG - SHORT) * (RecipeConfig().train_steps - SHORT)


def _training_s(genotype: Genotype, steps: int, data: Dataset, device: torch.device) -> float:
    recipe = replace(RecipeConfig(), train_steps=steps)
    engine = make_engine(recipe, data, device)
    start = time.perf_counter()
    list(engine.evaluate(genotype, dict.fromkeys(range(recipe.repeats), 1), progress=lambda share: None))
    return time.perf_counter() - start


def noise(train: int, validation: int) -> Dataset:
    """A data set of so many images of CIFAR-10's size; what they show changes no time."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> Images:
        pixels = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
        return Images(pixels, torch.randint(0, 10, (count,), generator=generator))

    return Dataset("noise", 10, images(train), images(validation), (0.5,) * 3, (0.29,) * 3)
