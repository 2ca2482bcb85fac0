# ruff: noqa: D102  (store.py documents every method)
"""The population in PostgreSQL: workers speak to the server themselves, rows are claimed with SKIP LOCKED.

Each run has a schema of its own, named by its id, so that many runs may share one database.
"""

import json
import threading
from collections.abc import Callable
from typing import Any, Self, TypeVar

import psycopg
from psycopg import sql

import hpcnas
from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population.postgres.connection import LostPopulation, PostgresLink
from hpcnas.population.reader import Query, Reader
from hpcnas.population.run_id import check_run_id, read_or_create_run_id
from hpcnas.population.sql_store import SQLStore
from hpcnas.population.statements import load_statements, read_sql
from hpcnas.population.text import clean
from hpcnas.population.transaction import Row, Transaction
from hpcnas.run_folder import RunFolder

T = TypeVar("T")
SCHEMA_VERSION = 2


class PostgresStore(SQLStore):
    """A Store in a PostgreSQL database. Any thread may call any method; calls of one instance take turns.

    Connections are short until `begin_epoch`: a head keeps its one, a worker lets go between its messages.
    """

    def __init__(self, link: PostgresLink) -> None:
        """Use `create` or `open`."""
        self._link = link
        self._lock = threading.RLock()
        row = self._read(lambda tx: tx.row("read_run"))
        if row is None:
            raise LostPopulation("the run's schema in PostgreSQL has no run row")
        self.run_id, self.repeats = str(row[0]), int(row[4])

    @classmethod
    def create(cls, folder: RunFolder, config: RunConfig) -> Self:
        """A new, empty population for the run of `folder`.

        Raises:
            UsageError: there is one already, or the connection string is none.
            StoreUnavailable: the server does not answer.
        """
        link = _link(folder, config)
        run_id = read_or_create_run_id(folder)
        try:
            link.call(lambda connection: _create_schema(connection, schema_name(run_id), run_id, config), repeatable=False)
        finally:
            link.close()
        return cls.open(folder, config)

    @classmethod
    def open(cls, folder: RunFolder, config: RunConfig) -> Self:
        """The population of the run of `folder`.

        Raises:
            DamagedRunError: the database has no population of this run, or one of a newer hpcnas.
            StoreUnavailable: the server does not answer.
        """
        link = _link(folder, config)
        try:
            _check_version(link)
            store = cls(link)
            check_run_id(folder, store.run_id, "the schema in PostgreSQL")
        except BaseException:
            link.close()
            raise
        return store

    def keep_connection(self) -> None:
        """Keep the connection open between calls from now on."""
        self._link.keeps = True

    def begin_epoch(self) -> int:
        self.keep_connection()
        return super().begin_epoch()

    def close(self) -> None:
        with self._lock:
            self._link.close()

    def _do(self, work: Callable[[Transaction], T], *, fenced: bool = True, repeatable: bool = True) -> T:
        def run(connection: psycopg.Connection[Any]) -> T:
            tx = _PostgresTransaction(connection, locks=fenced and self.epoch is not None)
            if fenced:
                self._check_epoch(tx)
            return work(tx)

        with self._lock:
            return self._link.call(run, repeatable=repeatable)


class PostgresReader(Reader):
    """Read-only queries, each over a connection that is closed again."""

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        """Open and check.

        Raises:
            DamagedRunError: the database has no population of this run.
            StoreUnavailable: the server does not answer.
        """
        self._link = _link(folder, config)
        self._link.keeps = True
        self._statements = load_statements("postgres")
        try:
            _check_version(self._link)
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


class _PostgresTransaction(Transaction):
    def __init__(self, connection: psycopg.Connection[Any], locks: bool) -> None:
        self._connection = connection
        self._statements = load_statements("postgres")
        flags = self.row("lock_flags" if locks else "read_flags")
        if flags is None:
            raise LostPopulation("the run's schema in PostgreSQL has no run row")
        self.epoch, self.draining, self.finished = int(flags[0]), bool(flags[1]), bool(flags[2])

    def rows(self, statement: str, **values: object) -> list[Row]:
        return self._connection.execute(self._statements[statement], values).fetchall()

    def run(self, statement: str, **values: object) -> int:
        kept = {name: clean(value) if isinstance(value, str) else value for name, value in values.items()}
        return self._connection.execute(self._statements[statement], kept).rowcount


def schema_name(run_id: str) -> str:
    """The schema that holds a run."""
    return f"hpcnas_{run_id[:16]}"


def _link(folder: RunFolder, config: RunConfig) -> PostgresLink:
    try:
        values = psycopg.conninfo.conninfo_to_dict(config.store)
        ports = [int(port) for port in str(values.get("port") or 5432).split(",")]
    except (psycopg.Error, ValueError):
        ports = [0]
    if not all(0 < port < 65536 for port in ports):
        # The string may hold a password, so neither it nor the library's error is shown.
        raise UsageError("--store is no connection string; give postgresql://USER@HOST:PORT/DATABASE")
    return PostgresLink(config.store, schema_name(read_or_create_run_id(folder)))


def _create_schema(connection: psycopg.Connection[Any], schema: str, run_id: str, config: RunConfig) -> None:
    # Two creations at once would race in the catalogue; the second one waits, then finds the schema.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%(schema)s))", {"schema": schema})
    if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s", {"schema": schema}).fetchone():
        raise UsageError(
            f"the database holds a population of this run already (schema {schema}); resume it, or choose another --run"
        )
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute(read_sql("postgres", "schema.sql"))
    values = {"run_id": run_id, "hpcnas": hpcnas.__version__, "config": json.dumps(config.to_dict())}
    connection.execute(load_statements("postgres")["create_run"], {**values, "repeats": config.recipe.repeats})


def _check_version(link: PostgresLink) -> None:
    rows = link.call(lambda connection: connection.execute("SELECT schema_version FROM run").fetchall())
    version = int(str(rows[0][0])) if rows else 0
    if version > SCHEMA_VERSION:
        raise DamagedRunError(
            f"the population was written by a newer hpcnas (schema {version}, this one knows {SCHEMA_VERSION})"
        )
