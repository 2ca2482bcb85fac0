"""Breeds for workers that claim from the database themselves, without the service (PostgreSQL)."""

import logging
import threading
from collections.abc import Callable

from hpcnas.errors import HpcnasError, StoreUnavailable
from hpcnas.population.store import Store

log = logging.getLogger(__name__)

EVERY_S = 0.25


class RefillThread:
    """One child for every worker that waits in its row, again and again.

    In a thread of its own, as the service is: the head's loop stands still while the cluster does not answer.

    Attributes:
        error: what ended it; None while it works.
    """

    def __init__(self, store: Store, breed: Callable[[], bool]) -> None:
        """Start nothing yet.

        Args:
            breed: queues one child; whether a genotype is queued now.
        """
        self.error: HpcnasError | None = None
        self._store, self._breed = store, breed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refill_thread", daemon=True)

    def start(self) -> None:
        """Begin to look for waiting workers."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it is breeding is finished first."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self._feed()
            except StoreUnavailable as error:
                log.error("%s", error)  # the head's loop meets it too, and gives up when it lasts
            except HpcnasError as error:
                self.error = error
                return
            except Exception:
                log.exception("breeding has ended by a bug")
                self.error = HpcnasError("breeding failed by a bug; its traceback is in the head's log")
                return

    def _feed(self) -> None:
        for _ in range(self._store.waiting_workers() - self._store.claimable()):
            if not self._breed():
                return
