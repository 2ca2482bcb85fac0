"""The contracts of the population: what a worker may say, and what the head may do.

`WorkQueue` is the worker's side. SQLiteStore and PostgresStore keep it themselves; the service's
client keeps it over TCP; one conformance suite runs over all of them. `Store` adds the head's side.

Promises of every implementation:
- The work of a method that returned is durable. After StoreUnavailable it may or may not be; the same call
  with the same arguments is safe and gives the same answer.
- A token is granted once, to one claim; tokens of an individual grow by one with each grant.
- A message under an older token is answered STALE and never becomes fitness. A message under a
  newer token than the row's (a restored older database) raises DamagedRunError.
- Losing a race is an answer, never an exception.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from hpcnas.config import RunConfig
from hpcnas.records import Claim, Failure, Final, Fitness, LeaseView, OffspringRecord, StateCounts, Verdict, WorkerInfo


class WorkQueue(ABC):
    """The worker's side: join, claim, heartbeat, record, fail or release, leave."""

    @abstractmethod
    def join(self, worker: WorkerInfo) -> str:
        """Introduce a worker process.

        Returns:
            The run's configuration as JSON (RunConfig.to_dict).
        """

    @abstractmethod
    def claim(self, worker_id: str, claim_id: str) -> Claim:
        """Lease the next queued genotype; the same claim_id again returns the same lease while it is current.

        A claim_id whose lease is over is answered WAIT: draw a fresh one for every new question, and repeat
        the same one only after StoreUnavailable. Claims from a quarantined host are answered DRAIN. So are those
        that find nothing at the end of a search, when every open genotype has its worker and one is in reserve.

        Raises:
            NeverJoined: the worker never joined.
        """

    @abstractmethod
    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        """Count one beat and note the progress (0 to 1). OK, DRAIN (go on, then leave) or STALE (stop).

        A lapsed lease that nobody was granted since is taken up again: the loss stays counted, the training goes on.
        """

    @abstractmethod
    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        """Write one repeat's accuracy; the last one makes the individual evaluated, in the same transaction.

        The same row again is OK and changes nothing; another value for the same repeat is refused
        (STALE) and noted as an event. A late record of a lapsed lease that nobody else was granted is taken.

        Raises:
            ValueError: the accuracy is not finite or not in [0, 1], or the repeat none of 0 to repeats - 1.
        """

    @abstractmethod
    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        """Give the genotype back with an error: queued again, or failed when its attempts are used up."""

    @abstractmethod
    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        """Give the genotype back without blame (preemption, time limit), to the front of the queue."""

    @abstractmethod
    def leave(self, worker_id: str, reason: str) -> None:
        """Note that a worker process ended by itself.

        A reason that begins with `records.UNFIT_HOST` counts against its machine: the host is quarantined at once,
        until the next head begins its epoch.
        """

    @abstractmethod
    def record_final(self, final: Final) -> Verdict:
        """Write the errors of one full-size training; the same again is OK and changes nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files. Nothing else may be called afterwards."""


class Store(WorkQueue):
    """The head's side: breed, watch leases, count, keep events."""

    def batch(self) -> AbstractContextManager[None]:
        """One durable transaction over all calls inside, where a store can: nothing counts before the block has ended.

        A call inside that raises takes back its own changes only; if the database itself fails, the block does.
        """
        return nullcontext()

    @abstractmethod
    def begin_epoch(self) -> int:
        """Become the run's head. Every later write of an earlier epoch's head raises RunHeldError.

        Hosts that their workers called unfit may work again: the cause may be mended.
        """

    @abstractmethod
    def add(self, offspring: Sequence[OffspringRecord]) -> list[int]:
        """Queue offspring in one transaction.

        One with copied_from is evaluated at once if that one is; else no worker is granted it, and it becomes evaluated in
        the transaction that makes that one so. If that one fails, the first that waits is trained, for the others too.

        Returns:
            Their ids, which are their steps: dense, growing, never reused.
        """

    @abstractmethod
    def leases(self) -> list[LeaseView]:
        """All running leases, for the head to watch on its own monotonic clock."""

    @abstractmethod
    def expire(self, lease: LeaseView, reason: str, *, blame_genotype: bool = False) -> bool:
        """Take a lease away if its (token, heartbeat) are still those of `lease`.

        losses += 1, queued again, or failed at the third loss; with blame_genotype (a stall) errors += 1 instead.
        The attempt of a lease that is in `silent_since` has ended then, not now.

        Returns:
            Whether it was taken; False if a message of the worker came meanwhile.
        """

    @abstractmethod
    def silent_since(self) -> dict[tuple[int, int], float]:
        """Since when leases are silent of which no heartbeat came since this head began: (id, token) -> seconds since 1970.

        Their workers may have ended with the head before, days ago.
        """

    @abstractmethod
    def date_end(self, individual_id: int, token: int, at: float) -> None:
        """Note that an attempt that has ended did so by `at`, seconds since 1970: the news of it came late."""

    @abstractmethod
    def evaluated(self, offset: int = 0) -> list[tuple[int, float]]:
        """(id, fitness) of evaluated individuals in the order in which they became so, from position `offset` on.

        `offset` counts the rows already read, so that the head follows the population incrementally.
        """

    @abstractmethod
    def genotype(self, individual_id: int) -> str:
        """Genotype JSON of an individual. Raises KeyError when there is none of that id."""

    @abstractmethod
    def find_digest(self, digest: str) -> int | None:
        """The first individual with that digest that did not fail, evaluated ones first; None if there is none."""

    @abstractmethod
    def find_twin(self, digest: str, genotype: str) -> int | None:
        """The first evaluated individual of the very same genotype, else the one that is queued or leased; else None.

        Its training gives the same to the bit. One that waits for another is never the answer.
        """

    @abstractmethod
    def counts(self) -> StateCounts:
        """Individuals by state and live workers, in constant time."""

    @abstractmethod
    def set_draining(self, draining: bool) -> None:
        """While draining, claims are answered DRAIN and heartbeats DRAIN."""

    @abstractmethod
    def set_finished(self, finished: bool) -> None:
        """Once finished, claims are answered FINISHED."""

    @abstractmethod
    def claims(self) -> int:
        """The number of claims granted in the whole run."""

    @abstractmethod
    def claimable(self) -> int:
        """How many queued individuals a worker may be granted: those that do not wait for a twin."""

    @abstractmethod
    def waiting_workers(self) -> int:
        """The number of workers that found nothing since they last got a lease (for stores without a service)."""

    @abstractmethod
    def retry(self, individual_id: int) -> None:
        """Queue a failed individual anew with its attempts back. Raises UsageError if it is not failed."""

    @abstractmethod
    def note(self, kind: str, **details: object) -> None:
        """Append to the event log: kind is a word such as "submitted", details JSON values."""

    @abstractmethod
    def lost_workers(self, worker_ids: Iterable[str], reason: str) -> None:
        """Note workers that ended without leaving; their leases are expired separately."""

    @abstractmethod
    def set_config(self, config: RunConfig) -> None:
        """Keep a changed configuration (what may change on resume) for `join` and readers."""

    @abstractmethod
    def failure_share(self, last: int = 50) -> float:
        """Failed genotypes among the last `last` that ended, divided by `last` (not by how many there were).

        So the rule of 20 % needs 11 failures among the first 50. Quarantined hosts do not count, nor does what ended
        before this epoch: a person may have repaired it.
        """

    @abstractmethod
    def first_failure(self) -> str:
        """The first attempt that failed in this epoch, with its traceback, as text; "" when nothing failed."""

    @abstractmethod
    def failures_only(self) -> tuple[int, int]:
        """(attempts that failed in this epoch, hosts where they did) while nothing has ever succeeded; else (0, 0).

        Also (0, 0) while a host trains on which nothing has failed yet.
        """

    @abstractmethod
    def suspicious_hosts(self) -> list[str]:
        """Hosts where the last 3 attempts failed, of 3 genotypes that failed nowhere else, while another host works."""

    @abstractmethod
    def quarantine(self, host: str) -> list[int]:
        """Answer claims from `host` with DRAIN from now on and give its genotypes their attempts back.

        Returns:
            Ids of failed genotypes that are queued again by this.
        """

    @abstractmethod
    def quarantined_hosts(self) -> list[str]:
        """Hosts that get no more leases, to be excluded at the next submission."""
