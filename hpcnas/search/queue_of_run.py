"""Which queue a worker speaks to: the head's service, or PostgreSQL itself."""

from hpcnas.config import RunConfig
from hpcnas.population.store import WorkQueue
from hpcnas.run_folder import RunFolder


def open_queue(folder: RunFolder, config: RunConfig) -> WorkQueue:
    """The worker's side of the run's population.

    Raises:
        HpcnasError: the secret is missing or readable by others.
    """
    from hpcnas.population import open_queue as open_population_queue

    return open_population_queue(folder, config)
