"""Algorithm 1: the head breeds a child whenever a worker asks, keeps workers running, and stops at exactly --steps evaluated.

It keeps no state of its own: killed at any line and started again with the same command, it goes on
with what the population holds. `python -m hpcnas.head` is `hpcnas head`.
"""

import logging
import sys
import time
from collections.abc import Callable

from hpcnas.cluster import Launcher
from hpcnas.cluster.signals import StopFlag
from hpcnas.config import RunConfig
from hpcnas.durations import duration
from hpcnas.errors import ClusterError, HpcnasError, RunHeldError, UsageError
from hpcnas.population.outbox import merge_outbox
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder
from hpcnas.search.breeder import Breeder
from hpcnas.search.display import Display, Snapshot, make_display
from hpcnas.search.lease_watch import LeaseWatch
from hpcnas.search.opening import OpenRun, open_run, show_plan
from hpcnas.search.staffing import Staffing
from hpcnas.search.wishes import CANCEL, DRAIN, RETRY, take_wishes

log = logging.getLogger(__name__)

TICK_S = 0.5
OUTBOX_EVERY_S = 5.0
JUDGE_EVERY_S = 2.0
LARGEST_FAILED_SHARE = 0.2  # of the last 50 genotypes: more is a bug in the recipe, not bad genotypes
FAREWELL_S = 15.0  # for workers to hear that the run is finished, and leave


class Head:
    """The loop of one head, from its first worker to its last.

    Attributes:
        flag: signals of this process: the first drains, the second leaves.
    """

    def __init__(
        self,
        run: OpenRun,
        launcher: Launcher,
        flag: StopFlag,
        display: Display,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.folder: RunFolder = run.folder
        self.config: RunConfig = run.config
        self.store: Store = run.store
        self.breeder: Breeder = run.breeder
        self.launcher = launcher
        self.flag = flag
        self.display = display
        self.clock = clock
        cluster = self.config.cluster
        self.watch = LeaseWatch(cluster.lease_s, cluster.stall_s, clock)
        self.staffing = Staffing(launcher, clock)
        self.note = ""
        self._is_draining = False
        self._started_s = clock()
        self._evaluated_before = self.store.counts().evaluated
        self._claims: set[tuple[int, int]] = set()
        self._due: dict[str, float] = {}

    def search(self) -> int:
        """Go round until the run is finished, drained or left; the exit code.

        Raises:
            HpcnasError: more than a fifth of the genotypes fail, the cluster refuses, another head took over.
        """
        while not self._is_finished():
            self._listen()
            if self.flag.count >= 2:
                return self._abandon()
            self._tick()
            if self._is_draining and not self.store.leases():
                return self._end_drained()
            self._sleep()
        return self._finish()

    def _tick(self) -> None:
        if not self.run.lock.is_held():
            raise RunHeldError(
                f"{self.folder.lock} was removed or taken over while this head ran; it leaves the run to the other one"
            )
        if self.run.service is not None and self.run.service.error is not None:
            raise self.run.service.error
        leases = self.store.leases()
        self._claims.update((lease.individual_id, lease.token) for lease in leases)
        verdicts = self.watch.look(leases)
        for lease in verdicts.lost:
            if self.store.expire(lease, "no heartbeat"):
                log.warning("genotype %d: its worker was not heard of for %g s", lease.individual_id, self.watch.lease_s)
        for lease in verdicts.stalled:
            if self.store.expire(lease, "no progress", blame_genotype=True):
                log.warning("genotype %d: no progress for %g s", lease.individual_id, self.watch.stall_s)
        self._every(OUTBOX_EVERY_S, self.merge)
        self._every(JUDGE_EVERY_S, self._judge)
        self.run.serve_waiting()
        self._staff()
        self.breeder.follow()
        self.display.show(self.snapshot())

    def merge(self) -> None:
        """Take in what workers left in the outbox."""
        merged = merge_outbox(self.folder, self.store)
        if merged:
            self.display.say(f"merged {merged} messages from the outbox")

    def snapshot(self) -> Snapshot:
        """The run as it is now."""
        counts = self.store.counts()
        elapsed = self.clock() - self._started_s
        done = counts.evaluated - self._evaluated_before
        left = self.config.search.steps - counts.evaluated
        return Snapshot(
            run=str(self.folder.path),
            steps=self.config.search.steps,
            evaluated=counts.evaluated,
            queued=counts.queued,
            leased=counts.leased,
            failed=counts.failed,
            workers=counts.workers,
            wanted=self._wanted(),
            best=self.breeder.best,
            eta_s=elapsed * left / done if done and not self._is_draining else None,
            elapsed_s=elapsed,
            note=self.note,
        )

    def _is_finished(self) -> bool:
        return self.store.counts().evaluated >= self.config.search.steps

    def _wanted(self) -> int:
        counts = self.store.counts()
        return 0 if self._is_draining else min(self.config.cluster.workers, max(0, self.config.search.steps - counts.evaluated))

    def _staff(self) -> None:
        if self._is_draining:
            return
        tasks = self.staffing.top_up(self._wanted(), len(self._claims) + self.store.counts().evaluated)
        if tasks:
            self.store.note("submitted", tasks=tasks)
            self.display.say(f"started {len(tasks)} worker{'s' if len(tasks) > 1 else ''}")
        if self.staffing.waits_s:
            self.note = f"workers end without claiming a genotype; trying again in {duration(self.staffing.waits_s)}"
        elif self.note.startswith("workers end"):
            self.note = ""

    def _judge(self) -> None:
        """Send bad hosts away, and stop when it is not the genotypes that are bad."""
        for host in self.store.suspicious_hosts():
            again = self.store.quarantine(host)
            self.launcher.exclude([host])
            self.display.say(f"{host} is quarantined: three genotypes failed there in a row; {len(again)} queued again")
        if self.store.failure_share() > LARGEST_FAILED_SHARE:
            raise HpcnasError(
                f"more than {LARGEST_FAILED_SHARE:.0%} of the last 50 genotypes failed, which is no fault of genotypes; "
                f"the search stops; repair the cause and start it again. The first failure was {self.store.first_failure()}"
            )

    def _listen(self) -> None:
        wishes = take_wishes(self.folder)
        for wish in wishes:
            if wish.startswith(RETRY):
                self._retry(int(wish.removeprefix(RETRY)))
        if CANCEL in wishes:
            self.display.say(f"asked to cancel: told {self.launcher.cancel()} workers to end")
        if self.flag or DRAIN in wishes or CANCEL in wishes:
            self._drain(self.flag.reason or "stop was asked for")

    def _retry(self, individual_id: int) -> None:
        try:
            self.store.retry(individual_id)
            self.display.say(f"genotype {individual_id} is queued anew")
        except UsageError as error:
            log.warning("%s", error)

    def _drain(self, why: str) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        self.breeder.is_open = False
        self.store.set_draining(True)
        self.note = (
            f"draining ({why}): waiting for {self.store.counts().leased} genotypes in training; Ctrl-C again leaves at once"
        )
        self.display.say(self.note)
        self._cancel_pending()

    def _abandon(self) -> int:
        self.display.say(f"left at once; workers go on, and the same command resumes {self.folder.path}")
        return self.flag.exit_code

    def _end_drained(self) -> int:
        self.merge()
        self._farewell()
        counts = self.store.counts()
        self.display.say(
            f"drained at {counts.evaluated}/{self.config.search.steps} evaluated; the same command resumes {self.folder.path}"
        )
        return self.flag.exit_code

    def _finish(self) -> int:
        self.store.set_finished(True)
        while self.store.leases() and self.flag.count < 2:  # more than were wanted, when --steps was lowered: they may end
            self._tick()
            self._sleep()
        self._cancel_pending()
        self._farewell()
        self.breeder.follow()
        best = self.breeder.best
        found = f"; best is genotype {best[0]} with fitness {best[1]:.4f}" if best else ""
        took = duration(self.clock() - self._started_s)
        self.display.say(f"finished: {self.store.counts().evaluated} genotypes evaluated, {took}{found}")
        self.display.say(f"next: hpcnas report --run {self.folder.path}")
        return 0

    def _farewell(self) -> None:
        """Wait until the workers have left; end those that do not."""
        until_s = self.clock() + FAREWELL_S
        while self.clock() < until_s and self.flag.count < 2 and self.store.counts().workers:
            self.display.show(self.snapshot())
            self._sleep()
        if self.launcher.alive():
            self.launcher.cancel()
        self.launcher.prune()

    def _cancel_pending(self) -> None:
        pending = [task for task, state in (self.launcher.alive() or {}).items() if state == "PENDING"]
        if not pending:
            return
        try:
            self.launcher.cancel(pending)
        except ClusterError as error:
            log.warning("waiting jobs could not be cancelled: %s", error)

    def _every(self, period_s: float, duty: Callable[[], None]) -> None:
        if self.clock() >= self._due.get(duty.__name__, 0.0):
            duty()
            self._due[duty.__name__] = self.clock() + period_s

    def _sleep(self) -> None:
        if self.flag:
            time.sleep(TICK_S)  # a flag that is set would end the wait at once
        else:
            self.flag.wait(TICK_S)


def run_head(config: RunConfig, folder: RunFolder, *, download: bool = False, dry_run: bool = False) -> int:
    """Search, from wherever the run stands, until it is finished, drained or left.

    Args:
        download: fetch the data set first if it is not there.
        dry_run: only print the configuration and what would be submitted.
    Returns:
        0, or 128 + n after signal n.
    Raises:
        HpcnasError: see its children; a refused start leaves nothing behind.
    """
    if dry_run:
        print(show_plan(folder, config))
        return 0
    flag = StopFlag(exit_on_second=False).install()
    with open_run(folder, config, download=download) as run:
        if run.is_done:
            print(f"nothing to do: {folder.path} has its {config.search.steps} evaluated genotypes; raise --steps to go on")
            return 0
        display = make_display()
        try:
            return Head(run, run.launcher, flag, display).search()
        finally:
            display.close()


if __name__ == "__main__":
    from hpcnas.cli import main

    sys.exit(main(["head", *sys.argv[1:]]))
