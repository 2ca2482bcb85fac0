"""The store of a run with its own PostgreSQL: server, store and backups come and go together."""

import logging
from collections.abc import Callable
from typing import TypeVar

from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError, RunHeldError
from hpcnas.population.backup import BACKUP_S, BackupKeeper
from hpcnas.population.postgres_backup import dump_schema, postgres_backups
from hpcnas.population.postgres_link import LostPopulation
from hpcnas.population.postgres_server import PostgresServer, read_server_address
from hpcnas.population.postgres_store import PostgresReader, PostgresStore, has_schema, schema_name
from hpcnas.population.transaction import Transaction
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

T = TypeVar("T")


class _PrivateStore(PostgresStore):
    """Backs itself up while it is a head's. Stops its server when it is closed, if it started it or took it over."""

    folder: RunFolder
    server: PostgresServer | None = None
    started_here = False
    backup_s: float | None = BACKUP_S
    _keeper: BackupKeeper | None = None

    def begin_epoch(self) -> int:
        """Begin to make backups, too."""
        epoch = super().begin_epoch()
        if self._keeper is None and self.backup_s is not None:
            self._keeper = BackupKeeper(self.make_backup, self.backup_s)
        return epoch

    def make_backup(self) -> None:
        """A checked dump into RUN/backup; neither a connection nor this store's turn is held meanwhile.

        Raises:
            RunHeldError: another head has taken over; the backups are its own now.
            StoreUnavailable: the server or the disk refuses.
        """
        self._do(lambda tx: tx.epoch)
        dump_schema(read_server_address(self.folder), schema_name(self.run_id), postgres_backups(self.folder.backup))

    def close(self) -> None:
        """Make a last backup, close the connection and stop the server. Nothing else may be called afterwards."""
        is_overtaken = self._keeper is not None and self._end_backups(self._keeper)
        super().close()
        if self.server is not None and not is_overtaken and (self.started_here or self.epoch is not None):
            self.server.stop()

    def _do(self, work: Callable[[Transaction], T], *, fenced: bool = True, repeatable: bool = True) -> T:
        try:
            return super()._do(work, fenced=fenced, repeatable=repeatable)
        except LostPopulation as error:
            if self.server is None:
                raise
            raise self.server.damaged(str(error)) from error

    def _end_backups(self, keeper: BackupKeeper) -> bool:
        """The last backup, with all that the head did; whether another head has taken over."""
        keeper.stop()
        try:
            self.make_backup()
        except RunHeldError:
            return True  # the server serves the other one
        except HpcnasError as error:
            log.warning("%s; the last one is older than what the run has", error)
        return False


def open_private_store(folder: RunFolder, config: RunConfig, backup_s: float | None = BACKUP_S) -> PostgresStore:
    """Start the run's server where it does not run, and open the population, created on the first time.

    Args:
        backup_s: seconds between the backups that a head makes; None for none.

    Raises:
        DamagedRunError: the data are damaged or gone; they are left as they are.
        StoreUnavailable: the server does not start.
        UsageError: PostgreSQL is not installed.
    """
    server = PostgresServer(folder)
    _check_is_there(folder, server)
    started_here = not server.is_running()
    server.start()
    try:
        store = _open_or_create(folder, config, server)
    except BaseException:
        if started_here:
            server.stop()
        raise
    store.folder, store.server, store.started_here, store.backup_s = folder, server, started_here, backup_s
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
        DamagedRunError: the data are damaged or gone; they are left as they are.
        StoreUnavailable: there are no data yet, or the server does not answer.
    """
    server = PostgresServer(folder)
    _check_is_there(folder, server)
    starts = server.data.exists() and not server.is_claimed()
    if starts:
        server.start()
    try:
        reader = _PrivateReader(folder, config, _address_of(folder))
    except BaseException as error:
        if starts:
            server.stop()
        if isinstance(error, LostPopulation):
            raise server.damaged(str(error)) from error
        raise
    reader.server = server if starts else None
    return reader


def _check_is_there(folder: RunFolder, server: PostgresServer) -> None:
    """A head that found nothing would begin a new population in the place of the one that was lost."""
    if not server.data.exists() and (server.was_started() or postgres_backups(folder.backup).numbers()):
        raise server.damaged("there is no such folder")


def _open_or_create(folder: RunFolder, config: RunConfig, server: PostgresServer) -> _PrivateStore:
    address = _address_of(folder)
    try:
        if has_schema(folder, config, address) or postgres_backups(folder.backup).numbers():
            return _PrivateStore.open(folder, config, address)
        return _PrivateStore.create(folder, config, address)
    except LostPopulation as error:
        raise server.damaged(str(error)) from error


def _address_of(folder: RunFolder) -> Callable[[], str]:
    return lambda: read_server_address(folder)
