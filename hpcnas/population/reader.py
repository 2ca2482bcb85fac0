"""Read-only access to a run's database: retries what passes, changes nothing."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, TypeVar

from hpcnas.population.transaction import Row

T = TypeVar("T")


class Query(Protocol):
    """All rows of a named query."""

    def __call__(self, statement: str, **values: object) -> list[Row]:
        """The rows, with `values` in the places that the statement names."""


class Reader(ABC):
    """Named queries, each by itself or several of one moment."""

    @abstractmethod
    def together(self, work: Callable[[Query], T]) -> T:
        """Run the queries that `work` makes inside one transaction: what is written meanwhile appears in none of them.

        Args:
            work: may run again from the start, when the database was busy.
        """

    def rows(self, statement: str, **values: object) -> list[Row]:
        """All rows of a named query."""
        return self.together(lambda query: query(statement, **values))

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""
