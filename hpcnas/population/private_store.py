"""The store of a run with its own PostgreSQL: server and store come and go together."""

from collections.abc import Callable

from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population.postgres_server import PostgresServer, read_server_address
from hpcnas.population.postgres_store import PostgresReader, PostgresStore
from hpcnas.run_folder import RunFolder


class _PrivateStore(PostgresStore):
    """Stops its server when it is closed, if it is the one that started it or a head that took it over."""

    server: PostgresServer | None = None
    started_here = False

    def close(self) -> None:
        """Close the connection and stop the server. Nothing else may be called afterwards."""
        super().close()
        if self.server is not None and (self.started_here or self.epoch is not None):
            self.server.stop()


def open_private_store(folder: RunFolder, config: RunConfig) -> PostgresStore:
    """Start the run's server where it does not run, and open the population, created on the first time.

    Raises:
        StoreUnavailable: the server does not start.
        UsageError: PostgreSQL is not installed.
    """
    server = PostgresServer(folder)
    started_here = not server.is_running()
    server.start()
    try:
        store = _open_or_create(folder, config, _address_of(folder))
    except BaseException:
        if started_here:
            server.stop()
        raise
    store.server, store.started_here = server, started_here
    return store


def open_private_queue(folder: RunFolder, config: RunConfig) -> PostgresStore:
    """A worker's side: connects to the server that the head has started, and never stops it.

    Raises:
        StoreUnavailable: no head has started it, or it does not answer.
    """
    return PostgresStore.open(folder, config, _address_of(folder))


class _PrivateReader(PostgresReader):
    """Stops the server again that it had to start: a finished run is read long after its head has gone."""

    server: PostgresServer | None = None

    def close(self) -> None:
        """Close the connection, and stop the server if this started it."""
        super().close()
        if self.server is not None:
            self.server.stop()


def open_private_reader(folder: RunFolder, config: RunConfig) -> PostgresReader:
    """Read-only access; starts the run's server for as long as it reads, where no machine has it.

    Raises:
        StoreUnavailable: there are no data yet, or the server does not answer.
    """
    server = PostgresServer(folder)
    if server.is_claimed() or not server.data.exists():
        return PostgresReader(folder, config, _address_of(folder))
    server.start()
    try:
        reader = _PrivateReader(folder, config, _address_of(folder))
    except BaseException:
        server.stop()
        raise
    reader.server = server
    return reader


def _open_or_create(folder: RunFolder, config: RunConfig, address: Callable[[], str]) -> _PrivateStore:
    try:
        return _PrivateStore.open(folder, config, address)
    except DamagedRunError as damage:
        try:
            return _PrivateStore.create(folder, config, address)
        except UsageError:  # it is there, and damaged
            raise damage from None


def _address_of(folder: RunFolder) -> Callable[[], str]:
    return lambda: read_server_address(folder)
