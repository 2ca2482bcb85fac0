"""A process that was asked to stop ends, whatever hangs in it."""

import threading
import time
from collections.abc import Callable

LOOK_S = 0.25  # how soon a stop is noticed


class Watchdog:
    """Calls `end` if what runs between `with` and its end goes on for `grace_s` after `must_stop`.

    It asks nobody and waits for nothing, so that neither a silent head nor a disk that hangs keeps it.
    """

    def __init__(
        self,
        must_stop: Callable[[], bool],
        end: Callable[[], None],
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.must_stop = must_stop
        self.end = end
        self.grace_s = grace_s
        self.clock = clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        asked_s: float | None = None
        while not self._over.wait(LOOK_S):
            if not self.must_stop():
                continue
            asked_s = self.clock() if asked_s is None else asked_s
            if self.clock() - asked_s > self.grace_s:
                self.end()
                return
