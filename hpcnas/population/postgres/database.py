"""The tables of one run in PostgreSQL: transactions over one connection, and the version of their schema.

Each run has a schema of its own, named by its id, so that many runs may share one database.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population.postgres.connection import LostPopulation, PostgresLink
from hpcnas.population.run_id import read_or_create_run_id
from hpcnas.population.statements import load_statements, read_sql
from hpcnas.population.text import clean
from hpcnas.population.transaction import Database, Row, Transaction
from hpcnas.run_folder import RunFolder

T = TypeVar("T")
SCHEMA_VERSION = 3


class PostgresDatabase(Database):
    """Runs work in transactions of one link."""

    def __init__(self, link: PostgresLink) -> None:
        """Connects with the first call."""
        self._link = link
        self._lock = threading.RLock()

    def keep_connection(self) -> None:
        """Keep the connection open between calls from now on."""
        self._link.keeps = True

    def do(self, work: Callable[[Transaction], T], *, locks: bool = False, repeatable: bool = True) -> T:
        """One transaction; while it `locks`, no other head can begin."""
        with self._lock:
            return self._link.call(lambda connection: work(_PostgresTransaction(connection, locks)), repeatable=repeatable)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
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


def open_link(folder: RunFolder, config: RunConfig) -> PostgresLink:
    """The way to the schema of the run of `folder`; connects with the first call.

    Raises:
        UsageError: the connection string is none.
    """
    try:
        values = psycopg.conninfo.conninfo_to_dict(config.store)
        ports = [int(port) for port in str(values.get("port") or 5432).split(",")]
    except (psycopg.Error, ValueError):
        ports = [0]
    if not all(0 < port < 65536 for port in ports):
        # The string may hold a password, so neither it nor the library's error is shown.
        raise UsageError("--store is no connection string; give postgresql://USER@HOST:PORT/DATABASE")
    return PostgresLink(config.store, schema_name(read_or_create_run_id(folder)))


def check_version(link: PostgresLink) -> None:
    """Check that the schema is one that this hpcnas can read, as that of 0.1.0 is.

    Raises:
        DamagedRunError: there is none, or a newer hpcnas wrote it.
        StoreUnavailable: the server does not answer.
    """
    link.call(_read_version)


def migrate(link: PostgresLink) -> None:
    """Bring the tables of an older schema up to the current one, all or nothing; the errors are those of `check_version`."""
    if link.call(_read_version) < SCHEMA_VERSION:
        link.call(_migrate)


def _migrate(connection: psycopg.Connection[Any]) -> None:
    connection.execute("LOCK TABLE run IN ACCESS EXCLUSIVE MODE")  # another process that opens the run may be here, too
    for step in range(_read_version(connection), SCHEMA_VERSION):
        connection.execute(read_sql("postgres", f"migrate_{step}_to_{step + 1}.sql"))


def _read_version(connection: psycopg.Connection[Any]) -> int:
    rows = connection.execute("SELECT schema_version FROM run").fetchall()
    if not rows:
        raise LostPopulation("the run's schema in PostgreSQL has no run row")
    version = int(rows[0][0])
    if version > SCHEMA_VERSION:
        raise DamagedRunError(
            f"the population was written by a newer hpcnas (schema {version}, this one reads {SCHEMA_VERSION})"
        )
    return version
