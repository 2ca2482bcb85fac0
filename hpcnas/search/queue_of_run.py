"""Which queue a worker speaks to: the head's service, or PostgreSQL itself."""

from hpcnas.config import RunConfig
from hpcnas.population.store import WorkQueue
from hpcnas.run_folder import RunFolder


def open_queue(folder: RunFolder, config: RunConfig) -> WorkQueue:
    """The worker's side of the run's population.

    Raises:
        HpcnasError: the secret is missing or readable by others.
    """
    if config.store == "sqlite":
        from hpcnas.population.client import ServiceClient

        return ServiceClient(folder)
    from hpcnas.population import open_store

    queue: WorkQueue = open_store(folder, config)
    return queue
