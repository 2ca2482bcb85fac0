"""A fitness function that really trains, on the CPU: `train` refuses the pretended GPUs of these nodes."""

from collections.abc import Callable
from functools import cache

from hpcnas.config import RecipeConfig
from hpcnas.representation.genotype import Genotype
from hpcnas.training.fitness.evaluator import Evaluator
from hpcnas.training.fitness.trained import training_evaluator

RECIPE = RecipeConfig(dataset="digits", train_steps=4, crop=8, batch=32, repeats=1, channels=2)


def on_digits(genotype: Genotype, *, repeat: int, seed: int, progress: Callable[[float], None]) -> float:
    """The accuracy after four steps."""
    [fitness] = _evaluator().evaluate(genotype, {repeat: seed}, progress=progress)
    return fitness.accuracy


@cache
def _evaluator() -> Evaluator:
    return training_evaluator(RECIPE, device="cpu")
