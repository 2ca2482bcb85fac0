"""Building a damaged population anew: the newest sound backup, then the journal after it, then the outbox.

The damaged file is kept under another name. No acknowledged fitness is lost: it was flushed to the
journal before it was acknowledged. Genotypes that were being trained keep their tokens, so workers
that still run go on as if nothing had happened.
"""

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.config import RunConfig, read_config
from hpcnas.errors import DamagedRunError, HpcnasError, UsageError
from hpcnas.population import seam, sqlite_file
from hpcnas.population.backup import backup_numbers, backup_path, copy_database
from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.journal import Line, journal_numbers, journal_path, read_lines
from hpcnas.population.outbox import merge_outbox
from hpcnas.population.queries import Population
from hpcnas.population.replay import replay
from hpcnas.population.run_id import read_or_create_run_id
from hpcnas.population.sqlite_store import SQLiteStore
from hpcnas.population.statements import load_statements
from hpcnas.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        backup: name of the backup it began with; "" when the journal alone gave everything.
        transactions: how many of the journal were applied.
        outbox: messages merged from the outbox.
        evaluated, born: individuals that are there now.
        kept: where the old files are now.
        problems: what could not be restored, or does not fit together; empty when nothing is missing.
    """

    backup: str
    transactions: int
    outbox: int
    evaluated: int
    born: int
    kept: list[Path]
    problems: list[str]


def restore(folder: RunFolder) -> Restored:
    """Rebuild RUN/population.db. The caller holds the head's lock.

    Raises:
        UsageError: the run keeps its population in PostgreSQL.
        DamagedRunError: there is neither a sound backup nor a journal from the beginning.
        StoreUnavailable: the disk refuses.
    """
    config = RunConfig.from_dict(read_config(folder.require().config))
    if config.store != "sqlite":
        raise UsageError("this run keeps its population in PostgreSQL; restore it with the backups of that server")
    run, lines, problems = _read_journals(folder)
    unfinished = folder.path / "population.db.restored"
    for path in _files_of(unfinished):
        path.unlink(missing_ok=True)
    backup = _start_from_backup(folder, unfinished) or _start_from_nothing(folder, unfinished, run, lines)
    try:
        applied, missing = replay(unfinished, lines)
    except sqlite3.Error as error:
        raise DamagedRunError(f"the journal in {folder.backup} does not fit the backup {backup} ({error})") from error
    kept = _put_in_place(folder, unfinished)
    merged = _merge(folder)
    with Population.open(folder) as population:
        problems += missing + check_invariants(population) + check_database(folder)
        counts = population.counts()
    return Restored(backup, applied, merged, counts.evaluated, counts.born, kept, problems)


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
    for number in reversed(backup_numbers(folder.backup)):
        path = backup_path(folder.backup, number)
        try:
            connection = sqlite_file.connect(path, network=True)
            try:
                found = connection.execute(load_statements("sqlite")["read_run"]).fetchone()
            finally:
                connection.close()
            if found is not None and found[0] == own:
                copy_database(path, target)
                return path.name
        except (HpcnasError, sqlite3.Error):
            continue  # damaged as well: an older one, with more of the journal, gives the same
    return ""


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
    stamp = time.strftime("%Y%m%d-%H%M%S")
    kept = []
    for path in _files_of(folder.database):
        if path.exists():
            aside = path.with_name(f"{path.name}.damaged-{stamp}")
            os.replace(path, aside)
            kept.append(aside)
    seam.rename(unfinished, folder.database)
    return kept


def _merge(folder: RunFolder) -> int:
    store = SQLiteStore.open(folder, backup_s=None)
    try:
        store.make_backup()
        return merge_outbox(folder, store)
    finally:
        store.close()


def _files_of(database: Path) -> list[Path]:
    return [database, *(database.with_name(database.name + ending) for ending in ("-wal", "-shm", "-journal"))]
