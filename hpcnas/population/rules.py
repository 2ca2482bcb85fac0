"""The arrows of the lease table, as pure functions: a standing and a message in, the next standing out.

No clock, no database, no randomness: what is here can be checked by drawing messages in any order.
Source of states, limits and reasons: docs/reliability.md, "Leases and fencing".
"""

from dataclasses import dataclass, replace
from enum import Enum

from hpcnas.population.records import FailureKind, State

MAX_ERRORS = 2  # the second failure of a genotype is final
MAX_LOSSES = 3  # vanished workers
MAX_PREEMPTIONS = 20  # time limits, preemptions: nobody's fault, but not for ever
GENERATION = 1_000_000  # epochs, and tokens of one genotype, between two restores that may have lost grants: never as many
RESERVE = 1  # idle workers kept at the end of a search: a genotype whose worker is lost need not wait for the cluster's queue

DETERMINISTIC = frozenset({FailureKind.BUILD, FailureKind.TOO_LARGE})  # the same again would only fail again

LOST = "lost"
PREEMPTED = "preempted"
EVALUATED = "evaluated"
NEUTRAL_OUTCOMES = frozenset({"", EVALUATED, LOST, PREEMPTED})  # any other speaks against genotype or host


class Judgement(Enum):
    """How the token of a message stands to the row's."""

    CURRENT = "current"  # of the running lease
    LAPSED = "lapsed"  # of a lease that was taken away and not granted anew: still the only writer
    OVER = "over"  # equal, but that lease has ended by its own message; only repetitions can come
    STALE = "stale"  # older: somebody else was granted the genotype
    NEWER = "newer"  # the database is older than the message


@dataclass(frozen=True, slots=True)
class Standing:
    """The lease columns of an individual's row."""

    state: State
    token: int = 0
    claim_id: str = ""
    worker_id: str = ""
    heartbeat: int = 0
    progress: float = 0.0
    errors: int = 0
    losses: int = 0
    preemptions: int = 0
    priority: int = 0
    lapsed: bool = False
    avoid_host: str = ""
    reason: str = ""


def judge(standing: Standing, token: int) -> Judgement:
    """Whether a message under `token` may still change the row."""
    if token > standing.token:
        return Judgement.NEWER
    if token < standing.token:
        return Judgement.STALE
    if standing.state is State.LEASED:
        return Judgement.CURRENT
    return Judgement.LAPSED if standing.state is State.QUEUED and standing.lapsed else Judgement.OVER


def next_generation(epoch: int) -> int:
    """The epoch that a population goes on from which may be older than what was granted.

    Tokens and epochs that were given after it was copied are below those that are given from now on: no worker
    holds a token that another is granted, no earlier head has the epoch of a later one.
    """
    return (epoch // GENERATION + 1) * GENERATION


def follows(token: int, previous: int) -> bool:
    """Whether a token may be granted right after another: one more, or the first one of a later generation."""
    return token == previous + 1 or (token > previous and token % GENERATION == 1)


def granted(standing: Standing, worker_id: str, claim_id: str, epoch: int) -> Standing:
    """queued -> leased, by a claim: the token grows by one, or to the first one of the epoch's generation."""
    return replace(
        standing,
        state=State.LEASED,
        token=max(standing.token, epoch - epoch % GENERATION) + 1,
        claim_id=claim_id,
        worker_id=worker_id,
        heartbeat=0,
        progress=0.0,
        priority=0,
        lapsed=False,
    )


def taken_up(standing: Standing) -> Standing:
    """queued -> leased again under the same token: the worker of a lapsed lease was heard of after all.

    The loss stays counted: a worker that lapses again and again does not go on for ever.
    """
    return replace(standing, state=State.LEASED, heartbeat=standing.heartbeat + 1, priority=0, lapsed=False)


def failed(standing: Standing, kind: FailureKind, host: str) -> Standing:
    """leased -> queued or failed, by the worker's own report."""
    standing = replace(standing, errors=standing.errors + 1)
    if kind in DETERMINISTIC or standing.errors >= MAX_ERRORS:
        return _closed(standing, kind.value)
    return _queued(standing, host)


def preempted(standing: Standing) -> Standing:
    """leased -> queued without blame, failed at the twentieth time."""
    standing = replace(standing, preemptions=standing.preemptions + 1)
    return _closed(standing, PREEMPTED) if standing.preemptions >= MAX_PREEMPTIONS else _queued(standing, "")


def lost(standing: Standing, host: str) -> Standing:
    """leased -> queued or failed, by the head: the heartbeat stood still."""
    standing = replace(standing, losses=standing.losses + 1)
    if standing.losses >= MAX_LOSSES:
        return _closed(standing, LOST)
    return replace(_queued(standing, host), lapsed=True)


def stalled(standing: Standing, host: str) -> Standing:
    """leased -> queued or failed, by the head: the heartbeat went on, training did not."""
    return failed(standing, FailureKind.STALLED, host)


def retried(standing: Standing) -> Standing:
    """failed -> queued, by hand, with all attempts back."""
    return replace(_queued(standing, ""), errors=0, losses=0, preemptions=0)


def excused(standing: Standing, errors: int) -> Standing:
    """Take back `errors` that a bad host caused; a genotype that failed by them is queued again."""
    standing = replace(standing, errors=max(0, standing.errors - errors))
    failed_by_errors = standing.state is State.FAILED and standing.reason not in (LOST, PREEMPTED)
    if failed_by_errors and standing.reason not in DETERMINISTIC and standing.errors < MAX_ERRORS:
        return _queued(standing, standing.avoid_host)
    return standing


def _queued(standing: Standing, avoid_host: str) -> Standing:
    host = avoid_host or standing.avoid_host
    return replace(standing, state=State.QUEUED, priority=1, lapsed=False, avoid_host=host, reason="")


def _closed(standing: Standing, reason: str) -> Standing:
    return replace(standing, state=State.FAILED, priority=0, lapsed=False, reason=reason)
