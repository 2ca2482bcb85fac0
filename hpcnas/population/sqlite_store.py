# ruff: noqa: D102  (store.py documents every method)
"""The population in one SQLite file, owned by the head."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import hpcnas
from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError, StoreUnavailable, UsageError
from hpcnas.population import seam, sqlite_file
from hpcnas.population.run_id import check_run_id, read_or_create_run_id
from hpcnas.population.sql_store import SQLStore
from hpcnas.population.statements import load_statements
from hpcnas.population.transaction import Row, Transaction
from hpcnas.run_folder import RunFolder

COMMIT_S = 30.0  # rollback-journal modes may answer "locked" to COMMIT itself, as long as somebody reads

T = TypeVar("T")


class SQLiteStore(SQLStore):
    """A Store in RUN/population.db.

    Any thread may call any method; calls take turns. `batch()` makes one durable transaction of many calls.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Callable[[], float] = time.time) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._transaction = _SQLiteTransaction(connection, clock)
        self._depth = 0
        self._broken: HpcnasError | None = None
        with self._begin() as tx:
            row = tx.row("read_run")
            if row is None:
                raise sqlite_file.damaged(path, "it has no run row")
            self.run_id, self.repeats = str(row[0]), int(row[4])

    @classmethod
    def create(cls, folder: RunFolder, config: RunConfig, *, network: bool | None = None) -> "SQLiteStore":
        """A new population in `folder`; the file appears complete or not at all.

        Raises:
            UsageError: there is one already.
        """
        if folder.database.exists():
            raise UsageError(f"{folder.database} exists already; start the same run again, or choose another folder with --run")
        folder.path.mkdir(parents=True, exist_ok=True)
        unfinished = folder.database.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        try:
            connection = sqlite3.connect(unfinished, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous=EXTRA")
                sqlite_file.create_tables(connection)
                values = {"run_id": read_or_create_run_id(folder), "hpcnas": hpcnas.__version__, "now": time.time(),
                          "config": json.dumps(config.to_dict()), "repeats": config.recipe.repeats}  # fmt: skip
                connection.execute(load_statements("sqlite")["create_run"], values)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise sqlite_file.translate(error, folder.database) or error from error
        seam.rename(unfinished, folder.database)
        return cls.open(folder, network=network)

    @classmethod
    def open(cls, folder: RunFolder, *, network: bool | None = None) -> "SQLiteStore":
        """The population of a run.

        Args:
            network: whether to use the journal mode for network file systems; None asks the file system.

        Raises:
            DamagedRunError: missing, damaged, of a newer hpcnas or of another run; the file is left as it is.
            StoreUnavailable: another program holds it for long, or the disk refuses.
        """
        connection = sqlite_file.connect(folder.database, network=network)
        try:
            store = cls(folder.database, connection)
            check_run_id(folder, store.run_id, str(folder.database))
        except BaseException:
            connection.close()
            raise
        return store

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._begin():
            yield

    def close(self) -> None:
        """Close the file. Nothing else may be called afterwards."""
        with self._lock:
            self._connection.close()

    def _do(self, work: Callable[[Transaction], T], *, fenced: bool = True, repeatable: bool = True) -> T:
        with self._begin() as tx:
            if fenced:
                self._check_epoch(tx)
            return work(tx)

    @contextmanager
    def _begin(self) -> Iterator[Transaction]:
        with self._lock:
            if self._depth:
                with self._inner() as tx:
                    yield tx
                return
            with self._translated():
                self._transaction.begin()
                self._depth, self._broken = 1, None
                try:
                    yield self._transaction
                    if self._broken:
                        raise self._broken
                    self._commit()
                except BaseException:
                    self._roll_back()
                    raise
                finally:
                    self._depth = 0

    @contextmanager
    def _inner(self) -> Iterator[Transaction]:
        if self._broken:
            raise self._broken
        self._connection.execute("SAVEPOINT message")
        self._depth += 1
        try:
            with self._translated():
                yield self._transaction
        except BaseException as error:
            if isinstance(error.__cause__, sqlite3.Error) and isinstance(error, HpcnasError):
                self._broken = error  # SQLite may have rolled back everything by itself
            else:
                self._connection.execute("ROLLBACK TO message")
                self._connection.execute("RELEASE message")
            raise
        else:
            self._connection.execute("RELEASE message")
        finally:
            self._depth -= 1

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            translated = sqlite_file.translate(error, self.path)
            if translated is None:
                raise
            raise translated from error

    def _commit(self) -> None:
        deadline = time.monotonic() + COMMIT_S
        while True:
            try:
                return seam.commit(self._connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class _SQLiteTransaction(Transaction):
    """The one transaction of a connection at a time."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._connection, self._clock = connection, clock
        self._statements = load_statements("sqlite")

    def begin(self) -> None:
        """Deferred transactions would meet BUSY in the middle; an immediate one waits at its start."""
        seam.execute(self._connection, "BEGIN IMMEDIATE", {})
        try:
            row = self._connection.execute(self._statements["read_flags"]).fetchone()
            if row is None:
                raise StoreUnavailable("the population has no run row yet")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self.epoch, self.draining, self.finished = int(row[0]), bool(row[1]), bool(row[2])

    def rows(self, statement: str, **values: object) -> list[Row]:
        return seam.execute(self._connection, self._statements[statement], values).fetchall()

    def run(self, statement: str, **values: object) -> int:
        values["now"] = self._clock()
        return seam.execute(self._connection, self._statements[statement], values).rowcount
