"""The worker's messages, each as one transaction over the rules of the leases.

Shared by every store: SQLite and PostgreSQL differ in their statements, not here.
"""

import math

from hpcnas.errors import DamagedRunError, NeverJoined
from hpcnas.population import offspring, rules
from hpcnas.population.rules import LeaseState, TokenStatus
from hpcnas.population.text import clip
from hpcnas.population.transaction import Transaction
from hpcnas.records import Claim, Failure, Fitness, Lease, LeaseView, State, Verdict


def claim(tx: Transaction, worker_id: str, claim_id: str) -> Claim:
    """Grant the next queued genotype, or the same one again to the same claim.

    At the end of a search, when all genotypes have their workers, the others are answered DRAIN.

    Raises:
        NeverJoined: the worker never joined this run.
    """
    # First of all: a reply may be lost after its commit. Without this, 418 genotypes hung after a head was killed eight times.
    before = tx.row("read_attempt_of_claim", claim_id=claim_id)
    if before:
        lease_state = tx.read_lease_state(before[0])
        if lease_state and lease_state.state is State.LEASED and lease_state.token == before[1]:
            return Claim(Verdict.OK, _lease(tx, before[0], lease_state.token))
        return Claim(Verdict.WAIT)  # that lease is over: a delayed message must not become a second one
    if tx.finished:
        return Claim(Verdict.FINISHED)
    worker = tx.row("read_worker", id=worker_id)
    if worker is None:
        raise NeverJoined(f"worker {worker_id} never joined this run; a worker joins before it claims")
    host, ended, waiting, quarantined = worker
    if tx.draining or quarantined:
        return Claim(Verdict.DRAIN)
    picked = tx.row("pick_queued", host=host)
    if picked is None and _is_superfluous(tx):
        tx.run("end_worker", id=worker_id, reason="the last genotypes have their workers")
        return Claim(Verdict.DRAIN)
    # Written only if it changed, as each write is a line of the journal. One that counts as ended and asks again is alive.
    if (picked is None) != bool(waiting) or ended is not None:
        tx.run("write_waiting", id=worker_id, waiting=int(picked is None))
    return Claim(Verdict.WAIT) if picked is None else Claim(Verdict.OK, _grant(tx, picked[0], worker_id, host, claim_id))


def heartbeat(tx: Transaction, individual_id: int, token: int, progress: float) -> Verdict:
    """Count one beat; a lapsed lease that nobody was granted since is taken up again."""
    lease_state, status = _token_status(tx, individual_id, token)
    if status is TokenStatus.LAPSED:
        _resume(tx, individual_id, lease_state)
    elif status is not TokenStatus.CURRENT:
        return Verdict.STALE
    # A share outside [0, 1] or no number at all must not reach the stall detection.
    tx.run("write_beat", id=individual_id, progress=min(1.0, max(0.0, progress)) if math.isfinite(progress) else 0.0)
    return Verdict.DRAIN if tx.draining or tx.finished else Verdict.OK


def record(tx: Transaction, individual_id: int, token: int, fitness: Fitness, repeats: int) -> Verdict:
    """Write one repeat; the last one makes the individual evaluated.

    Raises:
        ValueError: the accuracy is not finite or not in [0, 1], or the repeat is none of 0..repeats-1.
    """
    if not (math.isfinite(fitness.accuracy) and 0 <= fitness.accuracy <= 1):
        raise ValueError(f"accuracy {fitness.accuracy} must be a finite number in [0, 1]")
    if not 0 <= fitness.repeat < repeats:
        raise ValueError(f"repeat {fitness.repeat} must be one of 0 to {repeats - 1}")
    lease_state, status = _token_status(tx, individual_id, token)
    if status is TokenStatus.STALE:
        return Verdict.STALE
    known = {int(repeat): accuracy for repeat, accuracy in tx.rows("read_repeats", id=individual_id)}
    # Before the lease is looked at: the same row again is OK, even if its lease has ended since.
    if fitness.repeat in known:
        return _answer_again(tx, individual_id, token, fitness, known[fitness.repeat])
    # Queued again by this worker's own message and granted to nobody since: then a delayed repeat is still taken.
    if status is TokenStatus.OVER and lease_state.state is not State.QUEUED:
        return Verdict.STALE
    if status is TokenStatus.LAPSED:
        _resume(tx, individual_id, lease_state)
    _insert_fitness(tx, individual_id, token, fitness)
    if len(known) + 1 == repeats:
        known[fitness.repeat] = fitness.accuracy
        # In the order of the repeats, whichever was recorded first: a sum of floats depends on its order.
        _close_evaluated(tx, individual_id, token, [known[repeat] for repeat in sorted(known)])
    return Verdict.OK


def fail(tx: Transaction, individual_id: int, token: int, failure: Failure) -> Verdict:
    """Count an error against the genotype: queued again, or failed."""
    lease_state, status = _token_status(tx, individual_id, token)
    if status is TokenStatus.OVER:
        return Verdict.OK  # the same message again
    if status is TokenStatus.STALE:
        return Verdict.STALE
    failure = clip(failure)
    after = rules.failed(lease_state, failure.kind, _host(tx, lease_state))
    if _is_quarantined(tx, lease_state):
        after = rules.forgiven(after, 1)  # known to be the host's fault by now, like the failures before it
    tx.write_lease_state(individual_id, after)
    _end_attempt(tx, individual_id, after, failure.kind.value, failure.error, failure.trace)
    return Verdict.OK


def release(tx: Transaction, individual_id: int, token: int, reason: str) -> Verdict:
    """Give back without blame, to the front of the queue."""
    lease_state, status = _token_status(tx, individual_id, token)
    if status is TokenStatus.OVER:
        return Verdict.OK
    if status is TokenStatus.STALE:
        return Verdict.STALE
    after = rules.preempted(lease_state)
    tx.write_lease_state(individual_id, after)
    _end_attempt(tx, individual_id, after, rules.PREEMPTED, reason)
    return Verdict.OK


def expire(tx: Transaction, view: LeaseView, reason: str, stalled: bool, ended: float | None = None) -> bool:
    """Take a lease away that stood still since `view`; whether it did.

    Args:
        ended: when its attempt ended, if long ago, in seconds since 1970.
    """
    lease_state = tx.read_lease_state(view.individual_id)
    if lease_state is None or lease_state.state is not State.LEASED:
        return False
    # A message came between the head's look at the leases and this transaction.
    if (lease_state.token, lease_state.heartbeat) != (view.token, view.heartbeat):
        return False
    host = _host(tx, lease_state)
    after = rules.stalled(lease_state, host) if stalled else rules.lost(lease_state, host)
    tx.write_lease_state(view.individual_id, after)
    _end_attempt(tx, view.individual_id, after, "stalled" if stalled else rules.LOST, reason)
    if ended is not None:
        tx.run("date_attempt", id=view.individual_id, token=after.token, at=ended)
    return True


def _close_evaluated(tx: Transaction, individual_id: int, token: int, accuracies: list[float]) -> None:
    offspring.close_evaluated(tx, individual_id, sum(accuracies) / len(accuracies))
    order = tx.value("next_ended_order")
    ending = {"ended_order": order, "outcome": rules.EVALUATED, "closed": 1, "error": "", "trace": ""}
    tx.run("end_attempt", id=individual_id, token=token, **ending)


def _end_attempt(tx: Transaction, individual_id: int, after: LeaseState, outcome: str, error: str, trace: str = "") -> None:
    closed = int(after.state is State.FAILED)
    order = tx.value("next_ended_order")
    tx.run(
        "end_attempt",
        id=individual_id,
        token=after.token,
        ended_order=order,
        outcome=outcome,
        closed=closed,
        error=error,
        trace=trace,
    )
    if closed:
        offspring.hand_over(tx, individual_id)


def _is_superfluous(tx: Transaction) -> bool:
    """Whether nothing more is to be bred and the genotypes still open have their workers: then a GPU would only wait."""
    queued, leased, evaluated, _ = tx.rows("count_states")[0]
    # Failed ones do not count: others are bred in their place.
    if queued + leased + evaluated < tx.value("read_steps"):
        return False
    return bool(tx.value("count_workers") > queued + leased + rules.RESERVE)


def _token_status(tx: Transaction, individual_id: int, token: int) -> tuple[LeaseState, TokenStatus]:
    lease_state = tx.read_lease_state(individual_id)
    status = rules.token_status(lease_state, token) if lease_state else TokenStatus.NEWER
    if lease_state is None or status is TokenStatus.NEWER:
        raise DamagedRunError(
            f"a worker holds token {token} of genotype {individual_id}, which this database never granted: it is older, "
            "or of another run; stop the workers, then run `hpcnas restore --force`"
        )
    return lease_state, status


def _grant(tx: Transaction, individual_id: int, worker_id: str, host: str, claim_id: str) -> Lease:
    lease_state = tx.read_lease_state(individual_id)
    if lease_state is None:
        raise LookupError(f"genotype {individual_id} was picked and is not there")
    after = rules.granted(lease_state, worker_id, claim_id, tx.epoch)
    tx.write_lease_state(individual_id, after)
    tx.run("insert_attempt", id=individual_id, token=after.token, claim_id=claim_id, worker_id=worker_id, host=host)
    return _lease(tx, individual_id, after.token)


def _lease(tx: Transaction, individual_id: int, token: int) -> Lease:
    genotype = tx.row("read_genotype", id=individual_id)
    if genotype is None:
        raise LookupError(f"genotype {individual_id} has a lease and no text")
    done = tuple(int(repeat) for repeat, _ in tx.rows("read_repeats", id=individual_id))
    expected = tx.row("read_expected_s")
    text, digest, parameters = genotype
    return Lease(individual_id, token, text, digest, parameters, done, expected[0] if expected else None)


def _resume(tx: Transaction, individual_id: int, lease_state: LeaseState) -> None:
    tx.write_lease_state(individual_id, rules.resumed(lease_state))
    tx.run("resume_attempt", id=individual_id, token=lease_state.token)


def _host(tx: Transaction, lease_state: LeaseState) -> str:
    worker = tx.row("read_worker", id=lease_state.worker_id)
    return str(worker[0]) if worker else ""


def _is_quarantined(tx: Transaction, lease_state: LeaseState) -> bool:
    worker = tx.row("read_worker", id=lease_state.worker_id)
    return bool(worker and worker[3])


def _answer_again(tx: Transaction, individual_id: int, token: int, fitness: Fitness, known: float) -> Verdict:
    if known == fitness.accuracy:
        return Verdict.OK
    details = {"id": individual_id, "repeat": fitness.repeat, "token": token, "kept": known, "refused": fitness.accuracy}
    tx.note("refused", details)
    return Verdict.STALE


def _insert_fitness(tx: Transaction, individual_id: int, token: int, fitness: Fitness) -> None:
    tx.run(
        "insert_fitness",
        id=individual_id,
        repeat=fitness.repeat,
        accuracy=float(fitness.accuracy),
        seed=fitness.seed,
        token=token,
        steps=fitness.steps,
        seconds=float(fitness.seconds),
        device=fitness.device,
    )
