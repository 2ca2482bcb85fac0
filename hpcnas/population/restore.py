"""`hpcnas restore`: building a damaged population anew, by the kind of its store."""

from hpcnas.config import RunConfig
from hpcnas.config_file import read_config
from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.population.restored import Restored
from hpcnas.population.run_id import check_run_id
from hpcnas.run_folder import RunFolder


def restore(folder: RunFolder) -> Restored:
    """Rebuild the population of a run from what RUN/backup holds, then the outbox. The caller holds the head's lock.

    Raises:
        UsageError: the run keeps its population in a server of its site.
        DamagedRunError: there is nothing to rebuild it from; what is there was left as it is.
        StoreUnavailable: the disk refuses.
    """
    config = RunConfig.from_dict(read_config(folder.require().config))
    if config.store == "sqlite":
        from hpcnas.population.sqlite.restore import restore_sqlite

        return restore_sqlite(folder)
    raise UsageError(
        "the population of this run is in PostgreSQL, of which hpcnas makes no backups; "
        "have its administrators put back theirs, then start the head again"
    )


def is_sound(folder: RunFolder) -> bool:
    """Whether the population of a run is there, can be read whole, and keeps every invariant.

    A server of the run's site is never called sound here: `restore` refuses it with the way out.

    Raises:
        StoreUnavailable: the population cannot be reached at the moment.
    """
    store = RunConfig.from_dict(read_config(folder.require().config)).store
    if store != "sqlite":
        return False
    try:
        with Population.open(folder) as population:
            check_run_id(folder, population.run().run_id, store)
            return not check_invariants(population) and not check_database(folder)
    except DamagedRunError:
        return False
