"""Sends heartbeats beside a training; ends the process if the training ignores a stop request."""

import logging
import os
import threading
import time
from collections.abc import Callable

from hpcnas.cluster.signals import StopFlag
from hpcnas.errors import DamagedRunError, HpcnasError, StoreUnavailable
from hpcnas.population.store import WorkQueue
from hpcnas.records import Lease, Verdict
from hpcnas.system.background_call import ask, is_answered
from hpcnas.worker.watchdog import LOOK_S, Watchdog

log = logging.getLogger(__name__)

GRACE_S = 20.0  # a training that does not stop by itself when asked; Slurm kills 30 s after SIGTERM
ABANDON_S = 5.0  # a disk that does not answer is not waited for longer
LATE_S = 0.5  # a beat that is overdue by so much: this process is busy, or the head silent
GIVE_WAY_S = 1.0  # how long a training waits for such a beat, once per beat
EXIT_STALE = 1  # of a worker that had to leave a training which does not stop


class StopTraining(BaseException):
    """Raised out of `progress` to end a training; no Exception, so that no fitness function swallows it."""


class Heartbeat:
    """Heartbeats of one lease in the time between `with` and its end.

    Two threads: one sends the beats and may hang on a silent head for half a minute; the other is a watchdog, which
    ends the process if the training does not stop. Both go by a monotonic clock: a training may keep the
    interpreter's lock for seconds, and whoever counts waits of a quarter of a second would then count too few.

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queue = queue
        self.abandon = abandon
        self.lease = lease
        self.flag = flag
        self.every_s = every_s
        self.clock = clock
        self.verdict = Verdict.OK
        self.progress = 0.0
        self.leave: Callable[[int], None] = os._exit
        self._over = threading.Event()
        self._due_s = clock() + every_s  # in the past until the beat that was due is over
        self._beaten = threading.Event()
        self._gave_way = False
        self._beats = threading.Thread(target=self._beat_regularly, name="heartbeat", daemon=True)
        self._watchdog = Watchdog(lambda: self.must_stop, self._end_process, grace_s, clock)

    def __enter__(self) -> "Heartbeat":
        self._beats.start()
        self._watchdog.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._watchdog.__exit__()
        while self._beats.is_alive() and not self.must_stop:  # then a silent head is not waited for
            self._beats.join(LOOK_S)

    @property
    def must_stop(self) -> bool:
        """Whether the training should end now: its lease is another's, or this process was asked to stop."""
        return self.verdict is Verdict.STALE or bool(self.flag)

    def report(self, share: float) -> None:
        """Take the progress of the training (0 to 1). Raises StopTraining when it should end."""
        self.progress = min(1.0, max(0.0, share))
        self._give_way()
        if self.must_stop:
            raise StopTraining

    def _give_way(self) -> None:
        """Wait for a beat that is overdue: a training that keeps the interpreter's lock leaves its thread no other moment."""
        if self._gave_way or self.clock() < self._due_s + LATE_S:
            return
        self._beaten.clear()
        if self.clock() >= self._due_s + LATE_S:  # still: the beat sets the next time first, then the event
            self._gave_way = True
            self._beaten.wait(GIVE_WAY_S)

    def _beat_regularly(self) -> None:
        while not self._over.wait(max(0.0, self._due_s - self.clock())) and self.verdict is not Verdict.STALE:
            began_s = self.clock()
            self._beat()
            self._due_s, self._gave_way = began_s + self.every_s, False
            self._beaten.set()

    def _beat(self) -> None:
        try:
            verdict = self.queue.heartbeat(self.lease.individual_id, self.lease.token, self.progress)
            if self.verdict is not Verdict.STALE:  # as the answer to a record may have said meanwhile
                self.verdict = verdict
        except StoreUnavailable:
            return  # the head is away: go on training, the result finds its way
        except DamagedRunError as error:  # a restored older database lacks this lease
            log.error("%s", error)
            self.verdict = Verdict.STALE
        except HpcnasError as error:
            log.error("%s", error)

    def _end_process(self) -> None:
        """The attempt is not over: give the genotype back in its stead, and end the process.

        By the outbox: the connection to the head may be what hangs, and another thread may hold it.
        """
        if self.verdict is not Verdict.STALE:
            answer = ask(lambda: self.abandon(self.flag.reason))
            if not is_answered(answer, ABANDON_S):
                log.error("the outbox does not answer; genotype %d counts as lost", self.lease.individual_id)
            elif error := answer.exception():
                log.error("genotype %d cannot be given back: %r", self.lease.individual_id, error)
        log.error("the training did not end within %g s of being asked; the process ends", self._watchdog.grace_s)
        self.leave(self.flag.exit_code or EXIT_STALE)
