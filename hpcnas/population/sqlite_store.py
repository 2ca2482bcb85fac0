# ruff: noqa: D102  (store.py documents every method)
"""The population in one SQLite file, owned by the head."""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import hpcnas
from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError, StoreUnavailable, UsageError
from hpcnas.population import seam, sqlite_file
from hpcnas.population.backup import BACKUP_S, BackupKeeper, backup_path, copy_database, prune
from hpcnas.population.journal import Journal
from hpcnas.population.run_id import check_run_id, read_or_create_run_id
from hpcnas.population.sql_store import SQLStore
from hpcnas.population.statements import load_statements
from hpcnas.population.transaction import Row, Transaction
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

COMMIT_S = 30.0  # rollback-journal modes may answer "locked" to COMMIT itself, as long as somebody reads

T = TypeVar("T")


class SQLiteStore(SQLStore):
    """A Store in RUN/population.db.

    Any thread may call any method; calls take turns. `batch()` makes one durable transaction of many calls.
    """

    def __init__(
        self,
        folder: RunFolder,
        connection: sqlite3.Connection,
        clock: Callable[[], float] = time.time,
        backup_s: float | None = BACKUP_S,
    ) -> None:
        """Use `create` or `open`."""
        self.path = folder.database
        self._backups = folder.backup
        self._connection = connection
        self._lock = threading.RLock()
        self._journal = Journal(folder.backup, connection)
        self._transaction = _SQLiteTransaction(connection, clock)
        self._depth = 0
        self._broken: HpcnasError | None = None
        self._written: int | None = None
        self._backup_s, self._keeper = backup_s, None
        with self._begin() as tx:
            row = tx.row("read_run")
            if row is None:
                raise sqlite_file.damaged(self.path, "it has no run row")
            self.run_id, self.repeats = str(row[0]), int(row[4])

    _keeper: BackupKeeper | None

    @classmethod
    def create(
        cls, folder: RunFolder, config: RunConfig, *, network: bool | None = None, backup_s: float | None = BACKUP_S
    ) -> "SQLiteStore":
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
        return cls.open(folder, network=network, backup_s=backup_s)

    @classmethod
    def open(cls, folder: RunFolder, *, network: bool | None = None, backup_s: float | None = BACKUP_S) -> "SQLiteStore":
        """The population of a run.

        Args:
            network: whether to use the journal mode for network file systems; None asks the file system.
            backup_s: seconds between the backups that a head makes; None for none.

        Raises:
            DamagedRunError: missing, damaged, of a newer hpcnas or of another run; the file is left as it is.
            StoreUnavailable: another program holds it for long, or the disk refuses.
        """
        connection = sqlite_file.connect(folder.database, network=network)
        try:
            store = cls(folder, connection, backup_s=backup_s)
            check_run_id(folder, store.run_id, str(folder.database))
            store._resume_journal()
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
        if self._keeper is not None:
            self._keeper.stop()
        with self._lock:
            self._journal.close()
            self._connection.close()

    def begin_epoch(self) -> int:
        epoch = super().begin_epoch()
        if self._keeper is None and self._backup_s is not None:
            self._keeper = BackupKeeper(self.make_backup, self._backup_s)
        return epoch

    def make_backup(self) -> None:
        """A checked copy of the database as it is now; changes from now on go into the journal that follows it.

        Raises:
            StoreUnavailable: the disk refuses, or the database is busy for long.
        """
        with self._journal_errors():
            number = self._do(lambda tx: self._journal.rotate(_run_values(tx)))
        copy_database(self.path, backup_path(self._backups, number))
        self._journal.is_torn = False
        prune(self._backups)

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
                if self._journal.is_torn and threading.current_thread().name != "backup":
                    self._heal_journal()
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
                with self._journal_errors():
                    self._journal.committed()

    @contextmanager
    def _inner(self) -> Iterator[Transaction]:
        if self._broken:
            raise self._broken
        self._connection.execute("SAVEPOINT message")
        caught = self._journal.caught
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
                self._journal.forget_after(caught)
            raise
        else:
            self._connection.execute("RELEASE message")
        finally:
            self._depth -= 1

    @contextmanager
    def _journal_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(f"the journal in {self._backups} cannot be written: {error.strerror or error}") from error

    def _resume_journal(self) -> None:
        with self._journal_errors():
            complete = self._do(lambda tx: self._journal.resume(int(tx.value("read_journal_number")), _run_values(tx)))
        if not complete:
            self.make_backup()  # it was lost or never there: from here on nothing is missing

    def _heal_journal(self) -> None:
        self._journal.is_torn = False
        try:
            self.make_backup()
        except StoreUnavailable:
            self._journal.is_torn = True
            raise

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
        if self._journal.caught:
            self._transaction.run("next_journal_number")
            number = int(self._transaction.value("read_journal_number"))
            with self._journal_errors():
                self._journal.write(number)
            self._written = number
        deadline = time.monotonic() + COMMIT_S
        while True:
            try:
                seam.commit(self._connection)
                self._written = None
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise

    def _roll_back(self) -> None:
        try:  # while the database is still ours: the number will be given again
            self._journal.rolled_back(None if self._written is None else self._written - 1)
        except OSError as error:  # then the next transaction of that number takes the line's place
            log.warning("the journal in %s cannot be written: %s", self._backups, error)
        self._written = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _run_values(tx: Transaction) -> dict[str, object]:
    names = ("run_id", "hpcnas", "created", "config", "repeats", "epoch", "draining", "finished", "rng_state")
    return dict(zip(names, tx.rows("read_run")[0], strict=True))


class _SQLiteTransaction(Transaction):
    """The one transaction of a connection at a time."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._connection, self._clock = connection, clock
        self._statements = load_statements("sqlite")

    def begin(self) -> None:
        """Deferred transactions would meet BUSY in the middle; an immediate one waits at its start."""
        try:
            seam.execute(self._connection, "BEGIN IMMEDIATE", {})
            row = self._connection.execute(self._statements["read_flags"]).fetchone()
            if row is None:
                raise StoreUnavailable("the population has no run row yet")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.epoch, self.draining, self.finished = int(row[0]), bool(row[1]), bool(row[2])

    def rows(self, statement: str, **values: object) -> list[Row]:
        return seam.execute(self._connection, self._statements[statement], values).fetchall()

    def run(self, statement: str, **values: object) -> int:
        values["now"] = self._clock()
        return seam.execute(self._connection, self._statements[statement], values).rowcount
