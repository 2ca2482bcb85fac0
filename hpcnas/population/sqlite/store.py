# ruff: noqa: D102  (store.py documents every method)
"""The population in one SQLite file, owned by the head."""

import json
import sqlite3
import time
from collections.abc import Callable

import hpcnas
from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.population import faultpoints
from hpcnas.population.backup import BACKUP_S, BackupKeeper
from hpcnas.population.run_id import check_run_id, read_or_create_run_id
from hpcnas.population.sql_store import SQLStore
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite.database import SQLiteDatabase
from hpcnas.population.statements import load_statements
from hpcnas.run_folder import RunFolder


class SQLiteStore(SQLStore):
    """A Store in RUN/population.db, journalled, and backed up every few minutes while it is a head's.

    Any thread may call any method; calls take turns. `batch()` makes one durable transaction of many calls.
    """

    _database: SQLiteDatabase

    def __init__(self, database: SQLiteDatabase, backup_s: float | None) -> None:
        """Use `create` or `open`."""
        super().__init__(database)
        self.path = database.path
        self._backup_s = backup_s
        self._keeper: BackupKeeper | None = None

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
        faultpoints.rename(unfinished, folder.database)
        return cls.open(folder, network=network, backup_s=backup_s)

    @classmethod
    def open(
        cls,
        folder: RunFolder,
        *,
        network: bool | None = None,
        backup_s: float | None = BACKUP_S,
        clock: Callable[[], float] = time.time,
    ) -> "SQLiteStore":
        """The population of a run.

        Args:
            network: whether to use the journal mode for network file systems; None asks the file system.
            backup_s: seconds between the backups that a head makes; None for none.
            clock: seconds since 1970, for the columns that people read.

        Raises:
            DamagedRunError: missing, damaged, of a newer hpcnas or of another run; the file is left as it is.
            StoreUnavailable: another program holds it for long, or the disk refuses.
        """
        connection = sqlite_file.connect(folder.database, network=network)
        try:
            database = SQLiteDatabase(folder, connection, clock)
            store = cls(database, backup_s)
            check_run_id(folder, store.run_id, str(folder.database))
            database.resume_journal()
        except BaseException:
            connection.close()
            raise
        return store

    def begin_epoch(self) -> int:
        epoch = super().begin_epoch()
        if self._keeper is None and self._backup_s is not None:
            self._keeper = BackupKeeper(self.make_backup, self._backup_s)
        return epoch

    def make_backup(self) -> None:
        """A checked copy of the database as it is now, into RUN/backup.

        Raises:
            StoreUnavailable: the disk refuses, or the database is busy for long.
        """
        self._database.make_backup()

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()
        super().close()
