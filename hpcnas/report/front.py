"""Accuracy against size: the genotypes that no other one beats in both."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def front(rows: Iterable[T], size: Callable[[T], float], fitness: Callable[[T], float]) -> list[T]:
    """The rows than which no other is smaller and at least as fit, or as small and fitter, by ascending size.

    Of rows that are equal in both the first one given is kept, so that rows in the order of their ids keep the oldest.
    """
    best: list[T] = []
    for row in sorted(rows, key=lambda one: (size(one), -fitness(one))):  # stable: of equals the first one given leads
        if not best or fitness(row) > fitness(best[-1]):
            best.append(row)
    return best
