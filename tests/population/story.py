"""A run with a PostgreSQL of its own whose last backup is older than what was granted."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.population.invariants import check_invariants
from hpcnas.population.postgres_backup import postgres_backups
from hpcnas.population.private_store import open_private_store
from hpcnas.population.queries import Population
from hpcnas.population.records import Verdict
from hpcnas.run_folder import RunFolder

from .conftest import birth, fitness, make_folder, worker

CONFIG = RunConfig(store="postgres", recipe=RecipeConfig(repeats=1))
Rows = dict[tuple[object, ...], object]


@dataclass
class Story:
    """Genotype 1 evaluated, 2 leased, 3 queued at the backup; afterwards 3 is granted, 4 born and granted.

    Attributes:
        saved: the rows at the time of the backup.
    """

    folder: RunFolder
    saved: Rows

    @classmethod
    def tell(cls, path: Path) -> "Story":
        """Let it happen; the server is stopped at the end."""
        folder = make_folder(path, CONFIG)
        store = open_private_store(folder, CONFIG, backup_s=None)
        store.begin_epoch()
        store.join(worker())
        store.add([birth(number) for number in range(1, 4)], rng_state="state")
        store.note("submitted", tasks=["1"])
        for number in (1, 2):
            store.claim("w1", f"c{number}")
        assert store.record(1, 1, fitness(0, 0.25)) is Verdict.OK
        store.make_backup()
        saved = rows(folder)
        store.add([birth(4)])
        for number in (3, 4):
            lease = store.claim("w1", f"c{number}").lease
            assert lease is not None
            assert (lease.individual_id, lease.token) == (number, 1)
        store.close()
        return cls(folder, saved)

    def copy(self, path: Path) -> "Story":
        """The same in another folder, to be destroyed."""
        shutil.copytree(self.folder.path, path)
        return Story(RunFolder(path), self.saved)

    @property
    def data(self) -> Path:
        """The server's data."""
        return self.folder.path / "postgres" / "data"

    @property
    def dumps(self) -> list[Path]:
        """The backups, the oldest first."""
        backups = postgres_backups(self.folder.backup)
        return [backups.path(number) for number in backups.numbers()]


def rows(folder: RunFolder) -> Rows:
    """What a sound population holds, as readers see it, but for what the outbox noted."""
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        found: Rows = {("individual", row.id): row for row in population.individuals()}
        found |= {("fitness", row.individual_id, row.repeat): row for row in population.fitness_rows()}
        found |= {("attempt", row.individual_id, row.token): row for row in population.attempts()}
        found |= {("worker", row.worker_id): row for row in population.workers()}
        found |= {("event", row.id): row for row in population.events() if row.kind not in ("outbox", "refused")}
        return found | {("order", individual_id): value for individual_id, value in population.evaluation_order()}
