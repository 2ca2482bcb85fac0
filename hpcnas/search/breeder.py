"""Birth of the next genotype, in the moment a worker asks and nothing is queued (Algorithm 1)."""

import threading
from collections.abc import Callable
from functools import lru_cache

from hpcnas.config import RunConfig
from hpcnas.evolution.breeding import breed, rng_for_step
from hpcnas.evolution.duplicates import Newborn, resolve_duplicate
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.networks.counts import count
from hpcnas.population.records import Birth
from hpcnas.population.store import Store
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.genotype import Genotype

# The fittest win most tournaments, so the same few parents are read again and again.
_parsed = lru_cache(maxsize=1024)(genotype_from_json)


class Breeder:
    """Breeds for one run, following the population as it is in the store.

    All that decides a birth is the seed, its step and what is evaluated by then: a head killed at any
    line draws neither twice nor differently.

    Attributes:
        is_open: False while draining: nothing is born any more.
        best: (id, fitness) of the fittest so far; None before the first.
    """

    def __init__(self, store: Store, config: RunConfig, *, classes: int = 10, in_channels: int = 3) -> None:
        self.store = store
        self.config = config
        self.classes = classes
        self.in_channels = in_channels
        self.is_open = True
        self.best: tuple[int, float] | None = None
        self._population = RankedPopulation()
        self._last: int | None = None  # the individual taken in last
        # Taken after the store's own lock, never before it: the service breeds inside a transaction.
        self._lock = threading.Lock()

    def breed(self) -> bool:
        """Queue one child if the run wants another.

        Returns:
            Whether a genotype is queued now. With duplicates=reuse a birth may be evaluated at once; then another follows.
        """
        with self._lock:
            while self.is_open:
                counts = self.store.counts()
                if counts.evaluated + counts.queued + counts.leased >= self.config.search.steps:
                    return False
                birth = self._birth(counts.born + 1)
                self.store.add([birth])
                if birth.copied_from is None:
                    return True
            return False

    def follow(self) -> None:
        """Take in what was evaluated since the last look."""
        known = len(self._population)
        rows = self.store.evaluated(max(0, known - 1))
        with self._lock:
            # Else the service's thread was faster, or has to read all anew; it may call the store under this lock.
            if known == len(self._population) and self._continues(rows):
                self._take_in(rows)

    def _take_in(self, rows: list[tuple[int, float]]) -> None:
        """Add `rows`, of which the first is the last one known: another there means that a transaction was taken back."""
        if not self._continues(rows):
            self._population, self._last, self.best = RankedPopulation(), None, None
            rows = self.store.evaluated()
        for individual_id, fitness in rows[self._last is not None :]:
            self._population.insert(individual_id, fitness)
            self._last = individual_id
            if self.best is None or fitness > self.best[1]:
                self.best = (individual_id, fitness)

    def _continues(self, rows: list[tuple[int, float]]) -> bool:
        return self._last is None or (bool(rows) and rows[0][0] == self._last)

    def _birth(self, step: int) -> Birth:
        self._take_in(self.store.evaluated(max(0, len(self._population) - 1)))
        search = self.config.search
        rng = rng_for_step(search.seed, step)
        newborn = resolve_duplicate(
            search.duplicates,
            lambda: breed(step, self.config.space, search, self._population, self._genotype_of, rng, self._admits()),
            self.store.find_digest,
            self._population.__contains__,
        )
        return self._as_birth(newborn)

    def _as_birth(self, newborn: Newborn) -> Birth:
        offspring = newborn.offspring
        return Birth(
            newborn.digest,
            genotype_to_json(offspring.genotype),
            offspring.parent_id,
            offspring.mutation,
            self._parameters(offspring.genotype),
            newborn.copied_from,
        )

    def _genotype_of(self, individual_id: int) -> Genotype:
        return _parsed(self.store.genotype(individual_id))

    def _admits(self) -> Callable[[Genotype], bool] | None:
        limit = self.config.space.max_parameters
        return None if limit is None else lambda genotype: self._parameters(genotype) <= limit

    def _parameters(self, genotype: Genotype) -> int:
        recipe = self.config.recipe
        small = count(
            genotype, "small", channels=recipe.channels, cells=recipe.cells, classes=self.classes, in_channels=self.in_channels
        )
        return small.trainable
