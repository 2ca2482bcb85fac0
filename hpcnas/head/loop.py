"""Algorithm 1: the head breeds a child whenever a worker asks, keeps workers running, and stops at exactly --steps evaluated.

It keeps no state of its own. Killed at any line and started again with the same command, it goes on
from the population.
"""

import logging
import time
from collections.abc import Callable

from hpcnas.cluster.signals import StopFlag
from hpcnas.cluster.task import this_task
from hpcnas.errors import HpcnasError, RunHeldError, StoreUnavailable, UsageError
from hpcnas.head.cancellation import Cancellation
from hpcnas.head.display import Display, Snapshot
from hpcnas.head.endings.budget import Budget
from hpcnas.head.maintenance import Maintenance
from hpcnas.head.requests import DRAIN, RETRY, Requests
from hpcnas.head.start import OpenRun
from hpcnas.head.trouble import PATIENCE_S, SIGNALLED_S, Trouble
from hpcnas.population.pace import remaining_s
from hpcnas.system.durations import duration

log = logging.getLogger(__name__)

TICK_S = 0.5
FINISHING = "finishing: workers are leaving"
FAREWELL_S = 15.0  # for workers to get the answer that the run is finished, and leave


class Head:
    """The loop of one head, from its first worker to its last.

    Attributes:
        flag: signals of this process: the first drains, the second leaves.
        state: searching, then finished, drained or left.
        reason: why it drains; "" if it does not.
    """

    def __init__(self, run: OpenRun, flag: StopFlag, display: Display, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self.folder = run.folder
        self.steps = run.config.search.steps
        self.store = run.store
        self.flag = flag
        self.display = display
        self.clock = clock
        self.maintenance = Maintenance(run, display, clock)
        self.requests = Requests(run.folder)
        self.state, self.reason = "searching", ""
        self._budget = Budget(
            run.config.search,
            run.config.cluster.gpus_per_worker,
            self.maintenance.all_attempts,
            lambda: run.breeder.longest_without_progress,
            time.time,
        )
        self._draining = ""  # why
        self._claims_end = False  # whether the population records that the run drains
        self._cancellation: Cancellation | None = None
        self._started_s = clock()
        self._trouble = Trouble(display, clock)

    def search(self) -> int:
        """Go round until the run is finished, drained or left; the exit code.

        Raises:
            HpcnasError: more than a fifth of the genotypes fail, the cluster refuses, another head took over.
        """
        while True:
            try:
                code = self._go_round()
                self._trouble.end()
            except (StoreUnavailable, OSError) as error:
                code = self._endure(error)
            if code is not None:
                return code
            self._sleep()

    def _go_round(self) -> int | None:
        """One turn; the exit code when it was the last."""
        is_finishing = self._is_finishing()
        if self._must_leave():
            return self._finish() if is_finishing else self._abandon()
        self.run.breeder.follow()
        self._listen()
        if is_finishing and not self.store.leases():
            return self._finish()
        self._tick()
        if self._draining and not self.store.leases() and not self._is_cancelling():
            return self._end_drained()
        return None

    def _is_finishing(self) -> bool:
        """Whether all steps are evaluated; more than are wanted may still be trained, after --steps was lowered."""
        if self.store.counts().evaluated < self.steps:
            return False
        if self._draining != FINISHING:
            self.store.set_finished(True)
            self._draining = FINISHING
        return True

    def _must_leave(self) -> bool:
        """After a second signal; at the first when the Slurm job ends that this head runs in: it goes on in the next."""
        name = self.flag.signal_name
        ends_job = name in ("SIGUSR1", "SIGUSR2") or (name == "SIGTERM" and bool(this_task().job))
        return self.flag.count >= 2 or ends_job

    def _endure(self, error: StoreUnavailable | OSError) -> int | None:
        """A disk that is full or a database that is busy passes; what workers have to say waits with them meanwhile."""
        lasts_s = self._trouble.lasts_s()
        if self._must_leave() or (self.flag and lasts_s > SIGNALLED_S):
            return self._abandon()
        if lasts_s > PATIENCE_S:
            raise HpcnasError(f"{error}; this has lasted {duration(PATIENCE_S)}, so the head leaves") from error
        self._trouble.report(f"{error}; trying again")
        return None

    def _tick(self) -> None:
        if not self.run.lock.is_held():
            raise RunHeldError(f"{self.folder.lock} was removed or taken over while this head ran; it leaves the run alone")
        if self.run.answering.error is not None:
            raise self.run.answering.error
        self.maintenance.do(self._wanted())
        self.display.show(self.snapshot())

    def snapshot(self) -> Snapshot:
        """The run as it is now."""
        counts = self.store.counts()
        left = self.steps - counts.evaluated
        return Snapshot(
            run=str(self.folder.path),
            steps=self.steps,
            evaluated=counts.evaluated,
            queued=counts.queued,
            leased=counts.leased,
            failed=counts.failed,
            workers=counts.workers,
            wanted=self._wanted(),
            best=self.run.breeder.best,
            eta_s=None if self._draining else remaining_s(self.maintenance.attempts, left, counts.workers, time.time()),
            elapsed_s=self.clock() - self._started_s,
            note=self._draining or self.maintenance.note,
        )

    def _wanted(self) -> int:
        left = self.steps - self.store.counts().evaluated
        return 0 if self._draining else min(self.run.config.cluster.workers, max(0, left))

    def _listen(self) -> None:
        for request in self.requests.open():
            if self._fulfil(request):
                self.requests.close(request)
        if self.flag:
            self._drain(self.flag.reason)
        elif spent := self._budget.reached():
            self._drain(spent)

    def _fulfil(self, request: str) -> bool:
        """Do what was asked for; whether it is done. What is not, or raises, is done again in the next round."""
        if request.startswith(RETRY):
            self._retry(int(request.removeprefix(RETRY)))
            return True
        self._draining = self._draining or _draining("stop was asked for")  # before workers end: none is replaced
        is_done = request == DRAIN or self._cancel()
        self._drain("stop was asked for")
        return is_done

    def _retry(self, individual_id: int) -> None:
        try:
            self.store.retry(individual_id)
            self.display.log(f"genotype {individual_id} is queued anew")
        except UsageError as error:
            log.warning("%s", error)

    def _cancel(self) -> bool:
        """End all workers; whether the cluster has done it. One that does not answer is asked again and again."""
        self._cancellation = self._cancellation or Cancellation(self.run.launcher, self.clock)
        if self._cancellation.is_done():
            self.display.log(f"cancelling: asked {self._cancellation.count} workers to end")
            self._cancellation = None
            return True
        if self._cancellation.trouble:
            self._trouble.report(f"asked to cancel: {self._cancellation.trouble}; asking the cluster again")
        return False

    def _is_cancelling(self) -> bool:
        """Whether the cluster has yet to end the workers; a signal ends the wait for it."""
        return self._cancellation is not None and not self.flag

    def _drain(self, why: str) -> None:
        """Grant and breed nothing more. Every step may be taken again: a fault between two of them is made up for."""
        if self._claims_end:
            return
        self._draining = self._draining or _draining(why)
        self.reason = self.reason or why
        self.store.set_draining(True)
        self.run.breeder.is_open = False
        leased = self.store.counts().leased
        self.maintenance.cancel_waiting()
        self._claims_end = True
        self.display.log(f"{self._draining}: {leased} genotypes; Ctrl-C again leaves at once")

    def _abandon(self) -> int:
        self.state = "left"
        self.display.log(f"left at once; workers go on, and the same command resumes {self.folder.path}")
        return self.flag.exit_code

    def _end_drained(self) -> int:
        self.maintenance.merge()
        self._farewell()
        self.run.breeder.follow()
        if self._cancellation is not None:
            self.display.log("the cluster did not cancel the workers; ask it again by `hpcnas stop --cancel`")
        evaluated = self.store.counts().evaluated
        self.state = "drained"
        self.display.log(f"drained at {evaluated}/{self.steps} evaluated; the same command resumes {self.folder.path}")
        return self.flag.exit_code

    def _finish(self) -> int:
        self.maintenance.cancel_waiting()
        self._farewell()
        self.run.breeder.follow()
        self.state = "finished"
        took = duration(self.clock() - self._started_s)
        self.display.log(f"finished: {self.store.counts().evaluated} genotypes evaluated, {took}")
        return 0

    def _farewell(self) -> None:
        """Wait until the workers have left, those that only start among them; end those that do not."""
        until_s = self.clock() + FAREWELL_S
        while self.clock() < until_s and not self._must_leave() and self.maintenance.is_anyone_there():
            self.display.show(self.snapshot())
            self._sleep()
        self.maintenance.end_workers()

    def _sleep(self) -> None:
        if self.flag:
            time.sleep(TICK_S)  # a flag that is set would end the wait at once
        else:
            self.flag.wait(TICK_S)


def _draining(why: str) -> str:
    return f"draining ({why}): what is being trained is finished first"
