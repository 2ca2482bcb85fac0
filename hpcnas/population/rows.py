"""Rows of the population as readers see them: what status, report and people ask for."""

from dataclasses import dataclass
from typing import Any

from hpcnas.config import RunConfig


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
    """One worker process; `ended` is None while it is thought alive."""

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
