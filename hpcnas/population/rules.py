"""The arrows of the lease table, as pure functions: a lease_state and a message in, the next lease_state out.

No clock, no database, no randomness: what is here can be checked by drawing messages in any order.
Source of states, limits and reasons: docs/reliability.md, "Leases and fencing".
"""

from dataclasses import dataclass, replace
from enum import Enum

from hpcnas.records import FailureKind, State

MAX_ERRORS = 2  # the second failure of a genotype is final
MAX_LOSSES = 3  # vanished workers
MAX_PREEMPTIONS = 20  # time limits, preemptions: nobody's fault, but not for ever
GENERATION = 1_000_000  # epochs, and tokens of one genotype, between two restores that may have lost grants: never as many
RESERVE = 1  # idle workers kept at the end of a search: a genotype whose worker is lost need not wait for the cluster's queue

DETERMINISTIC = frozenset({FailureKind.BUILD, FailureKind.TOO_LARGE})  # the same again would only fail again

LOST = "lost"
PREEMPTED = "preempted"
EVALUATED = "evaluated"
NEUTRAL_OUTCOMES = frozenset({"", EVALUATED, LOST, PREEMPTED})  # any other counts against genotype or host


class TokenStatus(Enum):
    """The relation of a message's token to the row's."""

    CURRENT = "current"  # of the running lease
    LAPSED = "lapsed"  # of a lease that was taken away and not granted anew: still the only writer
    OVER = "over"  # equal, but that lease has ended by its own message; only repetitions can come
    STALE = "stale"  # older: somebody else was granted the genotype
    NEWER = "newer"  # the database is older than the message


@dataclass(frozen=True, slots=True)
class LeaseState:
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


def token_status(lease_state: LeaseState, token: int) -> TokenStatus:
    """Whether a message under `token` may still change the row."""
    if token > lease_state.token:
        return TokenStatus.NEWER
    if token < lease_state.token:
        return TokenStatus.STALE
    if lease_state.state is State.LEASED:
        return TokenStatus.CURRENT
    return TokenStatus.LAPSED if lease_state.state is State.QUEUED and lease_state.lapsed else TokenStatus.OVER


def next_generation(epoch: int) -> int:
    """The epoch that a population goes on from which may be older than what was granted.

    Tokens and epochs that were given after it was copied are below those that are given from now on: no worker
    holds a token that another is granted, no earlier head has the epoch of a later one.
    """
    return (epoch // GENERATION + 1) * GENERATION


def follows(token: int, previous: int) -> bool:
    """Whether a token may be granted right after another: one more, or the first one of a later generation."""
    return token == previous + 1 or (token > previous and token % GENERATION == 1)


def granted(lease_state: LeaseState, worker_id: str, claim_id: str, epoch: int) -> LeaseState:
    """queued -> leased, by a claim: the token grows by one, or to the first one of the epoch's generation."""
    return replace(
        lease_state,
        state=State.LEASED,
        token=max(lease_state.token, epoch - epoch % GENERATION) + 1,
        claim_id=claim_id,
        worker_id=worker_id,
        heartbeat=0,
        progress=0.0,
        priority=0,
        lapsed=False,
    )


def resumed(lease_state: LeaseState) -> LeaseState:
    """queued -> leased again under the same token: the worker of a lapsed lease sent a message after all.

    The loss stays counted: a worker that lapses again and again does not go on for ever.
    """
    return replace(lease_state, state=State.LEASED, heartbeat=lease_state.heartbeat + 1, priority=0, lapsed=False)


def failed(lease_state: LeaseState, kind: FailureKind, host: str) -> LeaseState:
    """leased -> queued or failed, by the worker's own report."""
    lease_state = replace(lease_state, errors=lease_state.errors + 1)
    if kind in DETERMINISTIC or lease_state.errors >= MAX_ERRORS:
        return _closed(lease_state, kind.value)
    return _queued(lease_state, host)


def preempted(lease_state: LeaseState) -> LeaseState:
    """leased -> queued without blame, failed at the twentieth time."""
    lease_state = replace(lease_state, preemptions=lease_state.preemptions + 1)
    # No host to avoid: a time limit or a preemption says nothing about it.
    return _closed(lease_state, PREEMPTED) if lease_state.preemptions >= MAX_PREEMPTIONS else _queued(lease_state, "")


def lost(lease_state: LeaseState, host: str) -> LeaseState:
    """leased -> queued or failed, by the head: the heartbeat stood still."""
    lease_state = replace(lease_state, losses=lease_state.losses + 1)
    if lease_state.losses >= MAX_LOSSES:
        return _closed(lease_state, LOST)
    return replace(_queued(lease_state, host), lapsed=True)


def stalled(lease_state: LeaseState, host: str) -> LeaseState:
    """leased -> queued or failed, by the head: the heartbeat went on, training did not."""
    return failed(lease_state, FailureKind.STALLED, host)


def retried(lease_state: LeaseState) -> LeaseState:
    """failed -> queued, by hand, with all attempts back."""
    return replace(_queued(lease_state, ""), errors=0, losses=0, preemptions=0)


def forgiven(lease_state: LeaseState, errors: int) -> LeaseState:
    """Take back `errors` that a bad host caused; a genotype that failed by them is queued again."""
    lease_state = replace(lease_state, errors=max(0, lease_state.errors - errors))
    failed_by_errors = lease_state.state is State.FAILED and lease_state.reason not in (LOST, PREEMPTED)
    if failed_by_errors and lease_state.reason not in DETERMINISTIC and lease_state.errors < MAX_ERRORS:
        return _queued(lease_state, lease_state.avoid_host)
    return lease_state


def _queued(lease_state: LeaseState, avoid_host: str) -> LeaseState:
    # Priority 1 comes before all that were never granted, see pick_queued.
    host = avoid_host or lease_state.avoid_host
    return replace(lease_state, state=State.QUEUED, priority=1, lapsed=False, avoid_host=host, reason="")


def _closed(lease_state: LeaseState, reason: str) -> LeaseState:
    return replace(lease_state, state=State.FAILED, priority=0, lapsed=False, reason=reason)
