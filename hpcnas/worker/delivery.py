"""Delivers a worker's messages to the population: at once, a little later, or by the outbox."""

import logging
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hpcnas.cluster.signals import StopFlag
from hpcnas.errors import HpcnasError, StoreUnavailable
from hpcnas.population.protocol.messages import FailMessage, LeaseMessage, RecordMessage, ReleaseMessage, encode
from hpcnas.population.protocol.outbox import write_outbox
from hpcnas.population.store import WorkQueue
from hpcnas.records import Failure, Fitness, Lease, Verdict
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

RETRY_S = 1.0
LONGEST_RETRY_S = 15.0  # a disk that is full is not asked every second by 200 workers
HOLD_S = 3600.0  # how long what neither head nor disk takes is held in memory, after the patience with the head


class Undeliverable(HpcnasError):
    """The population refuses a message, as after an older database was put back; it is kept in the outbox."""

    def __init__(self, refusal: HpcnasError) -> None:
        super().__init__(str(refusal))
        self.exit_code = refusal.exit_code


@dataclass(slots=True)
class ResultSender:
    """Delivers accuracies, failures and releases of one lease, in order, whatever the head does.

    Every method that sends may raise Undeliverable: then it is not the genotype's fault, and this worker should end.

    Attributes:
        patience_s: how long to try for a head that is away before messages go into the outbox.
    """

    queue: WorkQueue
    folder: RunFolder
    lease: Lease
    flag: StopFlag
    patience_s: float
    clock: Callable[[], float] = time.monotonic
    _waiting: list[LeaseMessage] = field(default_factory=list)
    _is_held: bool = False

    def record(self, fitness: Fitness) -> Verdict:
        """Send one accuracy, after the messages that wait already; returns OK if it has to wait, too."""
        return self._enqueue(RecordMessage(self.lease.individual_id, self.lease.token, fitness))

    def fail(self, failure: Failure) -> None:
        """Report a failure."""
        self._enqueue(FailMessage(self.lease.individual_id, self.lease.token, failure))
        self.settle()

    def release(self, reason: str) -> None:
        """Give the genotype back; one try and the outbox when this process was asked to stop."""
        self._enqueue(ReleaseMessage(self.lease.individual_id, self.lease.token, reason))
        self.settle()

    def settle(self) -> Verdict:
        """Deliver the waiting messages: try for `patience_s` or until asked to stop, then leave them in the outbox.

        If the disk refuses, they are held for `HOLD_S`, or until asked to stop, and then kept on this machine.
        """
        began_s, pause_s = self.clock(), RETRY_S
        verdict = self._send()
        while self._waiting:
            is_stopping = self.flag.wait(pause_s)
            verdict = self._send()
            away_s = self.clock() - began_s
            if (is_stopping or away_s >= self.patience_s) and not self._spool(self.folder):
                if is_stopping or away_s >= self.patience_s + HOLD_S:
                    self._keep_here()
                    return verdict
                pause_s = min(LONGEST_RETRY_S, 1.5 * pause_s)
        return verdict

    def abandon(self, reason: str) -> None:
        """Leave everything and the release in the outbox at once: the process ends, its own thread is stuck."""
        self._waiting.append(ReleaseMessage(self.lease.individual_id, self.lease.token, reason))
        self._leave_behind()

    def _enqueue(self, message: LeaseMessage) -> Verdict:
        self._waiting.append(message)
        return self._send()

    def _send(self) -> Verdict:
        verdict = Verdict.OK
        while self._waiting:
            try:
                verdict = self._waiting[0].send_to(self.queue)
            except StoreUnavailable as error:
                log.info("no head at the moment (%s); going on", error)
                return verdict
            except HpcnasError as refusal:
                self._leave_behind()
                raise Undeliverable(refusal) from refusal
            del self._waiting[0]
            if verdict is Verdict.STALE:
                self._waiting.clear()
        return verdict

    def _leave_behind(self) -> None:
        if not self._spool(self.folder):
            self._keep_here()

    def _spool(self, folder: RunFolder) -> bool:
        """Leave everything in the outbox of `folder`; whether the disk took it. The rest still waits."""
        while self._waiting:
            try:
                path = write_outbox(folder, self._waiting[0])
            except OSError as error:
                if not self._is_held:
                    self._is_held = True
                    log.error(
                        "neither head nor outbox takes the messages about genotype %d (%s); they are held for %.0f min more, "
                        "or until this worker ends",
                        self.lease.individual_id,
                        error,
                        HOLD_S / 60,
                    )
                return False
            log.warning("no head: %s of genotype %d is in %s", self._waiting[0].method, self.lease.individual_id, path)
            del self._waiting[0]
        return True

    def _keep_here(self) -> None:
        """Keep the messages on this machine's own disk, or in the log if that is full too."""
        try:
            here = RunFolder(Path(tempfile.mkdtemp(prefix="hpcnas-")))
            is_kept = self._spool(here)
        except OSError as error:
            log.error("%s has no room for it either: %s", socket.gethostname(), error)
            is_kept = False
        if is_kept:
            log.error("on %s, move the files of %s into %s by hand", socket.gethostname(), here.outbox, self.folder.outbox)
        for message in self._waiting:
            log.error("nothing takes %s of genotype %d: %s", message.method, self.lease.individual_id, encode(message))
