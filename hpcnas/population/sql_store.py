# ruff: noqa: D102  (store.py documents every method)
"""The store's rules over named statements; a database of SQLite or PostgreSQL gives the transactions."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from msgspec.structs import asdict

from hpcnas.config import RunConfig
from hpcnas.errors import RunHeldError, UsageError
from hpcnas.population import leases, rules
from hpcnas.population import offspring as breeding
from hpcnas.population import quarantine as hosts
from hpcnas.population.store import Store
from hpcnas.population.transaction import Database, Transaction
from hpcnas.records import Claim, Failure, Final, Fitness, LeaseView, OffspringRecord, State, StateCounts, Verdict, WorkerInfo

T = TypeVar("T")


class SQLStore(Store):
    """A Store in tables. One instance may be used by several threads; each call is one transaction.

    Attributes:
        run_id: uuid of the run.
        repeats: fitness rows that make an individual evaluated.
        epoch: of the head that this instance is, after begin_epoch; every write checks it. None for others.
    """

    def __init__(self, database: Database) -> None:
        """The store in a database that is open."""
        self._database = database
        self.epoch: int | None = None
        self._began = 0  # ended_order of the last attempt before this head
        self._heartbeats: dict[tuple[int, int], int] = {}  # of the leases when this head began
        run = self._read(lambda tx: tx.rows("read_run")[0])
        self.run_id, self.repeats = str(run[0]), int(run[4])

    def batch(self) -> AbstractContextManager[None]:
        return self._database.batch()

    def close(self) -> None:
        self._database.close()

    def _do(self, work: Callable[[Transaction], T], *, repeatable: bool = True) -> T:
        """One transaction that counts only while this head holds the run, or whenever this is no head's store.

        Raises:
            RunHeldError: the run's epoch is a later one.
        """

        def checked(tx: Transaction) -> T:
            if self.epoch is not None and tx.epoch != self.epoch:
                raise RunHeldError(f"another head took over this run (epoch {tx.epoch}, ours is {self.epoch}); this one stops")
            return work(tx)

        return self._database.do(checked, locks=self.epoch is not None, repeatable=repeatable)

    def _read(self, work: Callable[[Transaction], T]) -> T:
        return self._database.do(work)

    # ------------------------------------------------------------------ the worker's side

    def join(self, worker: WorkerInfo) -> str:
        return self._do(lambda tx: _join(tx, worker))

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        return self._do(lambda tx: leases.claim(tx, worker_id, claim_id))

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        return self._do(lambda tx: leases.heartbeat(tx, individual_id, token, progress))

    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        return self._do(lambda tx: leases.record(tx, individual_id, token, fitness, self.repeats))

    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        return self._do(lambda tx: leases.fail(tx, individual_id, token, failure))

    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        return self._do(lambda tx: leases.release(tx, individual_id, token, reason))

    def leave(self, worker_id: str, reason: str) -> None:
        self._do(lambda tx: hosts.leave(tx, worker_id, reason))

    def record_final(self, final: Final) -> Verdict:
        return self._do(lambda tx: breeding.record_final(tx, final))

    # ------------------------------------------------------------------ the head's side

    def begin_epoch(self) -> int:
        # An earlier epoch of this instance may be over; it would then refuse the transaction that begins the next one.
        self.epoch = None
        self.epoch = self._do(_next_epoch)
        self._began = self._read(lambda tx: int(tx.value("next_ended_order")) - 1)
        self._heartbeats = {(lease.individual_id, lease.token): lease.heartbeat for lease in self.leases()}
        return self.epoch

    def begin_generation(self) -> None:
        """After a restore that may have lost grants: epochs and tokens go on where none was ever given."""
        self._database.do(lambda tx: tx.run("write_epoch", epoch=rules.next_generation(tx.epoch)))

    def add(self, offspring: Sequence[OffspringRecord]) -> list[int]:
        # After a commit of unknown outcome a second run would queue the same offspring twice.
        return self._do(lambda tx: breeding.add(tx, offspring), repeatable=False)

    def leases(self) -> list[LeaseView]:
        return [LeaseView(*row) for row in self._read(lambda tx: tx.rows("read_leases"))]

    def expire(self, lease: LeaseView, reason: str, *, blame_genotype: bool = False) -> bool:
        ended = self.silent_since().get((lease.individual_id, lease.token))
        return self._do(lambda tx: leases.expire(tx, lease, reason, stalled=blame_genotype, ended=ended))

    def silent_since(self) -> dict[tuple[int, int], float]:
        due = self._read(lambda tx: tx.rows("list_next_heartbeats")) if self._heartbeats else []
        return {(row[0], row[1]): row[3] for row in due if self._heartbeats.get((row[0], row[1])) == row[2]}

    def date_end(self, individual_id: int, token: int, at: float) -> None:
        self._do(lambda tx: tx.run("date_attempt", id=individual_id, token=token, at=at))

    def evaluated(self, offset: int = 0) -> list[tuple[int, float]]:
        return [(row[0], row[1]) for row in self._read(lambda tx: tx.rows("read_evaluated", offset=offset))]

    def genotype(self, individual_id: int) -> str:
        row = self._read(lambda tx: tx.row("read_genotype", id=individual_id))
        if row is None:
            raise KeyError(individual_id)
        return str(row[0])

    def find_digest(self, digest: str) -> int | None:
        row = self._read(lambda tx: tx.row("find_digest", digest=digest))
        return int(row[0]) if row else None

    def find_twin(self, digest: str, genotype: str) -> int | None:
        row = self._read(lambda tx: tx.row("find_twin", digest=digest, genotype=genotype))
        return int(row[0]) if row else None

    def counts(self) -> StateCounts:
        return self._read(_counts)

    def set_draining(self, draining: bool) -> None:
        self._do(lambda tx: tx.run("write_draining", draining=int(draining)))

    def set_finished(self, finished: bool) -> None:
        self._do(lambda tx: tx.run("write_finished", finished=int(finished)))

    def set_config(self, config: RunConfig) -> None:
        self._do(lambda tx: tx.run("write_config", config=json.dumps(config.to_dict())))

    def claims(self) -> int:
        return int(self._read(lambda tx: tx.value("count_attempts")))

    def claimable(self) -> int:
        return int(self._read(lambda tx: tx.value("count_claimable")))

    def waiting_workers(self) -> int:
        return int(self._read(lambda tx: tx.value("count_waiting")))

    def retry(self, individual_id: int) -> None:
        self._do(lambda tx: _retry(tx, individual_id), repeatable=False)

    def note(self, kind: str, **details: object) -> None:
        self._do(lambda tx: tx.note(kind, details), repeatable=False)

    def lost_workers(self, worker_ids: Iterable[str], reason: str) -> None:
        lost = sorted(worker_ids)
        self._do(lambda tx: [tx.run("end_worker", id=worker_id, reason=reason) for worker_id in lost])

    # ------------------------------------------------------------------ bugs and bad hosts

    def failure_share(self, last: int = 50) -> float:
        return self._read(lambda tx: hosts.failure_share(tx, last, self._began))

    def first_failure(self) -> str:
        return self._read(lambda tx: hosts.first_failure(tx, self._began))

    def failures_only(self) -> tuple[int, int]:
        return self._read(lambda tx: hosts.failures_only(tx, self._began))

    def suspicious_hosts(self) -> list[str]:
        return self._read(hosts.suspicious_hosts)

    def quarantine(self, host: str) -> list[int]:
        return self._do(lambda tx: hosts.quarantine(tx, host))

    def quarantined_hosts(self) -> list[str]:
        return [str(row[0]) for row in self._read(lambda tx: tx.rows("read_quarantine"))]


def _join(tx: Transaction, worker: WorkerInfo) -> str:
    values = asdict(worker)
    tx.run("insert_worker", id=values.pop("worker_id"), **values)
    return str(tx.value("read_config"))


def _next_epoch(tx: Transaction) -> int:
    tx.run("next_epoch")
    hosts.readmit(tx)
    return int(tx.value("read_flags"))


def _counts(tx: Transaction) -> StateCounts:
    queued, leased, evaluated, failed = (int(n) for n in tx.rows("count_states")[0])
    return StateCounts(queued, leased, evaluated, failed, int(tx.value("count_workers")))


def _retry(tx: Transaction, individual_id: int) -> None:
    lease_state = tx.read_lease_state(individual_id)
    if lease_state is None or lease_state.state is not State.FAILED:
        state = f"is {lease_state.state}" if lease_state else "is no genotype of this run"
        raise UsageError(f"genotype {individual_id} {state}; only a failed one can be retried (see `hpcnas failures`)")
    tx.write_lease_state(individual_id, rules.retried(lease_state))
