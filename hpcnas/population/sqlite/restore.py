"""Building a damaged population.db anew: the newest sound backup, then the journal after it, then the outbox.

The damaged file is kept under another name. No acknowledged fitness is lost: it was flushed to the
journal before it was acknowledged. Genotypes that were being trained keep their tokens, so workers
that still run go on as if nothing had happened.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from hpcnas.errors import DamagedRunError, HpcnasError
from hpcnas.population import faultpoints
from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.protocol.outbox import merge_outbox
from hpcnas.population.queries import Population
from hpcnas.population.restored import Restored, keep_aside
from hpcnas.population.run_id import read_or_create_run_id
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite.backup import copy_database, sqlite_backups
from hpcnas.population.sqlite.journal_files import Line, journal_numbers, journal_path, read_lines
from hpcnas.population.sqlite.read_only import restored_path
from hpcnas.population.sqlite.replay import replay
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.population.statements import load_statements
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)


def restore_sqlite(folder: RunFolder) -> Restored:
    """Rebuild RUN/population.db.

    Raises:
        DamagedRunError: there is neither a sound backup nor a journal from the beginning.
        StoreUnavailable: the disk refuses.
    """
    run, lines, problems = _read_journals(folder)
    unfinished = restored_path(folder.database)
    _remove(unfinished)
    backup = _start_from_backup(folder, unfinished) or _start_from_nothing(folder, unfinished, run, lines)
    try:
        applied, missing = replay(unfinished, lines)
    except sqlite3.Error as error:
        raise DamagedRunError(f"the journal in {folder.backup} does not fit the backup {backup} ({error})") from error
    kept = _put_in_place(folder, unfinished)
    merged = _merge(folder, grants_lost=bool(problems or missing))
    with Population.open(folder) as population:
        problems += missing + check_invariants(population) + check_database(folder)
        counts = population.counts()
    start = f"{f'{backup} and ' if backup else ''}{applied} transactions of the journal"
    return Restored(folder.database, start, merged, counts.evaluated, counts.born, kept, problems)


def _read_journals(folder: RunFolder) -> tuple[dict[str, Any] | None, list[Line], list[str]]:
    first: dict[str, Any] | None = None
    lines: list[Line] = []
    problems = []
    for number in journal_numbers(folder.backup):
        run, more, damaged = read_lines(journal_path(folder.backup, number))
        first, lines = first or run, lines + more
        if damaged > 1 or (damaged and run is None):  # one torn line is what a killed head leaves, of nothing acknowledged
            problems.append(f"{journal_path(folder.backup, number).name}: {damaged} damaged lines")
    return first, lines, problems


def _start_from_backup(folder: RunFolder, target: Path) -> str:
    """The newest backup that is sound and of this run, copied; its name, or "" if there is none."""
    own = read_or_create_run_id(folder)
    backups = sqlite_backups(folder.backup)
    for number in reversed(backups.numbers()):
        path = backups.path(number)
        try:
            copy_database(path, target)
            if _run_id(target) == own:
                return path.name
        except (HpcnasError, sqlite3.Error) as error:
            log.warning("%s is passed over: %s", path, error)  # an older one, with more of the journal, gives the same
        _remove(target)
    return ""


def _run_id(database: Path) -> str:
    """The run that a copy is of; an older schema is brought up to date."""
    # In the mode of network file systems, which leaves no log beside the copy: only the file itself is renamed later.
    connection = sqlite_file.connect(database, network=True)
    try:
        found = connection.execute(load_statements("sqlite")["read_run"]).fetchone()
    finally:
        connection.close()
    return str(found[0]) if found else ""


def _start_from_nothing(folder: RunFolder, target: Path, run: dict[str, Any] | None, lines: list[Line]) -> str:
    if run is None or 1 not in journal_numbers(folder.backup) or (lines and lines[0].number > 1):
        raise DamagedRunError(
            f"{folder.backup} has no sound backup of this run and no journal from its beginning; nothing can be restored, "
            f"and {folder.database} was left as it is"
        )
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        sqlite_file.create_tables(connection)
        connection.execute(load_statements("sqlite")["create_run"], {**run, "now": run["created"]})
    finally:
        connection.close()
    return ""


def _put_in_place(folder: RunFolder, unfinished: Path) -> list[Path]:
    # With its log and journal, which SQLite would apply to the new file of that name.
    kept = keep_aside(_files_of(folder.database))
    faultpoints.rename(unfinished, folder.database)
    return kept


def _merge(folder: RunFolder, *, grants_lost: bool) -> int:
    store = SQLiteStore.open(folder, backup_s=None)
    try:
        if grants_lost:
            store.begin_generation()
        # The next restore begins with this copy, after the hole that the journal may have.
        store.make_backup()
        return merge_outbox(folder, store)
    finally:
        store.close()


def _remove(database: Path) -> None:
    for path in _files_of(database):
        path.unlink(missing_ok=True)


def _files_of(database: Path) -> list[Path]:
    return [database, *(database.with_name(database.name + ending) for ending in ("-wal", "-shm", "-journal"))]
