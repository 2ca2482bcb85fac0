"""The view of a database that the rules of the leases have: named statements inside one transaction, and their source."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

from hpcnas.population.rules import LeaseState
from hpcnas.records import State

T = TypeVar("T")
Row = tuple[Any, ...]
_COLUMNS = tuple(field.name for field in fields(LeaseState))  # in the order of the statement read_lease_state
_LAPSED = _COLUMNS.index("lapsed")
_read_columns = attrgetter(*_COLUMNS)


class Transaction(ABC):
    """One transaction: all of it becomes durable, or none.

    Attributes:
        epoch, draining, finished: the run's flags as this transaction sees them.
    """

    epoch: int
    draining: bool
    finished: bool

    @abstractmethod
    def rows(self, statement: str, **values: object) -> list[Row]:
        """All rows of a named query."""

    @abstractmethod
    def run(self, statement: str, **values: object) -> int:
        """Execute a named statement; the number of rows it changed. `:now` is given by the store's clock."""

    def row(self, statement: str, **values: object) -> Row | None:
        """The first row of a named query, or None."""
        rows = self.rows(statement, **values)
        return rows[0] if rows else None

    def value(self, statement: str, **values: object) -> Any:
        """The first column of the first row.

        Raises:
            LookupError: no row.
        """
        row = self.row(statement, **values)
        if row is None:
            raise LookupError(f"{statement} gave no row")
        return row[0]

    def read_lease_state(self, individual_id: int) -> LeaseState | None:
        """The lease columns of an individual, locked until the transaction ends; None if there is none of that id."""
        row = self.row("read_lease_state", id=individual_id)
        if row is None:
            return None
        values: Row = (State(row[0]), *row[1:_LAPSED], bool(row[_LAPSED]), *row[_LAPSED + 1 :])
        return LeaseState(*values)

    def write_lease_state(self, individual_id: int, lease_state: LeaseState) -> None:
        """Put one arrow of the lease table into the row."""
        values = dict(zip(_COLUMNS, _read_columns(lease_state), strict=True))
        # The column is an integer, as SQLite has no booleans.
        values["state"], values["lapsed"] = lease_state.state.value, int(lease_state.lapsed)
        self.run("write_lease_state", id=individual_id, **values)

    def note(self, kind: str, details: Mapping[str, object]) -> None:
        """Append to the event log."""
        self.run("insert_event", kind=kind, details=json.dumps(dict(details), default=str))


class Database(ABC):
    """The database of a store's tables. Any thread may call; calls take turns."""

    @abstractmethod
    def do(self, work: Callable[[Transaction], T], *, locks: bool = False, repeatable: bool = True) -> T:
        """Run `work` in one transaction, durable when this returns, taken back when it raises.

        Args:
            locks: no other head may begin before the transaction ends.
            repeatable: a second run after a commit whose outcome is unknown gives the same answer.

        Raises:
            DamagedRunError: the database is damaged.
            StoreUnavailable: it cannot be reached, or refuses for reasons that pass; nothing of the work counts.
        """

    def batch(self) -> AbstractContextManager[None]:
        """One durable transaction over all the work inside, where a database can."""
        return nullcontext()

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files."""
