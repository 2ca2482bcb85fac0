"""Memory and queue of a run: the store's contract, SQLite and PostgreSQL behind it, the head's service, the outbox.

All SQL of the project is used here. `create_store` and `open_store` give the head its store, `open_queue` a worker
its side of it, `open_reader` a report its rows. Nothing heavy is imported before it is needed: a worker of an SQLite
run never loads psycopg.
"""

from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.population.reader import Reader
from hpcnas.population.store import Store, WorkQueue
from hpcnas.run_folder import RunFolder


def create_store(folder: RunFolder, config: RunConfig) -> None:
    """An empty population in `folder`, for a head to open later.

    Raises:
        UsageError: there is one already, or the store's name is unknown.
        StoreUnavailable: the database server does not answer.
    """
    if config.store == "sqlite":
        from hpcnas.population.sqlite.store import SQLiteStore

        SQLiteStore.create(folder, config).close()
    else:
        _check_is_postgres(config)
        from hpcnas.population.postgres.store import PostgresStore

        PostgresStore.create(folder, config).close()


def open_store(folder: RunFolder, config: RunConfig) -> Store:
    """The store of a run, for its head and for commands; created if the run has none yet.

    Raises:
        DamagedRunError: the database is damaged, newer, of another run, or gone while its backups are there.
        StoreUnavailable: it cannot be reached at the moment.
        UsageError: the store's name is unknown.
    """
    if config.store == "sqlite":
        from hpcnas.population.sqlite.store import SQLiteStore

        # Backups without a database are a damaged run, not a new one: a search that began anew would hide what can be restored.
        if folder.database.exists() or any(folder.backup.glob("*")):
            return SQLiteStore.open(folder)
        return SQLiteStore.create(folder, config)
    _check_is_postgres(config)
    from hpcnas.population.postgres.store import PostgresStore

    return PostgresStore.open(folder, config)


def open_queue(folder: RunFolder, config: RunConfig) -> WorkQueue:
    """A worker's side of the population: the head's service, or PostgreSQL itself.

    Raises:
        HpcnasError: the secret is missing or readable by others, or the server does not answer.
    """
    if config.store == "sqlite":
        from hpcnas.population.protocol.client import ServiceClient

        return ServiceClient(folder)
    return open_store(folder, config)


def open_reader(folder: RunFolder, config: RunConfig) -> Reader:
    """A reader of the run's store, whichever it is.

    Raises:
        DamagedRunError: the database is damaged or of a newer hpcnas.
        StoreUnavailable: it cannot be reached at the moment.
        UsageError: the store's name is unknown.
    """
    if config.store == "sqlite":
        from hpcnas.population.sqlite.reader import SQLiteReader

        return SQLiteReader(folder.database)
    _check_is_postgres(config)
    from hpcnas.population.postgres.reader import PostgresReader

    return PostgresReader(folder, config)


def _check_is_postgres(config: RunConfig) -> None:
    if config.store == "postgres":  # a run of 0.1.0
        raise UsageError(
            "--store postgres was a server of the run's own; go on with this run in hpcnas 0.1.0, "
            "or begin one with --store sqlite or postgresql://USER@HOST:PORT/DATABASE"
        )
    if not config.store.startswith(("postgresql://", "postgres://")):
        raise UsageError("--store must be sqlite or postgresql://USER@HOST:PORT/DATABASE")
