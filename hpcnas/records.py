"""Records of the population, and the messages' contents between workers, head and store."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

UNFIT_HOST = "unfit host: "  # begins the reason of a worker that leaves because its machine cannot work

# What every database keeps; of records that are read from JSON.
Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Real = Annotated[float, Meta(gt=-(2.0**63), lt=2.0**63)]
Text = Annotated[str, Meta(pattern=r"\A[^\0]*\Z")]


class State(StrEnum):
    """The state of an individual; the arrows are those of the lease table in docs/reliability.md."""

    QUEUED = "queued"  # born, or given back: waits for a worker
    LEASED = "leased"  # a worker trains it under the row's current token
    EVALUATED = "evaluated"  # every repeat has its fitness row; terminal
    FAILED = "failed"  # no fitness, in no tournament; terminal unless retried by hand


class Verdict(StrEnum):
    """The answer to a message about a lease or to a claim."""

    OK = "ok"  # done, or already done by the same message before
    STALE = "stale"  # the token is not current any more: stop this training
    DRAIN = "drain"  # done; finish what is leased, then leave
    WAIT = "wait"  # nothing to do right now: ask again
    FINISHED = "finished"  # the run has all its genotypes: leave


class FailureKind(StrEnum):
    """Why an attempt ended without a fitness."""

    OUT_OF_MEMORY = "oom"  # once more elsewhere, then failed
    NOT_A_NUMBER = "nan"
    TIMEOUT = "timeout"
    BUILD = "build"  # deterministic: failed at once
    TOO_LARGE = "too-large"  # deterministic: failed at once
    CRASH = "crash"
    STALLED = "stalled"  # the heartbeat beat, training stood still


@dataclass(frozen=True, slots=True)
class OffspringRecord:
    """A genotype as the head breeds it.

    Attributes:
        genotype: JSON text of the genotype file format.
        parent_id: the individual it was mutated from; None for a random one.
        mutation: what changed, as text such as "level 2 motif 3: 1-4 none -> conv1x1"; "" for a random one.
        parameters: trainable parameters of the run's small model.
        copied_from: the individual whose fitness rows it takes over, now or once they are there; None: it is trained.
    """

    digest: str
    genotype: str
    parent_id: int | None
    mutation: str
    parameters: int
    copied_from: int | None = None


class WorkerInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """A worker process as it introduces itself; its id is a fresh uuid for every process."""

    worker_id: Text
    host: Text
    pid: Whole
    device: Text = ""
    slurm_job: Text = ""  # raw job id, or ""
    slurm_task: Text = ""  # array job_task as squeue prints it, or ""


class Lease(Struct, frozen=True, forbid_unknown_fields=True):
    """The right to train one genotype, valid as long as its token is the row's.

    Attributes:
        done: repeats that have their fitness row already; only the others are to be trained.
        expected_s: seconds one repeat is expected to take, from the run's own history; None if unknown.
    """

    individual_id: Whole
    token: Whole
    genotype: Text
    digest: Text
    parameters: Whole
    done: tuple[Whole, ...]
    expected_s: Real | None = None


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a claim: a lease (verdict OK), or why there is none (WAIT, DRAIN, FINISHED)."""

    verdict: Verdict
    lease: Lease | None = None


class Fitness(Struct, frozen=True, forbid_unknown_fields=True):
    """The accuracy of one repeat.

    Attributes:
        repeat: 0 to repeats - 1.
        accuracy: share of validation images classified rightly, in [0, 1], finite.
        seconds: training and evaluation of this repeat, wall time.
    """

    repeat: Whole
    accuracy: Real
    seed: Whole
    steps: Whole
    seconds: Real
    device: Text = ""


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a worker could not give a fitness; `error` is the message, `trace` the traceback."""

    kind: FailureKind
    error: Text
    trace: Text = ""


class Final(Struct, frozen=True, forbid_unknown_fields=True):
    """One full-size training.

    Attributes:
        model: cifar or imagenet.
        error_top1, error_top5: percent on the test set (CIFAR) or validation set (ImageNet); top5 may be None.
        devices: how many, and which, such as "8 x NVIDIA H100".
        individual_id: None when the genotype is of no individual of the run (published, a file).
    """

    individual_id: Whole | None
    digest: Text
    model: Text
    channels: Whole
    dataset: Text
    run: Whole
    error_top1: Real
    error_top5: Real | None
    parameters: Whole
    seconds: Real
    devices: Text
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A running lease as the head watches it: (token, heartbeat) standing still means lost."""

    individual_id: int
    token: int
    worker_id: str
    heartbeat: int  # a counter, not a time
    progress: float  # share of the work done, 0 to 1; standing still while heartbeat moves means stalled


@dataclass(frozen=True, slots=True)
class StateCounts:
    """The numbers of individuals in each state, and of workers that have not left."""

    queued: int
    leased: int
    evaluated: int
    failed: int
    workers: int

    @property
    def born(self) -> int:
        """All individuals; steps are numbered 1..born."""
        return self.queued + self.leased + self.evaluated + self.failed


@dataclass(frozen=True, slots=True)
class Individual:
    """A row of the population, read back.

    Attributes:
        id: equal to the evolution step in which it was born, from 1.
        accuracies: one per finished repeat, in repeat order.
    """

    id: int
    digest: str
    genotype: str
    parent_id: int | None
    mutation: str
    step: int
    parameters: int
    state: State
    token: int
    worker_id: str
    errors: int
    losses: int
    preemptions: int
    reason: str
    attempts: int
    accuracies: tuple[float, ...]
    seconds: float

    @property
    def fitness(self) -> float | None:
        """Mean accuracy over the repeats of an evaluated individual; None in any other state."""
        if self.state is not State.EVALUATED or not self.accuracies:
            return None
        return sum(self.accuracies) / len(self.accuracies)
