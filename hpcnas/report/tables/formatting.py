"""The values that a report shows, each with its spread and number where there is one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MISSING = "-"


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing.

    Attributes:
        std: sample standard deviation; None for a single measurement, or where nothing is known of it.
        n: how many measurements, at least 1.
    """

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """Mean, sample standard deviation and n of `values`; None when there are none."""
        numbers = list(values)
        if not numbers:
            return None
        n = len(numbers)
        mean = math.fsum(numbers) / n
        if n == 1:
            return cls(mean, None, 1)
        # statistics.stdev reckons with fractions, which is 20 times slower for a population of 100,000
        return cls(mean, math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (n - 1)), n)

    def scaled(self, factor: float) -> "Spread":
        """In another unit, such as percent of a share."""
        return Spread(self.mean * factor, None if self.std is None else self.std * factor, self.n)

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.mean:.2f}{spread} ({self.n})"


@dataclass(frozen=True, slots=True)
class TopErrors:
    """ImageNet's two errors in percent; top5 may be unknown. n: how many trainings they are the mean of."""

    top1: float
    top5: float | None
    n: int = 1

    def __str__(self) -> str:
        pair = f"{self.top1:.1f}/{MISSING if self.top5 is None else f'{self.top5:.1f}'}"
        return f"{pair} ({self.n})"


def short_count(number: float) -> str:
    """A number of parameters as papers write it: 4,394, 535K, 15.7M."""
    if number < 10_000:
        return f"{number:,.0f}"
    if number < 999_500:
        return f"{number / 1e3:.0f}K"
    return f"{number / 1e6:.{1 if number < 99.95e6 else 0}f}M"


def short_hours(hours: float) -> str:
    """Hours with two significant digits or more: 0.0042, 0.52, 12.3, 7,000; below 3.6 s: <0.001."""
    if hours >= 100:
        return f"{hours:,.0f}"
    if hours >= 1:
        return f"{hours:.1f}"
    return f"{hours:.2g}" if hours >= 0.001 or hours == 0 else "<0.001"


def duration(seconds: float) -> str:
    """Wall time as people say it: 42 s, 3 min 20 s, 5 h 03 min, 1 d 12 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
