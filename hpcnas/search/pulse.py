"""The worker's heartbeat beside a training: beats, listens for STALE and DRAIN, and ends what does not listen."""

import logging
import os
import threading
from collections.abc import Callable

from hpcnas.cluster.signals import StopFlag
from hpcnas.errors import DamagedRunError, HpcnasError, StoreUnavailable
from hpcnas.population.records import Lease, Verdict
from hpcnas.population.store import WorkQueue

log = logging.getLogger(__name__)

LOOK_S = 0.25  # how soon a signal is noticed
GRACE_S = 20.0  # a training that does not stop by itself when asked; Slurm kills 30 s after SIGTERM
EXIT_STALE = 75  # of a worker that had to leave a training which does not listen


class Stopped(BaseException):
    """Raised out of `progress` to end a training; no Exception, so that no fitness function swallows it."""


class Pulse:
    """Heartbeats of one lease from a thread of its own, in the time between `with` and its end.

    Attributes:
        verdict: the last answer; STALE once the lease is another's.
        progress: share of the work done, which the next beat reports.
        abandon: called before the process is ended because the training does not stop.
    """

    def __init__(
        self,
        queue: WorkQueue,
        lease: Lease,
        flag: StopFlag,
        every_s: float,
        abandon: Callable[[str], None],
        grace_s: float = GRACE_S,
    ) -> None:
        self.queue = queue
        self.abandon = abandon
        self.lease = lease
        self.flag = flag
        self.every_s = every_s
        self.grace_s = grace_s
        self.verdict = Verdict.OK
        self.progress = 0.0
        self.leave: Callable[[int], None] = os._exit
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def must_stop(self) -> bool:
        """Whether the training should end now: its lease is another's, or this process was told to stop."""
        return self.verdict is Verdict.STALE or bool(self.flag)

    def report(self, share: float) -> None:
        """Take the progress of the training (0 to 1). Raises Stopped when it should end."""
        self.progress = min(1.0, max(0.0, share))
        if self.must_stop:
            raise Stopped

    def _run(self) -> None:
        since_beat_s = since_stop_s = 0.0
        while not self._over.wait(min(LOOK_S, self.every_s)):
            since_beat_s += LOOK_S
            if self.must_stop:
                since_stop_s += LOOK_S
                if since_stop_s > self.grace_s:
                    self._end_process()
            if since_beat_s >= self.every_s and self.verdict is not Verdict.STALE:
                since_beat_s = 0.0
                self._beat()

    def _beat(self) -> None:
        try:
            self.verdict = self.queue.heartbeat(self.lease.individual_id, self.lease.token, self.progress)
        except StoreUnavailable:
            return  # the head is away: go on training, the result finds its way
        except DamagedRunError as error:  # a restored older database does not know this lease
            log.error("%s", error)
            self.verdict = Verdict.STALE
        except HpcnasError as error:
            log.error("%s", error)

    def _end_process(self) -> None:
        """The training does not listen: give the genotype back in its stead, and end the process.

        By the outbox: the connection to the head may be what hangs, and the other thread may hold it.
        """
        if self.verdict is not Verdict.STALE:
            self.abandon(self.flag.reason)
        log.error("the training did not stop within %g s of being asked; the process ends", self.grace_s)
        self.leave(self.flag.exit_code or EXIT_STALE)
