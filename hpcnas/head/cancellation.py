"""Ending all workers of a run by a cluster that may hang or not answer: asked for again until it is done."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from hpcnas.errors import ClusterError
from hpcnas.system.background_call import ask, is_answered

PROMPT_S = 2.0  # a cluster that takes longer for its answer is not waited for
AGAIN_S = 15.0  # after a failure, until the cluster is asked again


class Cancelling(Protocol):
    """The part of a launcher that a cancellation needs."""

    def cancel(self) -> int:
        """End all workers of the run; returns how many were asked to."""


class Cancellation:
    """Ends all workers of a run.

    Attributes:
        count: how many workers were asked to end; None until the cluster has done it.
        trouble: why it could not be done the last time; "" when nothing went wrong.
    """

    def __init__(self, cluster: Cancelling, clock: Callable[[], float]) -> None:
        self.cluster = cluster
        self.clock = clock
        self.count: int | None = None
        self.trouble = ""
        self._answer: Future[int] | None = None
        self._again_s = clock()

    def is_done(self) -> bool:
        """Whether the cluster has ended the workers; asks it first, where no question is open and none failed just now."""
        wait_s = 0.0
        if self._answer is None and self.clock() >= self._again_s:
            self._answer, wait_s = ask(lambda: self.cluster.cancel()), PROMPT_S
        if self._answer is not None and is_answered(self._answer, wait_s):
            self._take(self._answer)
        return self.count is not None

    def _take(self, answer: "Future[int]") -> None:
        self._answer = None
        try:
            self.count, self.trouble = answer.result(), ""
        except (ClusterError, OSError) as error:  # OSError: the disk refuses what the launcher writes down
            self.trouble = str(error)
            self._again_s = self.clock() + AGAIN_S
