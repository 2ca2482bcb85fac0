"""Algorithm 1: the head breeds a child whenever a worker asks, keeps workers running, and stops at exactly --steps evaluated.

It keeps no state of its own: killed at any line and started again with the same command, it goes on
with what the population holds. `python -m hpcnas.head` is `hpcnas head`.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable

from hpcnas.cluster.signals import StopFlag
from hpcnas.cluster.task import this_task
from hpcnas.config import RunConfig
from hpcnas.durations import duration
from hpcnas.errors import ClusterError, RunHeldError, StoreUnavailable, UsageError
from hpcnas.run_folder import RunFolder
from hpcnas.search.display import Display, Snapshot, make_display
from hpcnas.search.duties import Duties
from hpcnas.search.opening import OpenRun, open_run, show_plan
from hpcnas.search.wishes import CANCEL, DRAIN, RETRY, take_wishes

log = logging.getLogger(__name__)

TICK_S = 0.5
PATIENCE_S = 600.0  # with a population that cannot be written
FAREWELL_S = 15.0  # for workers to hear that the run is finished, and leave


class Head:
    """The loop of one head, from its first worker to its last.

    Attributes:
        flag: signals of this process: the first drains, the second leaves.
    """

    def __init__(self, run: OpenRun, flag: StopFlag, display: Display, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self.folder = run.folder
        self.steps = run.config.search.steps
        self.store = run.store
        self.flag = flag
        self.display = display
        self.clock = clock
        self.duties = Duties(run, display, clock)
        self._draining = ""  # why
        self._started_s = clock()
        self._evaluated_before = run.store.counts().evaluated
        self._troubled_s: float | None = None

    def search(self) -> int:
        """Go round until the run is finished, drained or left; the exit code.

        Raises:
            HpcnasError: more than a fifth of the genotypes fail, the cluster refuses, another head took over.
        """
        while True:
            try:
                code = self._go_round()
                self._troubled_s = None
            except StoreUnavailable as error:
                code = self._endure(error)
            if code is not None:
                return code
            self._sleep()

    def _go_round(self) -> int | None:
        """One turn; the exit code when it was the last."""
        if self.store.counts().evaluated >= self.steps:
            return self._finish()
        if self._must_leave():
            return self._abandon()
        self._listen()
        self._tick()
        if self._draining and not self.store.leases():
            return self._end_drained()
        return None

    def _must_leave(self) -> bool:
        """After a second signal; at the first when the Slurm job ends that this head runs in: it goes on in the next."""
        ends_job = self.flag.signal_name == "SIGUSR2" or (self.flag.signal_name == "SIGTERM" and bool(this_task().job))
        return self.flag.count >= 2 or ends_job

    def _endure(self, error: StoreUnavailable) -> int | None:
        """A disk that is full or a database that is busy passes; what workers have to say waits with them meanwhile."""
        now = self.clock()
        self._troubled_s = now if self._troubled_s is None else self._troubled_s
        if self._must_leave():
            return self._abandon()
        if now - self._troubled_s > PATIENCE_S:
            raise error
        log.error("%s", error)
        self.display.say(f"{error}; trying again")
        return None

    def _tick(self) -> None:
        if not self.run.lock.is_held():
            raise RunHeldError(f"{self.folder.lock} was removed or taken over while this head ran; it leaves the run alone")
        if self.run.answering.error is not None:
            raise self.run.answering.error
        self.duties.do(self._wanted())
        self.run.breeder.follow()
        self.display.show(self.snapshot())

    def snapshot(self) -> Snapshot:
        """The run as it is now."""
        counts = self.store.counts()
        elapsed = self.clock() - self._started_s
        done = counts.evaluated - self._evaluated_before
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
            eta_s=elapsed * (self.steps - counts.evaluated) / done if done and not self._draining else None,
            elapsed_s=elapsed,
            note=self._draining or self.duties.note,
        )

    def _wanted(self) -> int:
        left = self.steps - self.store.counts().evaluated
        return 0 if self._draining else min(self.run.config.cluster.workers, max(0, left))

    def _listen(self) -> None:
        wishes = take_wishes(self.folder)
        for wish in wishes:
            if wish.startswith(RETRY):
                self._retry(int(wish.removeprefix(RETRY)))
        if CANCEL in wishes:
            self.display.say(f"asked to cancel: told {self.run.launcher.cancel()} workers to end")
        if self.flag or DRAIN in wishes or CANCEL in wishes:
            self._drain(self.flag.reason or "stop was asked for")

    def _retry(self, individual_id: int) -> None:
        try:
            self.store.retry(individual_id)
            self.display.say(f"genotype {individual_id} is queued anew")
        except UsageError as error:
            log.warning("%s", error)

    def _drain(self, why: str) -> None:
        if self._draining:
            return
        self.run.breeder.is_open = False
        self.store.set_draining(True)
        self._draining = f"draining ({why}): what is being trained is finished first"
        self.display.say(f"{self._draining}: {self.store.counts().leased} genotypes; Ctrl-C again leaves at once")
        self.duties.cancel_waiting()

    def _abandon(self) -> int:
        self.display.say(f"left at once; workers go on, and the same command resumes {self.folder.path}")
        return self.flag.exit_code

    def _end_drained(self) -> int:
        self.duties.merge()
        self._farewell()
        evaluated = self.store.counts().evaluated
        self.display.say(f"drained at {evaluated}/{self.steps} evaluated; the same command resumes {self.folder.path}")
        return self.flag.exit_code

    def _finish(self) -> int:
        self.store.set_finished(True)
        self._draining = "finishing: workers are leaving"
        while self.store.leases() and not self._must_leave():  # more than are wanted, after --steps was lowered: they may end
            self._tick()
            self._sleep()
        self.duties.cancel_waiting()
        self._farewell()
        self.run.breeder.follow()
        best = self.run.breeder.best
        found = f"; best is genotype {best[0]} with fitness {best[1]:.4f}" if best else ""
        took = duration(self.clock() - self._started_s)
        self.display.say(f"finished: {self.store.counts().evaluated} genotypes evaluated, {took}{found}")
        self.display.say(f"next: hpcnas report --run {self.folder.path}")
        return 0

    def _farewell(self) -> None:
        """Wait until the workers have left; end those that do not."""
        until_s = self.clock() + FAREWELL_S
        while (
            self.clock() < until_s
            and not self._must_leave()
            and (self.duties.staffing.is_asking or (self.store.counts().workers and self.run.launcher.alive() != {}))
        ):
            self.display.show(self.snapshot())
            self._sleep()
        try:
            if self.run.launcher.alive():
                self.run.launcher.cancel()
        except ClusterError as error:
            log.warning("workers could not be cancelled, they end by themselves: %s", error)
        self.run.launcher.prune()

    def _sleep(self) -> None:
        if self.flag:
            time.sleep(TICK_S)  # a flag that is set would end the wait at once
        else:
            self.flag.wait(TICK_S)


def run_head(config: RunConfig, folder: RunFolder, *, download: bool = False, dry_run: bool = False, address: str = "") -> int:
    """Search, from wherever the run stands, until it is finished, drained or left.

    Args:
        download: fetch the data set first if it is not there.
        dry_run: only print the configuration and what would be submitted.
        address: of this machine, which workers are to try first; "" for its name.
    Returns:
        0, or 128 + n after signal n.
    Raises:
        HpcnasError: see its children; a refused start leaves nothing behind.
    """
    if dry_run:
        print(show_plan(folder, config))
        return 0
    flag = StopFlag(exit_on_second=False).install()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that drops ends the display, not the search
    with open_run(folder, config, download=download, address=address) as run:
        if run.is_done:
            print(f"nothing to do: {folder.path} has its {config.search.steps} evaluated genotypes; raise --steps to go on")
            return 0
        display = make_display()
        try:
            return Head(run, flag, display).search()
        finally:
            display.close()


if __name__ == "__main__":
    from hpcnas.cli import main

    sys.exit(main(["head", *sys.argv[1:]]))
