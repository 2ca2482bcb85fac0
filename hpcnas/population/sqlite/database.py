"""Transactions on the one connection to population.db, each journalled, alone or many in one."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from hpcnas.errors import HpcnasError, StoreUnavailable
from hpcnas.population import faultpoints
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite.backup import copy_database, prune, sqlite_backups
from hpcnas.population.sqlite.journal import Journal
from hpcnas.population.statements import load_statements
from hpcnas.population.transaction import Database, Row, Transaction
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

T = TypeVar("T")
COMMIT_S = 30.0  # rollback-journal modes may answer "locked" to COMMIT itself, as long as somebody reads


class SQLiteDatabase(Database):
    """The file population.db, every transaction of which is journalled; inside `batch` calls are parts of one."""

    def __init__(self, folder: RunFolder, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        """Take the connection over; the journal is opened by `resume_journal`."""
        self.path, self._backups = folder.database, folder.backup
        self._connection = connection
        self._lock = threading.RLock()
        self._journal = Journal(folder.backup)
        self._transaction = SQLiteTransaction(connection, clock, self._journal)
        self._depth = 0
        self._broken: HpcnasError | None = None
        self._written: int | None = None

    def do(self, work: Callable[[Transaction], T], *, locks: bool = False, repeatable: bool = True) -> T:
        """One transaction, which locks in any case; inside `batch` a part of it, that takes back its own changes alone."""
        with self._lock:
            if self._depth:
                return self._do_inside(work)
            self._begin()
            try:
                answer = work(self._transaction)
                self._commit()
            except sqlite3.Error as error:
                raise self._taken_back(error) from error
            except BaseException:
                self._roll_back()
                raise
            self._end()
            return answer

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One durable transaction over all the work inside."""
        with self._lock:
            if self._depth:
                yield
                return
            self._begin()
            try:
                yield
                if self._broken is not None:
                    raise self._broken
                self._commit()
            except sqlite3.Error as error:
                raise self._taken_back(error) from error
            except BaseException:
                self._roll_back()
                raise
            self._end()

    def resume_journal(self) -> None:
        """Go on with the journal; make a backup when it lacks a transaction."""
        if not self._do_with_journal(lambda tx: self._journal.resume(int(tx.value("read_journal_number")), _run_values(tx))):
            self.make_backup()  # it was lost or never there: from here on nothing is missing

    def make_backup(self) -> None:
        """A checked copy of the database as it is now; changes from now on go into the journal that follows it.

        Raises:
            StoreUnavailable: the disk refuses, or the database is busy for long.
        """
        number = self._do_with_journal(lambda tx: self._journal.rotate(_run_values(tx)))
        copy_database(self.path, sqlite_backups(self._backups).path(number))
        prune(self._backups)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._journal.close()
            self._connection.close()

    def _begin(self) -> None:
        if self._journal.is_torn:
            self._heal_journal()
        try:
            self._transaction.begin()
        except sqlite3.Error as error:
            raise self._explained(error) from error
        self._depth, self._broken = 1, None

    def _commit(self) -> None:
        if self._journal.length:
            number = self._transaction.journalled + 1
            self._transaction.run("write_journal_number", number=number)
            try:
                # Before the commit: a line without its commit is undone later, a commit without its line
                # would be missing after a restore.
                self._journal.write(number)
            except OSError as error:
                raise self._journal_refused(error) from error
            self._written = number
        deadline = time.monotonic() + COMMIT_S
        while True:
            try:
                faultpoints.commit(self._connection, "COMMIT")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise

    def _end(self) -> None:
        self._depth, self._written = 0, None
        try:
            self._journal.committed()
        except OSError as error:
            raise self._journal_refused(error) from error

    def _do_inside(self, work: Callable[[Transaction], T]) -> T:
        if self._broken is not None:
            raise self._broken
        length = self._journal.length
        self._depth += 1
        try:
            self._connection.execute("SAVEPOINT message")
            answer = work(self._transaction)
            self._connection.execute("RELEASE message")
            return answer
        except sqlite3.Error as error:
            # SQLite may have taken back everything by itself, so nothing of the batch may count.
            self._broken = self._explained(error)
            raise self._broken from error
        except BaseException:
            self._connection.execute("ROLLBACK TO message")
            self._connection.execute("RELEASE message")
            self._journal.forget_after(length)
            raise
        finally:
            self._depth -= 1

    def _taken_back(self, error: sqlite3.Error) -> Exception:
        self._roll_back()
        return self._explained(error)

    def _roll_back(self) -> None:
        self._depth = 0
        try:  # while the database is still ours: the number will be given again
            self._journal.rolled_back(None if self._written is None else self._written - 1)
        except OSError as error:  # then the next transaction of that number takes the line's place
            log.warning("the journal in %s cannot be written: %s", self._backups, error)
        self._written = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _explained(self, error: sqlite3.Error) -> HpcnasError:
        return sqlite_file.translate(error, self.path) or HpcnasError(f"{self.path}: {type(error).__name__}: {error}")

    def _journal_refused(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(f"the journal in {self._backups} cannot be written: {error.strerror or error}")

    def _do_with_journal(self, work: Callable[[Transaction], T]) -> T:
        try:
            return self.do(work)
        except OSError as error:
            raise self._journal_refused(error) from error

    def _heal_journal(self) -> None:
        self._journal.is_torn = False
        try:
            self.make_backup()
        except StoreUnavailable:
            self._journal.is_torn = True
            raise


class SQLiteTransaction(Transaction):
    """The one transaction of a connection at a time.

    Attributes:
        journalled: number of the last transaction that the journal has.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float], journal: Journal) -> None:
        """Begins nothing yet."""
        self._connection, self._clock, self._journal = connection, clock, journal
        self._statements = load_statements("sqlite")
        self.journalled = 0

    def begin(self) -> None:
        """Deferred transactions would meet BUSY in the middle; an immediate one waits at its start.

        Raises:
            StoreUnavailable: there is no run row.
        """
        try:
            faultpoints.execute(self._connection, "BEGIN IMMEDIATE", {})
            row = self._connection.execute(self._statements["read_flags"]).fetchone()
            if row is None:
                raise StoreUnavailable("the population has no run row yet")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.epoch, self.draining, self.finished, self.journalled = row[0], bool(row[1]), bool(row[2]), row[3]

    def rows(self, statement: str, **values: object) -> list[Row]:
        """All rows of a named query."""
        return faultpoints.execute(self._connection, self._statements[statement], values).fetchall()

    def run(self, statement: str, **values: object) -> int:
        """Execute a named statement; the number of rows it changed."""
        values["now"] = self._clock()
        changed = faultpoints.execute(self._connection, self._statements[statement], values).rowcount
        self._journal.add(statement, values)
        return changed


def _run_values(tx: Transaction) -> dict[str, object]:
    names = ("run_id", "hpcnas", "created", "config", "repeats", "epoch", "draining", "finished")
    return dict(zip(names, tx.rows("read_run")[0], strict=True))
