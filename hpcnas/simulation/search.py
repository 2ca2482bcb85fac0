"""Algorithms 1 and 2 in virtual time: the head's breeding, workers for which only a clock runs.

Nothing is trained and nothing sleeps: events are taken from a heap in the order of their time. Genotypes are bred
as the head breeds them and get their synthetic fitness, so what tournaments see, and how stale it is, is right.
"""

import heapq
from dataclasses import dataclass
from math import floor
from random import Random

from hpcnas.errors import HpcnasError
from hpcnas.evolution.breeding import breed, rng_for_step
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.networks.counts import count
from hpcnas.population.rules import MAX_ERRORS, MAX_PREEMPTIONS, RESERVE
from hpcnas.representation.genotype import Genotype
from hpcnas.simulation.scenario import Scenario, SimulationResult
from hpcnas.training.fitness.synthetic import NOISE, expected_accuracy


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
        self.queue: list[tuple[bool, int, _Task]] = []  # as the store's: what was given back goes first, then the oldest
        self.leased: dict[int, _Task] = {}  # by worker
        self.waiting: dict[int, float] = {}  # worker -> since when
        self.asked: dict[int, float] = {}
        self.head_free = 0.0
        self.born = 0
        self.population = RankedPopulation()
        self.genotypes: dict[int, Genotype] = {}
        self.fitness: dict[Genotype, float] = {}
        self.twins: dict[Genotype, list[_Task]] = {}  # genotypes that are trained -> the very same ones that wait for it
        limit = scenario.space.max_parameters
        self.admits = None if limit is None else lambda genotype: count(genotype).trainable <= limit

    def run(self) -> SimulationResult:
        """Take events in the order of their times until all steps are evaluated; what came out."""
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
        """Add an event of a worker at `time`, in virtual seconds."""
        self.entries += 1
        heapq.heappush(self.events, (time, self.entries, what, worker))

    def start(self, worker: int, now: float) -> None:
        """Begin a worker's process, which claims when it has started."""
        self.outcome.starting_s += self.scenario.start_s
        self.after(now + self.scenario.start_s, "ask", worker)

    def ask(self, worker: int, now: float) -> None:
        """Put a claim behind those that the head answers before it."""
        self.asked[worker] = now
        self.head_free = max(now, self.head_free) + self.scenario.claim_s
        self.outcome.head_s += self.scenario.claim_s
        self.after(self.head_free, "serve", worker)

    def serve(self, worker: int, now: float) -> None:
        """Answer a claim: draw the end of the attempt, or retire the worker if nothing is left to begin."""
        task = heapq.heappop(self.queue)[-1] if self.queue else self.next_offspring()
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
        """Whether another genotype is to be begun: none is if all that are left have begun or wait for a twin."""
        waiting = sum(map(len, self.twins.values()))
        return self.outcome.evaluated + len(self.queue) + len(self.leased) + waiting < self.scenario.search.steps

    def next_offspring(self) -> _Task | None:
        """The next genotype that has to be trained; those that need not be are reused, or wait, on the way to it."""
        while self.is_wanted():
            task = self.bred()
            genotype = self.genotypes.get(task.step)  # None without breeding
            if genotype in self.fitness:
                self.reuse(task)
            elif genotype in self.twins:
                self.twins[genotype].append(task)
            else:
                if genotype is not None:
                    self.twins[genotype] = []
                return task
        return None

    def bred(self) -> _Task:
        """The next step's genotype, bred as the head breeds it, with the seconds that it takes."""
        self.born += 1
        step, scenario = self.born, self.scenario
        if scenario.is_breeding:
            rng = rng_for_step(scenario.search.seed, step)
            born = breed(step, scenario.space, scenario.search, self.population, self.genotypes.__getitem__, rng, self.admits)
            self.genotypes[step] = born.genotype
        return _Task(step, scenario.durations(self.rng))

    def done(self, worker: int, now: float) -> None:
        """Record the fitness of the worker's genotype and of those that wait for it; the worker claims again."""
        task = self.leased.pop(worker)
        self.outcome.evaluated += 1
        if self.scenario.is_breeding:
            genotype, noise = self.genotypes[task.step], NOISE / self.scenario.repeats**0.5
            fitness = self.rng.gauss(expected_accuracy(genotype), noise)
            self.fitness[genotype] = fitness
            self.population.insert(task.step, fitness)
            self.outcome.best = max(fitness, self.outcome.best or 0.0)
            for twin in self.twins.pop(genotype):
                self.reuse(twin)
        self.ask(worker, now)

    def reuse(self, task: _Task) -> None:
        """Give a genotype the fitness of the very same one, without a training."""
        self.outcome.evaluated += 1
        self.outcome.reused += 1
        self.outcome.saved_s += task.total_s
        self.population.insert(task.step, self.fitness[self.genotypes[task.step]])

    def error(self, worker: int, now: float) -> None:
        """End an attempt with an error, which counts against the genotype; the worker claims again."""
        task = self.leased.pop(worker)
        task.errors += 1
        self.give_back(task, task.errors >= MAX_ERRORS, now)
        self.ask(worker, now)

    def preempted(self, worker: int, now: float) -> None:
        """End an attempt and its worker, which starts anew after `restart_s`; no error of the genotype."""
        task = self.leased.pop(worker)
        task.preemptions += 1
        self.outcome.preemptions += 1
        self.give_back(task, task.preemptions >= MAX_PREEMPTIONS, now)
        self.start(worker, now + self.scenario.restart_s)

    def give_back(self, task: _Task, is_final: bool, now: float) -> None:
        """Queue a genotype again, or let it fail for good.

        Raises:
            HpcnasError: so many failed that the search would not end.
        """
        if is_final:
            self.outcome.failed += 1
            self.hand_over(task)
        else:
            self.enqueue(task, is_given_back=True)
        # A failed genotype is replaced by a new one, so a search in which all fail would go on for ever.
        if self.outcome.failed > 100 + 10 * self.scenario.search.steps:
            raise HpcnasError(
                f"{self.outcome.failed} genotypes failed and {self.outcome.evaluated} were evaluated: such a search does not "
                "end; make failures or preemptions rarer, or genotypes shorter"
            )
        self.wake(now)

    def enqueue(self, task: _Task, *, is_given_back: bool) -> None:
        """Let a genotype that is there wait for a worker; it goes before any that is still to be bred."""
        heapq.heappush(self.queue, (not is_given_back, task.step, task))

    def hand_over(self, task: _Task) -> None:
        """The first that waited for a failed genotype is trained, the others wait for it."""
        genotype = self.genotypes.get(task.step)
        if genotype is not None:
            waiting = self.twins.pop(genotype)
            if waiting:
                self.enqueue(waiting[0], is_given_back=False)
                self.twins[genotype] = waiting[1:]

    def wake(self, now: float) -> None:
        """Somebody who waits can have what was given back, or the offspring that replaces a failed genotype."""
        if self.waiting:
            worker = next(iter(self.waiting))
            self.outcome.tail_s += now - self.waiting.pop(worker)
            self.ask(worker, now)
