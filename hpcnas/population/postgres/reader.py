# ruff: noqa: D102  (the base class documents every method)
"""Read-only access to a run in PostgreSQL."""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from hpcnas.config import RunConfig
from hpcnas.population.postgres.database import check_version, open_link
from hpcnas.population.reader import Query, Reader
from hpcnas.population.statements import load_statements
from hpcnas.run_folder import RunFolder

T = TypeVar("T")


class PostgresReader(Reader):
    """Read-only queries over one connection, which stays open until `close`."""

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        """Open and check.

        Raises:
            DamagedRunError: the database has no population of this run.
            StoreUnavailable: the server does not answer.
        """
        self._link = open_link(folder, config)
        self._link.keeps = True
        self._statements = load_statements("postgres")
        try:
            check_version(self._link)
        except BaseException:
            self._link.close()
            raise

    def together(self, work: Callable[[Query], T]) -> T:
        def read(connection: psycopg.Connection[Any]) -> T:
            connection.read_only, connection.isolation_level = True, psycopg.IsolationLevel.REPEATABLE_READ
            return work(lambda statement, **values: connection.execute(self._statements[statement], values).fetchall())

        return self._link.call(read)

    def close(self) -> None:
        self._link.close()
