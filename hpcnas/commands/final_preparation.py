"""A signal while `hpcnas final` prepares ends the process within moments, since nothing is to be saved yet.

Importing torch, listing a data set, opening a GPU and waiting for other ranks take up to minutes. Python does not
interrupt some of these calls. The signal raises StoppedBySignal, and a call that does not come back is cut off.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from hpcnas.cluster.signals import STOP_SIGNALS, StopFlag
from hpcnas.errors import StoppedBySignal

GRACE_S = 1.0  # for a call to come back
_OVER = b"\0"  # no signal's number


class Preparation:
    """Entered as often as something is prepared, by the main thread.

    Args:
        flag: its handlers are installed.
        leave: does what is due at the end of a stopped process; returns the exit code.
    Attributes:
        is_stopped: whether a signal came while something was prepared.
    """

    def __init__(self, flag: StopFlag, leave: Callable[[StoppedBySignal], int]) -> None:
        self._flag, self._leave = flag, leave
        self.is_stopped = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Raise StoppedBySignal in whatever is done inside when a signal comes, or came before.

        Raises:
            StoppedBySignal: a signal came.
        """
        self._check()
        with self._watched(), self._raising():
            yield
        self._check()  # a library may have swallowed it

    def _check(self) -> None:
        if self._flag.exit_code:
            raise StoppedBySignal.by(self._flag.exit_code, "the preparation")

    @contextlib.contextmanager
    def _raising(self) -> Iterator[None]:
        def handle(number: int, frame: FrameType | None) -> None:
            earlier = handlers[signal.Signals(number)]
            if callable(earlier):
                earlier(number, frame)
            if not self.is_stopped:  # the second of one event must not disturb the first one's way out
                self.is_stopped = True
                self._check()

        handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        for number in STOP_SIGNALS:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """A thread that ends the process if the main one does not come out within GRACE_S of a signal."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        is_leaving = threading.Lock()
        earlier = signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written even while a call keeps Python from handlers
        watch = threading.Thread(target=self._watch, args=(read, is_leaving), daemon=True)
        watch.start()
        try:
            yield
        finally:
            is_leaving.acquire()  # never got if the thread is ending the process already
            signal.set_wakeup_fd(earlier)
            os.write(write, _OVER)
            watch.join()
            os.close(read)
            os.close(write)

    def _watch(self, read: int, is_leaving: threading.Lock) -> None:
        number = 0
        while number not in STOP_SIGNALS:
            came = os.read(read, 1)
            if came == _OVER:
                return
            number = came[0]
        end = time.monotonic() + GRACE_S
        while (left_s := end - time.monotonic()) > 0:
            if select.select([read], [], [], left_s)[0] and os.read(read, 1) == _OVER:
                return
        if is_leaving.acquire(blocking=False):
            os._exit(self._leave(StoppedBySignal.by(128 + number, "the preparation")))
