# ruff: noqa: D102  (store.py documents every method)
"""The store's rules over named statements; SQLiteStore and PostgresStore give the transactions."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from hpcnas.config import RunConfig
from hpcnas.errors import RunHeldError, UsageError
from hpcnas.population import breeding, hosts, leases, rules
from hpcnas.population.records import Birth, Claim, Counts, Failure, Final, Fitness, LeaseView, State, Verdict, WorkerInfo
from hpcnas.population.store import Store
from hpcnas.population.transaction import Transaction

T = TypeVar("T")


class SQLStore(Store):
    """A Store in tables. One instance may be used by several threads; each call is one transaction.

    Attributes:
        repeats: fitness rows that make an individual evaluated.
        epoch: of the head that this instance is, after begin_epoch; every write checks it. None for others.
    """

    repeats: int
    epoch: int | None = None

    @abstractmethod
    def _begin(self) -> AbstractContextManager[Transaction]:
        """A transaction that commits durably when its block ends, and rolls back when it raises."""

    def _write(self) -> AbstractContextManager[Transaction]:
        return _Fenced(self._begin(), self.epoch)

    # ------------------------------------------------------------------ the worker's side

    def join(self, worker: WorkerInfo) -> str:
        with self._write() as tx:
            tx.run(
                "insert_worker",
                id=worker.worker_id,
                host=worker.host,
                pid=worker.pid,
                device=worker.device,
                slurm_job=worker.slurm_job,
                slurm_task=worker.slurm_task,
            )
            return str(tx.value("read_config"))

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        with self._write() as tx:
            return leases.claim(tx, worker_id, claim_id)

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        with self._write() as tx:
            return leases.heartbeat(tx, individual_id, token, progress)

    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        with self._write() as tx:
            return leases.record(tx, individual_id, token, fitness, self.repeats)

    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        with self._write() as tx:
            return leases.fail(tx, individual_id, token, failure)

    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        with self._write() as tx:
            return leases.release(tx, individual_id, token, reason)

    def leave(self, worker_id: str, reason: str) -> None:
        with self._write() as tx:
            tx.run("end_worker", id=worker_id, reason=reason)

    def record_final(self, final: Final) -> Verdict:
        with self._write() as tx:
            return breeding.record_final(tx, final)

    # ------------------------------------------------------------------ the head's side

    def begin_epoch(self) -> int:
        self.epoch = None
        with self._begin() as tx:
            tx.run("next_epoch")
            epoch = int(tx.value("read_flags"))
        self.epoch = epoch
        return epoch

    def add(self, births: Sequence[Birth], rng_state: str | None = None) -> list[int]:
        with self._write() as tx:
            return breeding.add(tx, births, rng_state)

    def leases(self) -> list[LeaseView]:
        with self._begin() as tx:
            return [LeaseView(*row) for row in tx.rows("read_leases")]

    def expire(self, lease: LeaseView, reason: str, *, blame_genotype: bool = False) -> bool:
        with self._write() as tx:
            return leases.expire(tx, lease, reason, stalled=blame_genotype)

    def evaluated(self, offset: int = 0) -> list[tuple[int, float]]:
        with self._begin() as tx:
            return [(row[0], row[1]) for row in tx.rows("read_evaluated", offset=offset)]

    def genotype(self, individual_id: int) -> str:
        with self._begin() as tx:
            row = tx.row("read_genotype", id=individual_id)
        if row is None:
            raise KeyError(individual_id)
        return str(row[0])

    def find_digest(self, digest: str) -> int | None:
        with self._begin() as tx:
            row = tx.row("find_digest", digest=digest)
        return int(row[0]) if row else None

    def counts(self) -> Counts:
        with self._begin() as tx:
            queued, leased, evaluated, failed = (int(n) for n in tx.rows("count_states")[0])
            return Counts(queued, leased, evaluated, failed, int(tx.value("count_workers")))

    def set_draining(self, draining: bool) -> None:
        with self._write() as tx:
            tx.run("write_draining", draining=int(draining))

    def set_finished(self, finished: bool) -> None:
        with self._write() as tx:
            tx.run("write_finished", finished=int(finished))

    def set_config(self, config: RunConfig) -> None:
        with self._write() as tx:
            tx.run("write_config", config=json.dumps(config.to_dict()))

    def rng_state(self) -> str:
        with self._begin() as tx:
            return str(tx.value("read_rng_state"))

    def waiting_workers(self) -> int:
        with self._begin() as tx:
            return int(tx.value("count_waiting"))

    def retry(self, individual_id: int) -> None:
        with self._write() as tx:
            standing = tx.read_standing(individual_id)
            if standing is None or standing.state is not State.FAILED:
                state = f"is {standing.state}" if standing else "is no individual of this run"
                raise UsageError(f"genotype {individual_id} {state}; only a failed one can be retried (see `hpcnas failures`)")
            tx.write_standing(individual_id, rules.retried(standing))

    def note(self, kind: str, **details: object) -> None:
        with self._write() as tx:
            tx.note(kind, details)

    def lost_workers(self, worker_ids: Iterable[str], reason: str) -> None:
        with self._write() as tx:
            for worker_id in worker_ids:
                tx.run("end_worker", id=worker_id, reason=reason)

    # ------------------------------------------------------------------ bugs and bad hosts

    def failure_share(self, last: int = 50) -> float:
        with self._begin() as tx:
            return hosts.failure_share(tx, last)

    def first_failure(self) -> str:
        with self._begin() as tx:
            return hosts.first_failure(tx)

    def suspicious_hosts(self) -> list[str]:
        with self._begin() as tx:
            return hosts.suspicious_hosts(tx)

    def quarantine(self, host: str) -> list[int]:
        with self._write() as tx:
            return hosts.quarantine(tx, host)

    def quarantined_hosts(self) -> list[str]:
        with self._begin() as tx:
            return [str(row[0]) for row in tx.rows("read_quarantine")]


class _Fenced:
    """A transaction that refuses to write for a head that was overtaken."""

    def __init__(self, transaction: AbstractContextManager[Transaction], epoch: int | None) -> None:
        self._transaction, self._epoch = transaction, epoch

    def __enter__(self) -> Transaction:
        tx = self._transaction.__enter__()
        if self._epoch is not None and tx.epoch != self._epoch:
            error = RunHeldError(f"another head took over this run (epoch {tx.epoch}, ours is {self._epoch}); this one stops")
            self._transaction.__exit__(RunHeldError, error, None)
            raise error
        return tx

    def __exit__(self, *exception: object) -> bool | None:
        return self._transaction.__exit__(*exception)  # type: ignore[arg-type]
