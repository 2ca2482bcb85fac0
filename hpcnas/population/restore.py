"""`hpcnas restore`: building a damaged population anew, by the kind of its store."""

from hpcnas.config import RunConfig, read_config
from hpcnas.errors import UsageError
from hpcnas.population.restored import Restored
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
        from hpcnas.population.sqlite_restore import restore_sqlite

        return restore_sqlite(folder)
    raise UsageError(
        "this run keeps its population in the PostgreSQL server that --store named, and hpcnas makes no backups of that; "
        "have its administrators put back theirs, then start the head again"
    )
