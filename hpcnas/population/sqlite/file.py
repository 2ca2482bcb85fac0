"""Opening a SQLite population by the rules: file system, journal mode, damage, versions.

Source of the rules: docs/reliability.md, "Why the head owns the database".
"""

import shlex
import sqlite3
import time
from pathlib import Path

from hpcnas.errors import DamagedRunError, HpcnasError, StoreUnavailable
from hpcnas.population.sqlite.backup import copy_database
from hpcnas.population.statements import read_sql
from hpcnas.system.file_system import is_network

SCHEMA_VERSION = 3
OLDEST_READABLE = 2  # what the named queries read as it is
APPLICATION_ID = 0x6870636E  # "hpcn": by this `file` and other programs recognise the database
BUSY_S = 30.0  # longer than a backup or a reader's query holds a lock
CHECK_S = 5.0  # quick_check reads the whole file; a large one is checked as far as this goes

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING = {
    sqlite3.SQLITE_BUSY: "is in use by another program",
    sqlite3.SQLITE_LOCKED: "is in use by another program",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be written: input/output error",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check its permissions",
    sqlite3.SQLITE_READONLY: "cannot be written; check its permissions",
    sqlite3.SQLITE_PERM: "cannot be opened; check its permissions",
    sqlite3.SQLITE_NOMEM: "cannot be read: out of memory",
}


def translate(error: sqlite3.Error, path: Path) -> HpcnasError | None:
    """The sentence for a person about an error of SQLite; None if it is a bug of ours."""
    # SQLite's extended codes have the primary one in their lowest byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _PASSING:
        return StoreUnavailable(f"{path} {_PASSING[code]} ({error})")
    return None


def damaged(path: Path, why: str) -> DamagedRunError:
    """The error for a database that cannot be used, with the way out."""
    return DamagedRunError(
        f"{path} is damaged ({why}); it was left as it is: `hpcnas restore --run {shlex.quote(str(path.parent))}` rebuilds it"
    )


def connect(path: Path, *, network: bool | None = None) -> sqlite3.Connection:
    """Open an existing database by the rules; any thread may use the connection, one at a time.

    Args:
        network: whether to use the modes for network file systems; None asks the file system.

    Raises:
        DamagedRunError: no database, truncated, of another program or of a newer hpcnas.
        StoreUnavailable: another program holds it, or the file system refuses.
    """
    if not path.is_file():
        raise damaged(path, "there is no such file")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None,
                                     check_same_thread=False, cached_statements=256)  # fmt: skip
        try:
            _check(connection, path)
            _keep_and_migrate(connection, path)
            _configure(connection, path, is_network(path) if network is None else network)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) or damaged(path, str(error)) from error
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """The tables of the current schema in an empty database, in one transaction."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {read_sql('sqlite', 'schema.sql')}\n"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is a population that this hpcnas can read.

    Raises:
        DamagedRunError: of another program, or of a newer hpcnas.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise damaged(path, "it is no population of hpcnas")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise DamagedRunError(
            f"{path} was written by a newer hpcnas (schema {version}, this one reads {SCHEMA_VERSION}); install that version"
        )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Look without writing: whatever is wrong, the file stays as it is."""
    check_version(connection, path)
    problem = _quick_check(connection)
    if problem:
        raise damaged(path, problem)


def _quick_check(connection: sqlite3.Connection) -> str:
    deadline = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return ""  # large and sound as far as it was read
    finally:
        connection.set_progress_handler(None, 0)
    return "" if answer == "ok" else answer


def has_schema(connection: sqlite3.Connection, least: int = SCHEMA_VERSION) -> bool:
    """Whether a database has the schema of this hpcnas, or at least the older one given."""
    return bool(connection.execute("PRAGMA user_version").fetchone()[0] >= least)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older schema up to the current one, all or nothing."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    script = "".join(read_sql("sqlite", f"migrate_{step}_to_{step + 1}.sql") for step in range(version, SCHEMA_VERSION))
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _keep_and_migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate an older schema, after a copy of the file as it was."""
    if has_schema(connection):
        return
    copy = path.parent / "backup" / f"before-schema-{SCHEMA_VERSION}.db"
    copy.parent.mkdir(exist_ok=True)
    if not copy.exists():
        copy_database(path, copy)
    migrate(connection)


def _configure(connection: sqlite3.Connection, path: Path, network: bool) -> None:
    wanted = "delete" if network else "wal"
    mode = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]
    if network and mode != wanted:
        raise StoreUnavailable(f"{path} stays in journal mode {mode}; end the other programs that have it open")
    # A refused WAL is silent: only the returned mode says which durability is needed.
    connection.execute("PRAGMA synchronous=FULL" if mode == "wal" else "PRAGMA synchronous=EXTRA")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA recursive_triggers=ON")  # else INSERT OR REPLACE passes the insert-only trigger
