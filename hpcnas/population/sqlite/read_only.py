"""Opening population.db where nothing can be written: another user's run, an archive, a snapshot.

Even a reader of a database in WAL mode has to write shared memory beside it. After a killed head, it also has to recover
the database. If neither is allowed, both are done to a copy. So is the migration of an older schema, which a reader may
not do.
"""

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hpcnas.errors import StoreUnavailable
from hpcnas.population.sqlite.file import OLDEST_READABLE, has_schema, migrate

_NEEDS_WRITING = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_PARTS = ("", "-wal", "-journal")  # without its log or journal a database lacks transactions, or has half of one


class BeingWritten(StoreUnavailable):
    """The database changed while it was copied; a second copy may be whole."""


def restored_path(path: Path) -> Path:
    """Where a restore builds a database before it puts it in the place of the damaged one."""
    return path.with_name(f"{path.name}.restored")


def open_read_only(path: Path, stack: ExitStack, timeout_s: float) -> sqlite3.Connection:
    """A connection through which the database can be read, whoever owns it.

    Args:
        stack: closes the connection, and removes the copy if one was made.
    Raises:
        sqlite3.Error: it is damaged, busy, or no database.
        StoreUnavailable: it may not even be read, or it changes while it is copied.
    """
    try:
        return _connect(path, "ro", stack, timeout_s)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF not in _NEEDS_WRITING:
            raise
    return _connect(_copy(path, stack), "rw", stack, timeout_s)


def readable(connection: sqlite3.Connection, stack: ExitStack) -> sqlite3.Connection:
    """The database in a schema that the named queries read: itself, or a copy of it migrated in memory.

    Raises:
        sqlite3.Error: it is damaged or busy.
    """
    if has_schema(connection, OLDEST_READABLE):
        return connection
    copy = sqlite3.connect(":memory:", isolation_level=None)
    stack.callback(copy.close)
    connection.backup(copy)
    migrate(copy)
    return copy


def _connect(path: Path, mode: str, stack: ExitStack, timeout_s: float) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=timeout_s, isolation_level=None)
    stack.callback(connection.close)
    connection.execute("SELECT count(*) FROM sqlite_schema")  # a connection opens its files with the first query
    return connection


def _copy(path: Path, stack: ExitStack) -> Path:
    copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcnas-"))) / path.name
    before = _stamps(path)
    try:
        for part in before:
            shutil.copyfile(f"{path}{part}", f"{copy}{part}")
    except FileNotFoundError as error:
        raise BeingWritten(f"{path} is being written; try again") from error
    except OSError as error:
        raise StoreUnavailable(f"{error.filename2 or error.filename or path} cannot be read: {error.strerror}") from error
    if _stamps(path) != before:
        raise BeingWritten(f"{path} is being written; try again")
    return copy


def _stamps(path: Path) -> dict[str, tuple[int, int, int]]:
    """The files of the database, by suffix, and their fields that change with every write."""
    found = {}
    for part in _PARTS:
        file = Path(f"{path}{part}")
        if file.exists():
            status = file.stat()
            found[part] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
