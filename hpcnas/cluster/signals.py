"""Signals set a flag that is read between two steps; no work is done inside the handler.

Slurm announces the end of a task in several ways, often more than one at once (docs/scale.md):
- SIGUSR2 (SIGUSR1 if a person asks for that one) some time before the limit and at a preemption,
- SIGTERM at the limit, at scancel, requeue and preemption,
- SIGKILL after KillWait.

submitit installs its own handlers before it calls the worker, and they ignore SIGTERM. So `StopFlag.install`
has to run after them.
"""

import os
import select
import signal
import threading
import time
import weakref
from types import FrameType

REASONS = {
    signal.SIGUSR1: "time limit or preemption",
    signal.SIGUSR2: "time limit or preemption",
    signal.SIGTERM: "terminated",
    signal.SIGINT: "interrupted",
    signal.SIGHUP: "hangup",
}
LIMIT_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)  # unhandled they would kill the process without a word
STOP_SIGNALS = (*LIMIT_SIGNALS, signal.SIGTERM, signal.SIGINT)

# scancel and preemption deliver SIGTERM two or three times within moments: to the step, and again through srun.
SAME_EVENT_S = 5.0


class StopFlag:
    """Whether, why and by which signal this process was asked to stop.

    The first signal sets the flag. A second one leaves at once with 128 + its number, which every saved state of hpcnas
    allows. SIGTERM after SIGUSR2 belongs to the first, and so does the same signal again within `SAME_EVENT_S` (other than
    SIGINT, which a person repeats).
    """

    def __init__(self, *, exit_on_second: bool = True) -> None:
        self._exit_on_second = exit_on_second
        self._seen: list[tuple[int, float]] = []
        self._read, self._write = os.pipe()  # a handler may write to a pipe; setting a threading.Event may deadlock
        os.set_blocking(self._write, False)
        # Closed only once nobody can wait or wake: a notebook or a test runs many searches in one process.
        # At exit they stay open: a handler may still run.
        weakref.finalize(self, _close, self._read, self._write).atexit = False
        self._own_reason = ""

    def install(self, signals: tuple[signal.Signals, ...] = STOP_SIGNALS) -> "StopFlag":
        """Handle `signals` from now on; outside the main thread, where Python cannot, nothing happens."""
        if threading.current_thread() is threading.main_thread():
            for number in signals:
                signal.signal(number, self._handle)
        return self

    def __bool__(self) -> bool:
        return bool(self._seen) or bool(self._own_reason)

    @property
    def reason(self) -> str:
        """Why to stop, in words for the event log; "" while there is no reason."""
        return REASONS.get(signal.Signals(self._seen[0][0]), "signal") if self._seen else self._own_reason

    @property
    def signal_name(self) -> str:
        """Such as SIGTERM, the first that came; "" if none did."""
        return signal.Signals(self._seen[0][0]).name if self._seen else ""

    @property
    def count(self) -> int:
        """The number of signals that came, those of one event counted once."""
        return sum(1 for index in range(len(self._seen)) if index == 0 or self._is_second(index))

    @property
    def exit_code(self) -> int:
        """128 + the first signal's number as shells have it; 0 if none came."""
        return 128 + self._seen[0][0] if self._seen else 0

    def request(self, reason: str) -> None:
        """Set the flag without a signal, as when the head answers drain."""
        self._own_reason = self._own_reason or reason
        self._wake()

    def wait(self, timeout_s: float) -> bool:
        """Sleep at most `timeout_s`, less when asked to stop meanwhile; whether to stop."""
        if not self:
            select.select([self._read], [], [], max(0.0, timeout_s))
        return bool(self)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._seen.append((number, time.monotonic()))
        self._wake()
        if self._exit_on_second and self._is_second(len(self._seen) - 1):
            os._exit(128 + number)

    def _is_second(self, index: int) -> bool:
        number, moment = self._seen[index]
        before = [seen for seen in self._seen[:index] if seen[0] == number]
        if not before:
            # An escalation (USR2, then TERM), unless a person follows up by hand.
            return index > 0 and number == signal.SIGINT
        return number == signal.SIGINT or moment - before[0][1] > SAME_EVENT_S

    def _wake(self) -> None:
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            return  # the pipe is full of earlier wake-ups: whoever waits is awake


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
