"""The plain rows of one run, read once; tables and charts are functions of them."""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.population.pace import spent_s
from hpcnas.records import Final, StateCounts
from hpcnas.report.macs import small_macs
from hpcnas.report.tables.formatting import Spread

log = logging.getLogger(__name__)

SPACE_NAMES = {"hierarchical": "Hierarchical", "flat": "Flat", "flat-constrained": "Flat, parameter-constrained"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluated genotype.

    Attributes:
        id: its evolution step, from 1.
        fitness: accuracy as a share, over its repeats.
        seconds: training of all its repeats.
    """

    id: int
    digest: str
    parent_id: int | None
    mutation: str
    parameters: int
    fitness: Spread
    seconds: float


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One lease of a genotype; times are seconds since 1970, `ended` None while it runs.

    Attributes:
        outcome: "" while it runs; evaluated, lost, stalled, preempted or the kind of the failure.
        error: its message.
    """

    individual_id: int
    worker_id: str
    host: str
    started: float
    ended: float | None
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class WorkerSpan:
    """When a worker process came and when it ended, by its last message (None: it is there still)."""

    worker_id: str
    host: str
    joined: float
    left: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FailedGenotype:
    """A genotype that failed for good."""

    id: int
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunRows:
    """One run.

    Attributes:
        name: the folder's name, made unique among the runs of a report.
        evaluations: by ascending id.
        devices: what the repeats were trained on: cpu, the name of a GPU, synthetic.
        genotypes: JSON of those that are evaluated or failed, by id.
        waiting: results in the outbox, which the rows do not hold yet.
        run_id: as in the folder's run.id.
        started: seconds since 1970.
        ended: when the last attempt ended or began; None before the first.
        reused: evaluated genotypes that took over the fitness of an earlier one.
        saved_h: GPU-hours of training that this saved.
    """

    name: str
    folder: str
    config: RunConfig
    counts: StateCounts
    evaluations: tuple[Evaluation, ...]
    finals: tuple[Final, ...] = ()
    attempts: tuple[AttemptView, ...] = field(default=(), repr=False)
    workers: tuple[WorkerSpan, ...] = field(default=(), repr=False)
    devices: tuple[str, ...] = ()
    failed_permanently: tuple[FailedGenotype, ...] = ()
    genotypes: Mapping[int, str] = field(default_factory=dict, repr=False)
    started: float = 0.0
    ended: float | None = None
    version: str = ""
    waiting: int = 0
    run_id: str = ""
    reused: int = 0
    saved_h: float = 0.0

    @property
    def is_synthetic(self) -> bool:
        """Whether the fitness is a function of the graph, not of a training."""
        return self.config.recipe.fitness.partition(":")[0] == "synthetic"

    @property
    def fitness_note(self) -> str:
        """The kind of fitness, if it is not the accuracy of a trained network; else empty."""
        fitness = self.config.recipe.fitness
        if fitness == "train":
            return ""
        return "synthetic fitness: nothing was trained" if self.is_synthetic else f"fitness by {fitness}"

    @property
    def label(self) -> str:
        """The name, marked if the search is not the paper's: nothing trained, genotypes given to begin with, own primitives."""
        search, space = self.config.search, self.config.space
        found = {"synthetic": self.is_synthetic, "initial given": search.initial, "own primitives": space.primitives}
        marks = [mark for mark, is_so in found.items() if is_so]
        return f"{self.name} ({', '.join(marks)})" if marks else self.name

    @property
    def space(self) -> str:
        """The search space as the paper's tables name it."""
        return SPACE_NAMES[self.config.space.kind]

    @property
    def reuse_note(self) -> str:
        """How many genotypes were not trained, and what that saved; empty where all were."""
        share = self.reused / max(1, self.counts.evaluated)
        saved = f"which saved {self.saved_h:,.2f} GPU-hours"
        return (
            f"{self.reused:,} of {self.counts.evaluated:,} ({share:.0%}) had been trained before, {saved}"
            if self.reused
            else ""
        )

    @property
    def best(self) -> Evaluation | None:
        """The fittest of all, the earliest of equals; None when nothing is evaluated."""
        return fittest(self.evaluations)

    @property
    def seconds(self) -> float | None:
        """Wall time from the first to the last thing that happened."""
        return None if self.ended is None else max(0.0, self.ended - self.started)

    def macs(self) -> dict[int, int]:
        """Multiply-adds of the small model of each evaluation whose genotype is known, by id.

        None are given if the run's own primitives cannot be imported here; one log line says so.
        """
        known = {row.id: self.genotypes[row.id] for row in self.evaluations if row.id in self.genotypes}
        try:
            return small_macs(known, self.config)
        except UsageError as error:
            log.warning("the multiply-adds of %s are left out: %s", self.label, error)
            return {}

    def gpu_hours(self, through: int | None = None) -> float | None:
        """Hours of a device that attempts on individuals 1..through (None: all) took, lost ones included.

        None when the run has no attempts on record; running attempts count up to the run's last sign of life.
        """
        attempts = [attempt for attempt in self.attempts if through is None or attempt.individual_id <= through]
        if not attempts:
            return None
        # Attempts that never ended count up to the last thing that the run has on record, not up to now.
        until = max(self.ended or 0.0, max(attempt.started for attempt in attempts))
        return spent_s(attempts, self.config.cluster.gpus_per_worker, until) / 3600

    def wall_seconds(self, through: int) -> float | None:
        """Seconds from the start of the run until individuals 1..through were done; None without attempts on record."""
        ends = [attempt.ended for attempt in self.attempts if attempt.individual_id <= through and attempt.ended is not None]
        return max(ends) - self.started if ends else None


def fittest(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The one of highest mean fitness, the earliest of equals."""
    return max(evaluations, key=lambda evaluation: (evaluation.fitness.mean, -evaluation.id), default=None)


def best_so_far(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The fittest up to and with each evaluation in turn."""

    def fitter(best: Evaluation, new: Evaluation) -> Evaluation:
        # Only if it is better: of equal fitnesses the older genotype is the fitter one (docs/paper.md, section 3).
        return new if new.fitness.mean > best.fitness.mean else best

    return list(accumulate(evaluations, fitter))


def record_setters(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Those that were the fittest when they came, first genotype included."""
    return list(dict.fromkeys(best_so_far(evaluations)))


def first(evaluations: Sequence[Evaluation], steps: int) -> Sequence[Evaluation]:
    """The evaluations of steps 1..steps."""
    return evaluations[: bisect_right(evaluations, steps, key=lambda evaluation: evaluation.id)]
