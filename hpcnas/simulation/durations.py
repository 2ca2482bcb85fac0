"""The time to evaluate a genotype: a stated distribution, or the times of a run."""

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from hpcnas.errors import UsageError

Durations: TypeAlias = Callable[[Random], float]  # seconds of one genotype, all its repeats
FORMS = "constant:SECONDS, lognormal:MEDIAN,SIGMA, exponential:MEAN or history"


def parse_durations(text: str) -> Durations:
    """The distribution that `--duration` names: constant:SECONDS, lognormal:MEDIAN,SIGMA or exponential:MEAN.

    Raises:
        UsageError: another name, not its numbers, or numbers out of range.
    """
    name, _, given = text.partition(":")
    try:
        numbers = [float(number) for number in given.split(",")]
    except ValueError:
        numbers = []
    expected = {"constant": 1, "lognormal": 2, "exponential": 1}.get(name)
    if len(numbers) != expected or not all(0 < number < math.inf for number in numbers):
        raise UsageError(f"--duration {text} is unknown; give {FORMS}, numbers above 0, as lognormal:3600,0.4")
    if name == "constant":
        return lambda rng: numbers[0]
    if name == "exponential":
        return lambda rng: rng.expovariate(1 / numbers[0])
    return lambda rng: rng.lognormvariate(math.log(numbers[0]), numbers[1])


def from_history(seconds: Sequence[float]) -> Durations:
    """Draw from the durations of genotypes that were evaluated, each as likely.

    Raises:
        UsageError: there are none.
    """
    known = [value for value in seconds if value > 0]
    if not known:
        raise UsageError("the run has no evaluated genotype to take durations from; give --duration lognormal:3600,0.4")
    return lambda rng: rng.choice(known)
