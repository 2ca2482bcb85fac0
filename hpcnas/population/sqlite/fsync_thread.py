"""Flushing one file while the calling thread flushes another."""

import threading

from hpcnas.population import faultpoints


class Flusher:
    """A thread that makes a file durable between `begin` and `end`; started with the first use.

    Two bare locks hand the work over: a pool with its queue and futures takes as long as a fast disk's flush.
    """

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._asked, self._done = threading.Lock(), threading.Lock()
        self._asked.acquire()
        self._done.acquire()
        self._thread: threading.Thread | None = None
        self._file: int | None = None
        self._error: BaseException | None = None
        self._is_busy = False

    def begin(self, file: int) -> None:
        """Begin to flush an open file."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._file, self._is_busy = file, True
        self._asked.release()

    def end(self) -> BaseException | None:
        """Wait for what was begun; why it failed, or None. At once when nothing was begun."""
        if not self._is_busy:
            return None
        self._done.acquire()
        self._is_busy = False
        return self._error

    def close(self) -> None:
        """End the thread."""
        self.end()
        if self._thread is not None:
            self._file = None
            self._asked.release()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            if self._file is None:
                return
            self._error = None
            try:
                faultpoints.fsync(self._file)
            except BaseException as error:  # noqa: BLE001  (raised by the thread that waits for it)
                self._error = error
            self._done.release()
