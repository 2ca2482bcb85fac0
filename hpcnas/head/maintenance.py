"""The head's periodic work beside breeding: leases, roll call, outbox, failures, staff."""

import logging
from collections.abc import Callable
from dataclasses import replace

from hpcnas.errors import ClusterError, HpcnasError
from hpcnas.head.display import Display
from hpcnas.head.lease_monitor import LeaseWatch
from hpcnas.head.scaling import PROMPT_S, Scaling
from hpcnas.head.start import OpenRun
from hpcnas.head.unfit_hosts import UnfitHosts
from hpcnas.population.pace import RECENT
from hpcnas.population.protocol.outbox import merge_outbox
from hpcnas.population.queries import Population
from hpcnas.population.rows import AttemptRow, WorkerRow
from hpcnas.system.background_call import ask, is_answered
from hpcnas.system.durations import duration

log = logging.getLogger(__name__)

OUTBOX_EVERY_S = 5.0
JUDGE_EVERY_S = 2.0
RECONCILE_EVERY_S = 5.0
PACE_EVERY_S = 5.0
PRUNE_EVERY_S = 600.0
LARGEST_FAILED_SHARE = 0.2  # of the last 50 genotypes: more is a bug in the recipe, not bad genotypes
FEW = 5  # attempts that failed, when none has succeeded: that is a bug, too


class Maintenance:
    """The recurring work of one head, each duty with its own period.

    Attributes:
        note: what hinders the search at the moment, for people; mostly "".
        attempts: those of late, whose pace gives the time that the search still takes.
    """

    def __init__(self, run: OpenRun, display: Display, clock: Callable[[], float]) -> None:
        self.run = run
        self.store = run.store
        self.display = display
        self.clock = clock
        cluster = run.config.cluster
        self.watch = LeaseWatch(cluster.lease_s, cluster.stall_s, cluster.heartbeat_s, clock)
        self.scaling = Scaling(run.launcher, clock)
        self.unfit = UnfitHosts(run.folder, run.store, run.launcher, display)
        self.note = ""
        self.attempts: list[AttemptRow] = []
        self._started: set[str] = set()  # tasks that are this run's own
        self._gone: set[str] = set()
        self._left: set[str] | None = None
        self._has_shown_failure = False
        self._due: dict[str, float] = {}

    def do(self, wanted: int) -> None:
        """Do what is due.

        Args:
            wanted: workers that should run; 0 starts none.
        Raises:
            HpcnasError: more than a fifth of the genotypes fail, or the cluster refuses.
        """
        self._watch_leases()
        self._every(OUTBOX_EVERY_S, self.merge)
        self._every(JUDGE_EVERY_S, self._judge)
        self._every(RECONCILE_EVERY_S, self.reconcile_workers)
        self._every(PACE_EVERY_S, self._read_pace)
        self._every(PRUNE_EVERY_S, self._prune)
        if wanted:
            self._staff(wanted)

    def merge(self) -> None:
        """Take in what workers left in the outbox."""
        merged = merge_outbox(self.run.folder, self.store)
        if merged:
            self.display.log(f"merged {merged} messages from the outbox")

    def cancel_waiting(self) -> None:
        """Cancel jobs that only wait in the queue: they would start, get nothing to do, and end."""
        waiting = [task for task, state in (self.run.launcher.alive() or {}).items() if state == "PENDING"]
        if not waiting:
            return
        answer = ask(lambda: self._cancel(waiting))
        if is_answered(answer, PROMPT_S):
            answer.result()  # what no cluster means by a refusal is a bug, and raised here

    def reconcile_workers(self) -> None:
        """Find the workers that this run's heads started and that have no task any more; note those without a lease as lost."""
        alive = self.run.launcher.alive()
        if alive is None:
            return
        with Population.open(self.run.folder) as population:
            # What the cluster was seen to run for this run, too: the answer to a submission can get lost.
            self._started.update(alive, *(event.details["tasks"] for event in population.events("submitted")))
            workers = population.workers()
        self._replace_leavers(workers)
        live = sorted((worker for worker in workers if worker.ended is None), key=lambda worker: worker.joined)
        latest = {worker.slurm_task: worker.worker_id for worker in live}
        self._gone = {
            worker.worker_id
            for worker in live
            if worker.slurm_task in self._started
            and (worker.slurm_task not in alive or latest[worker.slurm_task] != worker.worker_id)
        }
        idle = self._gone - {lease.worker_id for lease in self.store.leases()}
        if idle:
            self.store.lost_workers(sorted(idle), "its task ended")

    def is_anyone_there(self) -> bool:
        """Whether a worker runs, starts or is asked for: one that starts when the head is gone would wait for it in vain."""
        self.reconcile_workers()  # the places of those that left are known before the cluster is asked again
        alive = self.run.launcher.alive()
        return self.scaling.is_asking or bool(self.store.counts().workers if alive is None else alive)

    def end_workers(self) -> None:
        """Cancel the workers that are still there, and delete what their jobs left."""
        try:
            if self.run.launcher.alive():
                self.run.launcher.cancel()
        except ClusterError as error:
            log.warning("workers could not be cancelled, they end by themselves: %s", error)
        self.run.launcher.prune()

    def all_attempts(self) -> list[AttemptRow]:
        """All attempts of the run so far; those of workers that are silent since this head began ended when that began."""
        with Population.open(self.run.folder) as population:
            attempts = population.attempts()
        silent = self.store.silent_since()
        if not silent:
            return attempts
        return [replace(row, ended=silent.get((row.individual_id, row.token), row.ended)) for row in attempts]

    def _watch_leases(self) -> None:
        leases = self.store.leases()
        verdicts = self.watch.look(leases, self._gone)
        for lease in verdicts.lost:
            if self.store.expire(lease, "no heartbeat"):
                log.warning("genotype %d is queued again: its worker sent no heartbeat", lease.individual_id)
                self.store.lost_workers([lease.worker_id], "no heartbeat")
        for lease in verdicts.stalled:
            if self.store.expire(lease, "no progress", blame_genotype=True):
                log.warning("genotype %d made no progress for %g s", lease.individual_id, self.watch.stall_s)
                self.store.lost_workers([lease.worker_id], "no progress")  # it hangs: its place is free for another

    def _replace_leavers(self, workers: list[WorkerRow]) -> None:
        """Free the places of workers that left the run, long before the cluster is asked again."""
        ended = {worker.worker_id: worker.slurm_task for worker in workers if worker.ended is not None}
        again = {worker.slurm_task for worker in workers if worker.ended is None}  # Slurm requeued it, it runs already
        if self._left is not None:  # else they left before this head came
            for worker_id in ended.keys() - self._left:
                if ended[worker_id] and ended[worker_id] not in again:
                    self.run.launcher.forget(ended[worker_id])
        self._left = set(ended)

    def _judge(self) -> None:
        """Quarantine bad hosts; stop the search if so many genotypes fail that they cannot be the cause."""
        self.unfit.look()
        for host in self.store.suspicious_hosts():
            again = self.store.quarantine(host)
            self.run.launcher.exclude([host])
            self.display.log(f"{host} is quarantined: three genotypes failed there in a row; {len(again)} queued again")
        self._show_first_failure()
        self._stop_if_all_fail()
        if self.store.failure_share() > LARGEST_FAILED_SHARE:
            raise HpcnasError(
                f"more than {LARGEST_FAILED_SHARE:.0%} of the last 50 genotypes failed, which is no fault of genotypes; "
                f"repair the cause and start the head again. The first failure was {self.store.first_failure()}"
            )

    def _show_first_failure(self) -> None:
        """Log the first failure at once: a fault in one's own fitness function shows in the first attempt."""
        first = "" if self._has_shown_failure else self.store.first_failure().partition("\n")[0]
        if first:
            self._has_shown_failure = True
            self.display.log(f"first failure: {first}; its traceback: hpcnas failures --run {self.run.folder.as_typed}")

    def _stop_if_all_fail(self) -> None:
        failed, hosts = self.store.failures_only()
        if failed < FEW or (hosts == 1 and self._are_others_to_come()):
            return
        raise HpcnasError(
            f"all {failed} attempts so far have failed, which is no fault of genotypes; repair the cause and start the head "
            f"again. The first failure was {self.store.first_failure()}"
        )

    def _are_others_to_come(self) -> bool:
        """Whether workers wait or start, perhaps on better hosts than the one that fails."""
        alive = self.run.launcher.alive()
        return alive is None or len(alive) > self.store.counts().workers

    def _cancel(self, waiting: list[str]) -> None:
        try:
            self.run.launcher.cancel(waiting, waiting_only=True)
        except ClusterError as error:
            log.warning("waiting jobs could not be cancelled: %s", error)

    def _read_pace(self) -> None:
        with Population.open(self.run.folder) as population:
            self.attempts = population.recent_attempts(RECENT)

    def _prune(self) -> None:
        if not self.scaling.is_asking:  # the files of a job whose number is not known yet would seem nobody's
            self.run.launcher.prune()

    def _staff(self, wanted: int) -> None:
        tasks = self.scaling.top_up(wanted, self.store.claims())
        if tasks:
            self.store.note("submitted", tasks=tasks)
            self.display.log(f"started {len(tasks)} worker{'s' if len(tasks) > 1 else ''}")
        waits_s = self.scaling.waits_s
        why = self.scaling.refusal or "workers end without claiming a genotype"
        self.note = f"{why}; trying again in {duration(waits_s)}" if waits_s else ""
        if self.scaling.is_cluster_silent:
            self.note = "the cluster does not say which workers run, so none are started"

    def _every(self, period_s: float, duty: Callable[[], None]) -> None:
        if self.clock() >= self._due.get(duty.__name__, 0.0):
            duty()
            self._due[duty.__name__] = self.clock() + period_s
