"""Starts missing workers: tops up those that are missing, never a whole array, never a storm.

Nothing here decides from silence: a cluster that does not answer (alive() is None) changes nothing.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from hpcnas.errors import ClusterError
from hpcnas.system.background_call import ask, is_answered

log = logging.getLogger(__name__)

QUICK_S = 120.0  # an array that ends sooner, without a claim, did not work
QUICK_EXITS_BEFORE_WAIT = 3  # in a row, before the head waits
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 1800.0
REFUSED_WAIT_S = 15.0  # after the first refusal of a cluster that took workers before
MAX_QUICK_EXITS = 10  # in a row, after which the head gives up
SILENT_S = 150.0  # two answers of squeue that did not come
PROMPT_S = 2.0  # a cluster that takes longer for its answer is not waited for


class Cluster(Protocol):
    """The part of a launcher that scaling needs."""

    def submit(self, count: int) -> list[str]:
        """Start workers; their task names."""

    def alive(self) -> dict[str, str] | None:
        """States of the tasks that run or wait; None when the cluster does not say."""

    def cancel(self, tasks: Iterable[str], *, waiting_only: bool) -> int:
        """End these tasks, those that do not run yet; how many."""


@dataclass(slots=True)
class _Submission:
    tasks: set[str]
    at_s: float  # when it was submitted, or last seen only waiting
    claims: int  # claims granted in the whole run when it was submitted


@dataclass(frozen=True, slots=True)
class _Request:
    answer: "Future[list[str]]"
    claims: int
    is_new: bool  # of a run that never had a worker


class Scaling:
    """Keeps `wanted` workers running.

    Attributes:
        states: what the cluster said last, task -> state.
        quick_exits: submissions in a row that ended within two minutes without a claim.
        refusal: why the cluster took no workers the last time; "" when it did.
    """

    def __init__(
        self, cluster: Cluster, clock: Callable[[], float], quick_s: float = QUICK_S, prompt_s: float = PROMPT_S
    ) -> None:
        self.cluster = cluster
        self.clock = clock
        self.quick_s = quick_s
        self.prompt_s = prompt_s
        self.states: dict[str, str] = {}
        self.quick_exits = 0
        self.refusal = ""
        self._refusals = 0
        self._open: list[_Submission] = []
        self._request: _Request | None = None
        self._cancellation: Future[int] | None = None
        self._wait_until_s = 0.0
        self._silent_since_s: float | None = None

    def top_up(self, wanted: int, claims: int) -> list[str]:
        """Start the workers that are missing.

        Args:
            wanted: workers that should run or wait in the queue now.
            claims: claims granted in the whole run so far; growing means that workers work.
        Returns:
            The tasks submitted, mostly none; those of a slow cluster come with a later call.
        Raises:
            ClusterError: the cluster refused, or ten submissions in a row died at once.
        """
        if self._request is not None:
            return self._poll(self._request, 0)
        states = self.cluster.alive()
        if states is None:
            self._silent_since_s = self.clock() if self._silent_since_s is None else self._silent_since_s
            return []
        self._silent_since_s = None
        self.states = states
        self._judge(states, claims)
        missing = wanted - len(states)
        if missing < 0:
            self._cancel_surplus(-missing, states)
        if missing <= 0 or self.clock() < self._wait_until_s:
            return []
        self._request = _Request(ask(lambda: self.cluster.submit(missing)), claims, is_new=not states and not claims)
        return self._poll(self._request, self.prompt_s)

    @property
    def is_asking(self) -> bool:
        """Whether the cluster has been asked for workers and has not answered yet."""
        return self._request is not None and not self._request.answer.done()

    @property
    def is_cluster_silent(self) -> bool:
        """Whether the cluster has not said for minutes which workers run, so that none are started."""
        return self._silent_since_s is not None and self.clock() - self._silent_since_s > SILENT_S

    @property
    def waits_s(self) -> float:
        """Seconds until the next submission is allowed; 0 when it is."""
        return max(0.0, self._wait_until_s - self.clock())

    def _poll(self, request: _Request, wait_s: float) -> list[str]:
        if not is_answered(request.answer, wait_s):
            return []
        self._request = None
        try:
            tasks = request.answer.result()
        except ClusterError as error:
            self._on_refusal(error, is_new=request.is_new)
            return []
        if not tasks:
            self._wait(REFUSED_WAIT_S)  # whether they were started is unknown until the cluster lists them
            return []
        self.refusal, self._refusals = "", 0
        self._open.append(_Submission(set(tasks), self.clock(), request.claims))
        self.states = {**self.states, **dict.fromkeys(tasks, "PENDING")}
        return tasks

    def _cancel_surplus(self, surplus: int, states: dict[str, str]) -> None:
        """End waiting tasks that are too many: requeued ones that were replaced meanwhile, or the run nears its end.

        A cluster that has not answered the last time is not asked again before it does.
        """
        if self._cancellation is not None and not self._take_answer(self._cancellation, 0):
            return
        waiting = [task for task, state in states.items() if state == "PENDING"][-surplus:]
        if waiting:
            self._cancellation = ask(lambda: self.cluster.cancel(waiting, waiting_only=True))
            self._take_answer(self._cancellation, self.prompt_s)

    def _take_answer(self, cancellation: "Future[int]", wait_s: float) -> bool:
        """Whether the cluster has answered within so many seconds; a refusal is a warning."""
        if not is_answered(cancellation, wait_s):
            return False
        self._cancellation = None
        try:
            cancellation.result()
        except ClusterError as error:
            log.warning("waiting workers that are too many stay: %s", error)
        return True

    def _on_refusal(self, error: ClusterError, *, is_new: bool) -> None:
        """Try again later in a run that has worked: a limit is reached, or the cluster is unwell."""
        if is_new:
            raise error
        self._refusals += 1
        self.refusal = str(error)
        log.warning("%s", error)
        self._wait(REFUSED_WAIT_S * 2 ** (self._refusals - 1))

    def _wait(self, seconds: float) -> None:
        self._wait_until_s = self.clock() + min(LONGEST_WAIT_S, seconds)

    def _judge(self, states: dict[str, str], claims: int) -> None:
        now = self.clock()
        for submission in list(self._open):
            there = {states[task] for task in submission.tasks if task in states}
            if there == {"PENDING"}:
                submission.at_s = now  # waiting in the queue is no working
            elif claims > submission.claims or now - submission.at_s > self.quick_s:
                self._open.remove(submission)
                self.quick_exits = 0
            elif not there:
                self._open.remove(submission)
                self._count_quick_exit()

    def _count_quick_exit(self) -> None:
        self.quick_exits += 1
        if self.quick_exits >= MAX_QUICK_EXITS:
            raise ClusterError(
                f"{self.quick_exits} submissions in a row ended within {self.quick_s:g} s without claiming a genotype; "
                "read the newest logs in slurm/ and logs/, then start the head again"
            )
        if self.quick_exits >= QUICK_EXITS_BEFORE_WAIT:
            self._wait(FIRST_WAIT_S * 2 ** (self.quick_exits - QUICK_EXITS_BEFORE_WAIT))
