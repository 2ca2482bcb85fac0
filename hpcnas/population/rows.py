"""Rows of the population as readers see them: what status, report and people ask for."""

import math
from dataclasses import dataclass
from typing import Any

from hpcnas.config import RunConfig
from hpcnas.records import Individual


@dataclass(frozen=True, slots=True)
class RunRow:
    """The run itself.

    Attributes:
        run_id: uuid, the same as in the folder's run.id.
        hpcnas: version that created the run.
        created: seconds since 1970.
        epoch: grows with every head.
    """

    run_id: str
    hpcnas: str
    created: float
    config: RunConfig
    epoch: int
    draining: bool
    finished: bool


@dataclass(frozen=True, slots=True)
class FitnessRow:
    """One repeat of one individual.

    Attributes:
        token: the grant under which it was recorded; 0 when copied from a twin.
        seconds: training and evaluation of this repeat; 0 when copied.
        recorded: seconds since 1970.
    """

    individual_id: int
    repeat: int
    accuracy: float
    seed: int
    token: int
    steps: int
    seconds: float
    device: str
    recorded: float


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One grant of a genotype to a worker.

    Attributes:
        started, ended: seconds since 1970; ended is None while it runs.
        outcome: "" while it runs; evaluated, lost, stalled, preempted or a FailureKind.
        error, trace: message and traceback of a failure.
    """

    individual_id: int
    token: int
    worker_id: str
    host: str
    started: float
    ended: float | None
    outcome: str
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker process; `ended` is None while it counts as alive."""

    worker_id: str
    host: str
    pid: int
    device: str
    slurm_job: str
    slurm_task: str
    joined: float
    ended: float | None
    end_reason: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the event log; `at` is seconds since 1970."""

    id: int
    at: float
    kind: str
    details: dict[str, Any]


COLUMNS = (
    "id",
    "digest",
    "parent",
    "step",
    "state",
    "fitness",
    "std",
    "accuracies",
    "parameters",
    "mutation",
    "attempts",
    "seconds",
    "reason",
    "genotype",
)


def as_dict(one: Individual) -> dict[str, Any]:
    """One individual by COLUMNS, as plain values."""
    values = (
        one.id,
        one.digest,
        one.parent_id,
        one.step,
        str(one.state),
        one.fitness,
        _std(one),
        list(one.accuracies),
        one.parameters,
        one.mutation,
        one.attempts,
        one.seconds,
        one.reason,
        one.genotype,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _std(one: Individual) -> float | None:
    """Sample standard deviation between the repeats of an evaluated individual."""
    n = len(one.accuracies)
    if one.fitness is None or n < 2:
        return None
    return math.sqrt(sum((accuracy - one.fitness) ** 2 for accuracy in one.accuracies) / (n - 1))
