"""Breeds the next genotype, in the moment a worker asks and nothing is queued (Algorithm 1)."""

import threading
import time
from concurrent.futures import Future
from functools import lru_cache

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.errors import UsageError
from hpcnas.evolution.breeding import breed, rng_for_step
from hpcnas.evolution.duplicates import CheckedOffspring, resolve_duplicate
from hpcnas.evolution.initialization import random_genotype
from hpcnas.evolution.mutation import Admits
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.networks.counts import count
from hpcnas.population.store import Store
from hpcnas.records import OffspringRecord
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.system.background_call import ask

# The fittest win most tournaments, so the same few parents are read again and again.
_parsed = lru_cache(maxsize=1024)(genotype_from_json)

# A claim holds the store's lock while its genotype is bred; what takes longer is bred beside, and the worker asks again.
PROMPT_S = 0.1
# Random genotypes that are drawn when a run is made, about a second's worth, to see that the limit on parameters can be met.
FIRST_DRAWS = 1000


class _TooLong(Exception):
    """The draws of a record take longer than a claim may wait."""


class Breeder:
    """Breeds for one run, following the population as it is in the store.

    All that decides a record is the seed, its step and what is evaluated by then: a head killed at any
    line draws neither twice nor differently.

    Attributes:
        is_open: False while draining: nothing is born any more.
        best: (id, fitness) of the fittest so far, the older one of equals; None before the first.
    """

    def __init__(self, store: Store, config: RunConfig, *, classes: int = 10, in_channels: int = 3) -> None:
        self.store = store
        self.config = config
        self.classes = classes
        self.in_channels = in_channels
        self.is_open = True
        self.best: tuple[int, float] | None = None
        self._population = RankedPopulation()
        self._best_at = 0  # how many were evaluated when the best fitness was reached
        self._longest = 0  # the longest stretch without a better one that ended with a better one
        self._last: int | None = None  # the individual taken in last
        self._slow: tuple[int, Future[OffspringRecord]] | None = None  # a step, and its record that is drawn without any lock
        # Taken after the store's own lock, never before it: the service breeds inside a transaction.
        self._lock = threading.Lock()

    def breed(self) -> bool:
        """Queue one child if the run needs another.

        Returns:
            Whether a genotype is queued now for a worker. A record with a twin is evaluated at once or waits for it, so that
            another follows. False, too, while a record or many of those take long: a later call goes on with them.
        Raises:
            UsageError: hardly any genotype meets --max-parameters.
        """
        until_s = time.monotonic() + PROMPT_S
        with self._lock:
            while self.is_open:
                counts = self.store.counts()
                if counts.evaluated + counts.queued + counts.leased >= self.config.search.steps:
                    return False
                record = self._next_offspring(counts.born + 1)
                if record is None:
                    return False
                self.store.add([record])
                if record.copied_from is None:
                    return True
                if time.monotonic() > until_s:  # a search that has converged breeds little else
                    return False
            return False

    def __len__(self) -> int:
        """How many evaluated genotypes its population has."""
        return len(self._population)

    @property
    def longest_without_progress(self) -> int:
        """The most genotypes evaluated one after the other without a fitness above the best so far; a tie is no progress."""
        return max(self._longest, len(self._population) - self._best_at)

    def follow(self) -> None:
        """Take in what was evaluated since the last look."""
        known = len(self._population)
        rows = self.store.evaluated(max(0, known - 1))
        with self._lock:
            # Else the service's thread was faster, or has to read all anew; it may call the store under this lock.
            if known == len(self._population) and self._continues(rows):
                self._take_in(rows)

    def _take_in(self, rows: list[tuple[int, float]]) -> None:
        """Add new rows; read all again if the first of them is not the last one added: a transaction was rolled back."""
        if not self._continues(rows):
            self._population, self._last, self.best = RankedPopulation(), None, None
            self._best_at = self._longest = 0
            rows = self.store.evaluated()
        for individual_id, fitness in rows[self._last is not None :]:
            self._population.insert(individual_id, fitness)
            self._last = individual_id
            if self.best is None or fitness > self.best[1]:
                self._longest = max(self._longest, len(self._population) - 1 - self._best_at)
                self._best_at = len(self._population)
            if self.best is None or (fitness, -individual_id) > (self.best[1], -self.best[0]):
                self.best = (individual_id, fitness)

    def _continues(self, rows: list[tuple[int, float]]) -> bool:
        return self._last is None or (bool(rows) and rows[0][0] == self._last)

    def _next_offspring(self, step: int) -> OffspringRecord | None:
        """The record of a step; None while it is still being drawn."""
        if self._slow is not None and self._slow[0] == step:
            return self._take_slow(self._slow[1])
        self._take_in(self.store.evaluated(max(0, len(self._population) - 1)))
        try:
            return self._draw(step, self._population, time.monotonic() + PROMPT_S)
        except _TooLong:
            population = self._population.copy()  # as it is when the worker asks, whatever is evaluated meanwhile
            self._slow = step, ask(lambda: self._draw(step, population))
            return None

    def _take_slow(self, answer: "Future[OffspringRecord]") -> OffspringRecord | None:
        if not answer.done():
            return None
        self._slow = None
        return answer.result()

    def _draw(self, step: int, population: RankedPopulation, until_s: float | None = None) -> OffspringRecord:
        search, space = self.config.search, self.config.space
        rng = rng_for_step(search.seed, step)
        admits = _in_time(self._admits(), until_s)
        checked = resolve_duplicate(
            search.duplicates,
            lambda: breed(step, space, search, population, self._genotype_of, rng, admits),
            self.store.find_digest,
            population.__contains__,
        )
        return self._as_record(checked)

    def _as_record(self, checked: CheckedOffspring) -> OffspringRecord:
        offspring, text = checked.offspring, genotype_to_json(checked.offspring.genotype)
        # The seed of a repeat follows from run, genotype and repeat: the same genotype would be trained to the same bits.
        source = checked.copied_from or self.store.find_twin(checked.digest, text)
        parameters = self._parameters(offspring.genotype)
        return OffspringRecord(checked.digest, text, offspring.parent_id, offspring.mutation, parameters, source)

    def _genotype_of(self, individual_id: int) -> Genotype:
        return _parsed(self.store.genotype(individual_id))

    def _admits(self) -> Admits | None:
        limit = self.config.space.max_parameters
        return None if limit is None else lambda genotype: self._parameters(genotype) <= limit

    def _parameters(self, genotype: Genotype) -> int:
        return small_parameters(genotype, self.config.recipe, self.classes, self.in_channels)


def small_parameters(genotype: Genotype, recipe: RecipeConfig, classes: int, in_channels: int) -> int:
    """Trainable parameters of the network that the run trains for its fitness."""
    small = count(genotype, "small", channels=recipe.channels, cells=recipe.cells, classes=classes, in_channels=in_channels)
    return small.trainable


def check_limit(config: RunConfig, classes: int, in_channels: int) -> None:
    """Check that --max-parameters is met by random genotypes, with which every search begins, and by those of --initial.

    Raises:
        UsageError: by none of FIRST_DRAWS, or by one of --initial: of its children none may meet it, which ends the search.
    """
    limit, seen = config.space.max_parameters, [0]
    if limit is None:
        return
    _check_initial(config, limit, classes, in_channels)

    def admits(genotype: Genotype) -> bool:
        seen.append(small_parameters(genotype, config.recipe, classes, in_channels))
        return seen[-1] <= limit

    search = config.search
    try:
        random_genotype(config.space, rng_for_step(search.seed, 1), search.initial_mutations, admits, FIRST_DRAWS)
    except UsageError as error:
        raise UsageError(
            f"--max-parameters {limit} is met by none of {FIRST_DRAWS} random genotypes, the smallest of which has "
            f"{min(seen[1:], default=0)}; raise it"
        ) from error


def _check_initial(config: RunConfig, limit: int, classes: int, in_channels: int) -> None:
    for text, origin in zip(config.search.initial_genotypes, config.search.initial_origins, strict=True):
        parameters = small_parameters(genotype_from_json(text), config.recipe, classes, in_channels)
        if parameters > limit:
            raise UsageError(
                f"--initial {origin} has {parameters} parameters, more than --max-parameters {limit}; "
                "raise that, or leave the source out"
            )


def _in_time(admits: Admits | None, until_s: float | None) -> Admits | None:
    """The same condition, that raises _TooLong when it is asked after `until_s`."""
    if until_s is None:
        return admits

    def check(genotype: Genotype) -> bool:
        if time.monotonic() > until_s:
            raise _TooLong
        return admits is None or admits(genotype)

    return check
