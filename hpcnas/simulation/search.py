"""Algorithms 1 and 2 in virtual time: the head's breeding, workers for which only a clock runs.

Nothing is trained and nothing sleeps: events are taken from a heap in the order of their time. Genotypes are bred
as the head breeds them and get their synthetic fitness, so what tournaments see, and how stale it is, is right.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from math import floor
from random import Random

from hpcnas.config import SearchConfig
from hpcnas.errors import HpcnasError
from hpcnas.evolution.breeding import breed, rng_for_step
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.networks.counts import count
from hpcnas.population.rules import MAX_ERRORS, MAX_PREEMPTIONS, RESERVE
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.space import HIERARCHICAL, SearchSpace
from hpcnas.simulation.durations import Durations
from hpcnas.training.fitness.synthetic import NOISE, expected_accuracy


@dataclass(frozen=True, slots=True)
class Scenario:
    """The search to simulate.

    Attributes:
        durations: seconds of one genotype, all repeats together.
        claim_s: what the head needs to answer one claim; it answers one after the other.
        arrival_s: the workers' jobs start evenly spread over so many seconds.
        start_s: from the start of a worker's job to its first claim.
        failure: the share of attempts that end with an error, somewhere on their way.
        preemption_s: mean time between two preemptions of one worker; 0 for none.
        restart_s: from a preemption to the worker's next start.
        is_breeding: False leaves genotypes out and follows the time alone.
    """

    durations: Durations
    space: SearchSpace = HIERARCHICAL
    search: SearchConfig = field(default_factory=SearchConfig)
    workers: int = 200
    repeats: int = 4
    claim_s: float = 0.001
    arrival_s: float = 0.0
    start_s: float = 30.0
    failure: float = 0.0
    preemption_s: float = 0.0
    restart_s: float = 120.0
    is_breeding: bool = True


@dataclass(slots=True)
class SimulationResult:
    """The outcome; seconds are summed over workers, except wall_s and head_s.

    Attributes:
        busy_s: training that became fitness. lost_s: training that was thrown away.
        starting_s: start-up of workers. idle_s: waiting for a genotype while some were still to be bred.
        tail_s: waiting in reserve at the end, when the last genotypes are with other workers; the rest has left.
        head_s: the head answering claims.
        best: fitness of the fittest genotype; synthetic.
    """

    evaluated: int = 0
    failed: int = 0
    attempts: int = 0
    preemptions: int = 0
    wall_s: float = 0.0
    busy_s: float = 0.0
    lost_s: float = 0.0
    starting_s: float = 0.0
    idle_s: float = 0.0
    tail_s: float = 0.0
    head_s: float = 0.0
    best: float | None = None

    @property
    def held_s(self) -> float:
        """Worker time in all, the tail included."""
        return self.busy_s + self.lost_s + self.starting_s + self.idle_s + self.tail_s


@dataclass(slots=True)
class _Task:
    """A genotype on its way: how much of it is left to train."""

    step: int
    total_s: float
    done: int = 0  # repeats
    errors: int = 0
    preemptions: int = 0


def simulate(scenario: Scenario) -> SimulationResult:
    """Run one search from its first worker to its last genotype, in virtual time; the same scenario, the same outcome.

    Raises:
        HpcnasError: far more genotypes fail than are evaluated, so that the search would hardly ever end.
    """
    return _Search(scenario).run()


class _Search:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        # A stream apart from those of breeding: durations must not change the genotypes.
        self.rng = Random(f"hpcnas simulation {scenario.search.seed}")
        self.outcome = SimulationResult()
        # Events of one time are taken in order of entry, so that a scenario has one outcome.
        self.events: list[tuple[float, int, str, int]] = []  # (time, order of entry, what, worker)
        self.entries = 0
        self.queue: deque[_Task] = deque()
        self.leased: dict[int, _Task] = {}  # by worker
        self.waiting: dict[int, float] = {}  # worker -> since when
        self.asked: dict[int, float] = {}
        self.head_free = 0.0
        self.born = 0
        self.population = RankedPopulation()
        self.genotypes: dict[int, Genotype] = {}
        limit = scenario.space.max_parameters
        self.admits = None if limit is None else lambda genotype: count(genotype).trainable <= limit

    def run(self) -> SimulationResult:
        scenario, outcome = self.scenario, self.outcome
        for worker in range(scenario.workers):
            self.start(worker, scenario.arrival_s * worker / scenario.workers)
        react = {"ask": self.ask, "serve": self.serve, "done": self.done, "error": self.error, "preempted": self.preempted}
        while outcome.evaluated < scenario.search.steps:
            now, _, what, worker = heapq.heappop(self.events)
            react[what](worker, now)
        outcome.wall_s = now
        outcome.tail_s = sum(now - since for since in self.waiting.values())
        return outcome

    def after(self, time: float, what: str, worker: int) -> None:
        self.entries += 1
        heapq.heappush(self.events, (time, self.entries, what, worker))

    def start(self, worker: int, now: float) -> None:
        self.outcome.starting_s += self.scenario.start_s
        self.after(now + self.scenario.start_s, "ask", worker)

    def ask(self, worker: int, now: float) -> None:
        self.asked[worker] = now
        self.head_free = max(now, self.head_free) + self.scenario.claim_s
        self.outcome.head_s += self.scenario.claim_s
        self.after(self.head_free, "serve", worker)

    def serve(self, worker: int, now: float) -> None:
        task = self.queue.popleft() if self.queue else self.next_offspring() if self.is_wanted() else None
        if task is None:
            self.retire(worker, now)
            return
        self.outcome.idle_s += now - self.asked.pop(worker)
        self.outcome.attempts += 1
        self.leased[worker] = task
        left_s = task.total_s * (1 - task.done / self.scenario.repeats)
        fails_s = left_s * self.rng.random() if self.rng.random() < self.scenario.failure else left_s
        ends_s = self.rng.expovariate(1 / self.scenario.preemption_s) if self.scenario.preemption_s else left_s
        what = "preempted" if ends_s < fails_s else "error" if fails_s < left_s else "done"
        self.after(now + min(ends_s, fails_s), what, worker)
        self.train(task, min(ends_s, fails_s))

    def retire(self, worker: int, now: float) -> None:
        """At the end a worker without a genotype waits in reserve, or leaves if others do."""
        since = self.asked.pop(worker)
        if len(self.waiting) < RESERVE:
            self.waiting[worker] = since
        else:
            self.outcome.tail_s += now - since

    def train(self, task: _Task, seconds: float) -> None:
        """Count what is trained until the attempt ends: full repeats are kept, the broken one is lost."""
        each_s = task.total_s / self.scenario.repeats
        # 1e-9: a repeat that ends with the attempt is finished in spite of rounding.
        kept = min(self.scenario.repeats - task.done, floor(seconds / each_s + 1e-9))
        task.done += kept
        self.outcome.busy_s += kept * each_s
        self.outcome.lost_s += max(0.0, seconds - kept * each_s)

    def is_wanted(self) -> bool:
        return self.outcome.evaluated + len(self.queue) + len(self.leased) < self.scenario.search.steps

    def next_offspring(self) -> _Task:
        self.born += 1
        step, scenario = self.born, self.scenario
        if scenario.is_breeding:
            rng = rng_for_step(scenario.search.seed, step)
            born = breed(step, scenario.space, scenario.search, self.population, self.genotypes.__getitem__, rng, self.admits)
            self.genotypes[step] = born.genotype
        return _Task(step, scenario.durations(self.rng))

    def done(self, worker: int, now: float) -> None:
        task = self.leased.pop(worker)
        self.outcome.evaluated += 1
        if self.scenario.is_breeding:
            noise = NOISE / self.scenario.repeats**0.5
            fitness = self.rng.gauss(expected_accuracy(self.genotypes[task.step]), noise)
            self.population.insert(task.step, fitness)
            self.outcome.best = max(fitness, self.outcome.best or 0.0)
        self.ask(worker, now)

    def error(self, worker: int, now: float) -> None:
        task = self.leased.pop(worker)
        task.errors += 1
        self.give_back(task, task.errors >= MAX_ERRORS, now)
        self.ask(worker, now)

    def preempted(self, worker: int, now: float) -> None:
        task = self.leased.pop(worker)
        task.preemptions += 1
        self.outcome.preemptions += 1
        self.give_back(task, task.preemptions >= MAX_PREEMPTIONS, now)
        self.start(worker, now + self.scenario.restart_s)

    def give_back(self, task: _Task, is_final: bool, now: float) -> None:
        if is_final:
            self.outcome.failed += 1
        else:
            self.queue.append(task)
        # A failed genotype is replaced by a new one, so a search in which all fail would go on for ever.
        if self.outcome.failed > 100 + 10 * self.scenario.search.steps:
            raise HpcnasError(
                f"{self.outcome.failed} genotypes failed and {self.outcome.evaluated} were evaluated: such a search does not "
                "end; make failures or preemptions rarer, or genotypes shorter"
            )
        self.wake(now)

    def wake(self, now: float) -> None:
        """Somebody who waits can have what was given back, or the offspring that replaces a failed genotype."""
        if self.waiting:
            worker = next(iter(self.waiting))
            self.outcome.tail_s += now - self.waiting.pop(worker)
            self.ask(worker, now)
