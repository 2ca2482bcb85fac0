"""What a worker has to say reaches the population: at once, a little later, or by the outbox."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hpcnas.cluster.signals import StopFlag
from hpcnas.errors import HpcnasError, StoreUnavailable
from hpcnas.population.messages import Call
from hpcnas.population.outbox import fail_message, record_message, release_message, write_outbox
from hpcnas.population.records import Failure, Fitness, Lease, Verdict
from hpcnas.population.store import WorkQueue
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

RETRY_S = 1.0


class Undeliverable(HpcnasError):
    """The population refuses what this worker says (an older database was put back, say); it is kept in the outbox."""

    def __init__(self, refusal: HpcnasError) -> None:
        super().__init__(str(refusal))
        self.exit_code = refusal.exit_code


@dataclass(slots=True)
class Courier:
    """Delivers accuracies, failures and releases of one lease, in order, whatever the head does.

    Every method that speaks may raise Undeliverable: then it is not the genotype's fault, and this worker should end.

    Attributes:
        patience_s: how long to try for a head that is away before the outbox takes what there is to say.
    """

    queue: WorkQueue
    folder: RunFolder
    lease: Lease
    flag: StopFlag
    patience_s: float
    clock: Callable[[], float] = time.monotonic
    _waiting: list[Call] = field(default_factory=list)

    def record(self, fitness: Fitness) -> Verdict:
        """Send one accuracy, after what still waits; OK too when it has to wait itself."""
        return self._say(record_message(self.lease.individual_id, self.lease.token, fitness))

    def fail(self, failure: Failure) -> None:
        """Report a failure."""
        self._say(fail_message(self.lease.individual_id, self.lease.token, failure))
        self.settle()

    def release(self, reason: str) -> None:
        """Give the genotype back; one try and the outbox when this process was told to stop."""
        self._say(release_message(self.lease.individual_id, self.lease.token, reason))
        self.settle()

    def settle(self) -> Verdict:
        """Deliver what still waits: try for `patience_s` or until told to stop, then leave it in the outbox."""
        deadline = self.clock() + self.patience_s
        verdict = self._send()
        while self._waiting:
            is_told = self.flag.wait(RETRY_S)
            verdict = self._send()
            if (is_told or self.clock() >= deadline) and (self._post() or is_told):
                return verdict
        return verdict

    def abandon(self, reason: str) -> None:
        """Leave everything and the release in the outbox at once: the process ends, its own thread is stuck."""
        self._waiting.append(release_message(self.lease.individual_id, self.lease.token, reason))
        self._post()

    def _say(self, call: Call) -> Verdict:
        self._waiting.append(call)
        return self._send()

    def _send(self) -> Verdict:
        verdict = Verdict.OK
        while self._waiting:
            call = self._waiting[0]
            try:
                verdict = getattr(self.queue, call.method)(**call.arguments)
            except StoreUnavailable as error:
                log.info("no head at the moment (%s); going on", error)
                return verdict
            except HpcnasError as refusal:
                self._post()
                raise Undeliverable(refusal) from refusal
            del self._waiting[0]
            if verdict is Verdict.STALE:
                self._waiting.clear()
        return verdict

    def _post(self) -> bool:
        """Leave everything in the outbox; whether the disk took it. What it does not take is tried again."""
        while self._waiting:
            try:
                path = write_outbox(self.folder, self._waiting[0])
            except OSError as error:
                log.error("neither head nor outbox takes the result of genotype %d: %s", self.lease.individual_id, error)
                return False
            log.warning("no head: %s of genotype %d is in %s", self._waiting[0].method, self.lease.individual_id, path)
            del self._waiting[0]
        return True
