# ruff: noqa: D102  (the base class documents every method)
"""Read-only access to population.db, also where nothing may be written: retries what passes, changes nothing."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from hpcnas.errors import DamagedRunError
from hpcnas.population.reader import Query, Reader
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite.read_only import BeingWritten, open_read_only, readable, restored_path
from hpcnas.population.statements import load_statements

RETRY_FOR_S = 10.0
T = TypeVar("T")


class SQLiteReader(Reader):
    """Opens the file read-only; on a busy or broken read opens it again, for a while."""

    def __init__(self, path: Path) -> None:
        """Open and check.

        Raises:
            DamagedRunError: no database of hpcnas, damaged, or of a newer hpcnas.
        """
        self.path = path
        self._statements = load_statements("sqlite")
        self._connection: sqlite3.Connection | None = None
        self._files = ExitStack()
        self._retrying(lambda connection, path: None)

    def together(self, work: Callable[[Query], T]) -> T:
        def read(connection: sqlite3.Connection, _: Path) -> T:
            # A deferred transaction: no lock before the first query, and one moment of the database from then on.
            connection.execute("BEGIN")
            try:
                return work(lambda statement, **values: connection.execute(self._statements[statement], values).fetchall())
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")  # nothing was written

        return self._retrying(read)

    def close(self) -> None:
        self._files.close()
        self._connection = None

    def _retrying(self, read: Callable[[sqlite3.Connection, Path], T]) -> T:
        """A read that meets a writer on a network file system can look damaged for a moment; a second one does not."""
        deadline = time.monotonic() + RETRY_FOR_S
        pause_s = 0.05
        while True:
            try:
                return read(self._open(), self.path)
            except (sqlite3.Error, DamagedRunError, BeingWritten) as error:
                self.close()
                if time.monotonic() > deadline or not _passes(error):
                    raise self._explain(error) from error
            time.sleep(pause_s)
            pause_s = min(1.0, 2 * pause_s)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self.path.is_file():
                raise self._missing()
            opened = open_read_only(self.path, self._files, RETRY_FOR_S)
            sqlite_file.check_version(opened, self.path)
            self._connection = readable(opened, self._files)
        return self._connection

    def _missing(self) -> Exception:
        """Why the file is not there: a restore is about to put another in its place, or it is lost."""
        # The restore may have ended between two looks.
        if restored_path(self.path).exists() or self.path.is_file():
            return BeingWritten(f"{self.path} is being restored; try again")
        return sqlite_file.damaged(self.path, "there is no such file")

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, BeingWritten) and not self.path.is_file():
            return sqlite_file.damaged(self.path, "a restore of it was cut off")
        if isinstance(error, sqlite3.Error):
            return sqlite_file.translate(error, self.path) or error
        return error


def _passes(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # read-only: what a killed head left is to be recovered, which the next opening does in a copy
    passing = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
    return isinstance(error, BeingWritten) or code in passing
