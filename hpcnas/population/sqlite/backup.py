"""Copies of population.db in RUN/backup, each with the journal that follows it."""

import sqlite3
from pathlib import Path

from hpcnas.errors import StoreUnavailable
from hpcnas.population.backup import KEPT, Backups, put_in_place
from hpcnas.population.sqlite.journal_files import journal_numbers, journal_path


def sqlite_backups(folder: Path) -> Backups:
    """The copies in a folder; number n was made right after journal file n was begun."""
    return Backups(folder, ".db")


def copy_database(database: Path, target: Path) -> None:
    """A checked copy of a database that others may be writing, in its place as a whole.

    Raises:
        StoreUnavailable: it cannot be read or the copy cannot be written, or the copy is not sound.
    """
    with put_in_place(target) as unfinished:
        try:
            _copy(database, unfinished)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"no backup in {target.parent}: {error}") from error


def prune(folder: Path) -> None:
    """Remove all but the newest copies, and the journals that only older ones need."""
    backups = sqlite_backups(folder)
    if len(backups.numbers()) <= KEPT:
        return  # the journal from its beginning gives everything without any of them
    oldest = backups.prune()
    for number in journal_numbers(folder):
        if number < oldest:
            journal_path(folder, number).unlink(missing_ok=True)


def _copy(database: Path, unfinished: Path) -> None:
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    target = sqlite3.connect(unfinished)
    try:
        # A copy of the file alone would lack the pages that are still in the write-ahead log.
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, that opens anywhere
        problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    finally:
        target.close()
        source.close()
    if problem != "ok":
        raise sqlite3.DatabaseError(f"the copy is not sound: {problem}")
