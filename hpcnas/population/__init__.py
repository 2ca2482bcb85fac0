"""Memory and queue of a run: the store's contract, SQLite and PostgreSQL behind it, the head's service, the outbox.

All SQL of the project is used here. `create_store` and `open_store` give the head its store.
"""

from hpcnas.config import RunConfig
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder


def create_store(folder: RunFolder, config: RunConfig) -> None:
    """An empty population in `folder`, for a head to open later.

    Raises:
        UsageError: there is one already.
    """
    from hpcnas.population.sqlite_store import SQLiteStore

    SQLiteStore.create(folder, config).close()


def open_store(folder: RunFolder, config: RunConfig) -> Store:
    """The store of a run, created if the run has none yet.

    Raises:
        DamagedRunError: the database is damaged, newer, of another run, or gone while its backups are there.
        StoreUnavailable: it cannot be reached at the moment.
    """
    from hpcnas.population.sqlite_store import SQLiteStore

    if folder.database.exists() or any(folder.backup.glob("*")):
        return SQLiteStore.open(folder)
    return SQLiteStore.create(folder, config)
