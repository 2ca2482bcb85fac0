"""How many workers to start, and when not to: top up what is missing, never a whole array, never a storm.

Nothing here decides from silence: a cluster that does not answer (alive() is None) changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hpcnas.errors import ClusterError

QUICK_S = 120.0  # an array that ends sooner, without a claim, did not work
PATIENCE = 3  # quick deaths before the head waits
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 1800.0
LAST_STRAW = 10  # quick deaths in a row after which the head gives up


class Cluster(Protocol):
    """The part of a launcher that staffing needs."""

    def submit(self, count: int) -> list[str]:
        """Start workers; their task names."""

    def alive(self) -> dict[str, str] | None:
        """States of the tasks that run or wait; None when the cluster does not say."""


@dataclass(slots=True)
class _Submission:
    tasks: set[str]
    at_s: float
    claims: int  # claims granted in the whole run when it was submitted


class Staffing:
    """Keeps `wanted` workers running.

    Attributes:
        states: what the cluster said last, task -> state.
        deaths: submissions in a row that ended within two minutes without a claim.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float], quick_s: float = QUICK_S) -> None:
        self.cluster = cluster
        self.clock = clock
        self.quick_s = quick_s
        self.states: dict[str, str] = {}
        self.deaths = 0
        self._open: list[_Submission] = []
        self._wait_until_s = 0.0

    def top_up(self, wanted: int, claims: int) -> list[str]:
        """Start the workers that are missing.

        Args:
            wanted: workers that should run or wait in the queue now.
            claims: claims granted in the whole run so far; growing means that workers work.
        Returns:
            The tasks submitted, mostly none.
        Raises:
            ClusterError: the cluster refused, or ten submissions in a row died at once.
        """
        states = self.cluster.alive()
        if states is None:
            return []
        self.states = states
        self._judge(set(states), claims)
        missing = wanted - len(states)
        if missing <= 0 or self.clock() < self._wait_until_s:
            return []
        tasks = self.cluster.submit(missing)
        self._open.append(_Submission(set(tasks), self.clock(), claims))
        self.states = {**states, **dict.fromkeys(tasks, "PENDING")}
        return tasks

    @property
    def waits_s(self) -> float:
        """Seconds until the next submission is allowed; 0 when it is."""
        return max(0.0, self._wait_until_s - self.clock())

    def _judge(self, alive: set[str], claims: int) -> None:
        for submission in list(self._open):
            if claims > submission.claims or self.clock() - submission.at_s > self.quick_s:
                self._open.remove(submission)
                self.deaths = 0
            elif not submission.tasks & alive:
                self._open.remove(submission)
                self._count_death()

    def _count_death(self) -> None:
        self.deaths += 1
        if self.deaths >= LAST_STRAW:
            raise ClusterError(
                f"{self.deaths} submissions in a row ended within {self.quick_s:g} s without claiming a genotype; "
                "read the newest logs in the run folder's slurm/ and logs/, then start the head again"
            )
        if self.deaths >= PATIENCE:
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (self.deaths - PATIENCE))
            self._wait_until_s = self.clock() + wait
