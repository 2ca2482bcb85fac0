"""Chooses the evaluator that `--fitness` names, and calls a user's function.

torch is imported only when a genotype is really trained, so that a worker with synthetic fitness starts at once.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping

from hpcnas.config import RecipeConfig
from hpcnas.errors import UsageError
from hpcnas.records import FailureKind, Fitness
from hpcnas.representation.genotype import Genotype
from hpcnas.system.own_code import FUNCTION_FORM, import_own_function
from hpcnas.training.fitness.evaluator import EvaluationFailed, Evaluator, ProgressCallback, share_of


class FunctionEvaluator:
    """Calls a user's function f(genotype, repeat=, seed=, progress=) -> accuracy in [0, 1]."""

    at_once = 1

    def __init__(self, function: Callable[..., float], name: str) -> None:
        self._function = function
        self._name = name

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: ProgressCallback) -> Iterator[Fitness]:
        """Call the function for each repeat, see `Evaluator.evaluate`; an exception of its own goes through."""
        for done, (repeat, seed) in enumerate(seeds.items()):
            start = time.perf_counter()
            share = share_of(progress, done, len(seeds))
            accuracy = self._function(genotype, repeat=repeat, seed=seed, progress=share)
            self._check(accuracy)
            # A function need not report by itself; without any progress its lease would count as stalled.
            share(1.0)
            yield Fitness(repeat, float(accuracy), seed, steps=0, seconds=time.perf_counter() - start)

    def _check(self, accuracy: object) -> None:
        expected = "a fitness function must return a number from 0 to 1"
        # numpy's and torch's numbers have __float__, too. True is an int: a comparison by mistake would be the best fitness.
        if isinstance(accuracy, bool) or not hasattr(accuracy, "__float__"):
            raise EvaluationFailed(FailureKind.CRASH, f"{self._name} returned {accuracy!r}; {expected}")
        if not math.isfinite(float(accuracy)):
            raise EvaluationFailed(FailureKind.NOT_A_NUMBER, f"{self._name} returned {accuracy!r}; {expected}")
        if not 0 <= float(accuracy) <= 1:
            raise EvaluationFailed(FailureKind.CRASH, f"{self._name} returned {accuracy!r}; {expected}")


def load_evaluator(recipe: RecipeConfig, *, device: str = "auto", is_gpu_optional: bool = False) -> Evaluator:
    """The evaluator that `recipe.fitness` names: train, synthetic[:SECONDS] or PACKAGE.MODULE:FUNCTION.

    Args:
        device: auto (CUDA where there is one), cpu, cuda or cuda:N; only `train` looks at it.
        is_gpu_optional: train on the CPU although this process was given a GPU that cannot be seen.
    Raises:
        UsageError: a name that is none of these, or a function that cannot be imported.
        DataError: for `train`, a data set that is missing or damaged.
        UnfitHostError: for `train`, a GPU that cannot be seen.
    """
    if recipe.fitness == "train":
        from hpcnas.training.fitness.trained import training_evaluator

        return training_evaluator(recipe, device=device, is_gpu_optional=is_gpu_optional)
    if recipe.fitness.partition(":")[0] == "synthetic":
        from hpcnas.training.fitness.synthetic import SyntheticEvaluator

        return SyntheticEvaluator(synthetic_seconds(recipe.fitness))
    return FunctionEvaluator(_import_function(recipe.fitness), recipe.fitness)


def check_fitness(fitness: str) -> None:
    """Check that `--fitness` can be loaded, without loading data or torch.

    Raises:
        UsageError: as for `load_evaluator`.
    """
    if fitness.partition(":")[0] == "synthetic":
        synthetic_seconds(fitness)
    elif fitness != "train":
        _import_function(fitness)


def synthetic_seconds(fitness: str) -> float:
    """SECONDS of `synthetic:SECONDS`, the time that the repeats of one genotype pretend to take together; 0 when left out.

    Raises:
        UsageError: not a finite number of at least 0.
    """
    text = fitness.partition(":")[2]
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"--fitness {fitness} must be synthetic or synthetic:SECONDS with SECONDS at least 0")
    return seconds


def _import_function(name: str) -> Callable[..., float]:
    module, _, function = name.partition(":")
    if not module or not function:
        raise UsageError(f"--fitness {name} is unknown; give train, synthetic[:SECONDS] or {FUNCTION_FORM}")
    return import_own_function("--fitness", name, "f(genotype, repeat=, seed=, progress=)")
