"""RUN/backup: checked copies of the database, made while it is in use, each with the journal that follows it."""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from hpcnas.errors import HpcnasError, StoreUnavailable
from hpcnas.population import seam
from hpcnas.population.journal import journal_numbers, journal_path

log = logging.getLogger(__name__)

KEPT = 3
BACKUP_S = 300.0


def backup_path(folder: Path, number: int) -> Path:
    """The copy that was made right after journal file `number` was begun."""
    return folder / f"population-{number:06d}.db"


def backup_numbers(folder: Path) -> list[int]:
    """Numbers of the finished copies, growing."""
    return sorted(int(path.stem.removeprefix("population-")) for path in folder.glob("population-" + "[0-9]" * 6 + ".db"))


def copy_database(database: Path, target: Path) -> None:
    """A checked copy of a database that others may be writing, in its place as a whole.

    Raises:
        StoreUnavailable: it cannot be read or the copy cannot be written, or the copy is not sound.
    """
    unfinished = target.with_name(target.name + ".new")
    unfinished.unlink(missing_ok=True)
    try:
        _copy(database, unfinished)
        descriptor = os.open(unfinished, os.O_RDWR)
        try:
            seam.fsync(descriptor)
        finally:
            os.close(descriptor)
        seam.rename(unfinished, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"no backup in {target.parent}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def prune(folder: Path) -> None:
    """Remove all but the newest copies, and the journals that only older ones need."""
    numbers = backup_numbers(folder)
    if len(numbers) <= KEPT:
        return
    oldest = numbers[-KEPT]
    for number in numbers[:-KEPT]:
        backup_path(folder, number).unlink(missing_ok=True)
    for number in journal_numbers(folder):
        if number < oldest:
            journal_path(folder, number).unlink(missing_ok=True)


class BackupKeeper:
    """Makes a backup at once and then every few minutes, in a thread of its own."""

    def __init__(self, make_backup: Callable[[], None], every_s: float = BACKUP_S) -> None:
        """Starts the thread."""
        self._make_backup, self._every_s = make_backup, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backup", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for a backup under way, then end."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self._make_backup()
            except HpcnasError as error:
                log.warning("%s; the search goes on, the next one is tried in %g s", error, self._every_s)
            if self._stopped.wait(self._every_s):
                return


def _copy(database: Path, unfinished: Path) -> None:
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    target = sqlite3.connect(unfinished)
    try:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, that opens anywhere
        problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    finally:
        target.close()
        source.close()
    if problem != "ok":
        raise sqlite3.DatabaseError(f"the copy is not sound: {problem}")
