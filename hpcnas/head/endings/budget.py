"""Ends a search before its last step: hours, GPU-hours, or a best genotype that has not improved for long."""

from collections.abc import Callable, Iterable, Sequence

from hpcnas.config import SearchConfig
from hpcnas.population.pace import Span, spent_s

SPENT_EVERY_S = 10.0  # the attempts of 7,000 genotypes are read in 30 ms


def searching_s(attempts: Iterable[Span], until: float) -> float:
    """Wall time in which at least one genotype was trained, in seconds: pauses between two heads cost nothing.

    Args:
        until: up to when attempts count that still run, in seconds since 1970.
    """
    total, covered = 0.0, 0.0
    for started, ended in sorted((one.started, until if one.ended is None else one.ended) for one in attempts):
        total += max(0.0, ended - max(started, covered))
        covered = max(covered, ended)
    return total


class Budget:
    """Says when a search has had enough.

    Args:
        attempts: reads all attempts of the run.
        longest: the longest stretch of genotypes without a better best one; once it was long enough the search has ended.
        now: seconds since 1970.
    """

    def __init__(
        self,
        search: SearchConfig,
        gpus_per_worker: int,
        attempts: Callable[[], Sequence[Span]],
        longest: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._search, self._gpus = search, gpus_per_worker
        self._attempts, self._longest, self._now = attempts, longest, now
        self._read = -SPENT_EVERY_S  # when the attempts were read last
        self._spent = ""

    def reached(self) -> str:
        """The budget that is reached, as in "--gpu-hours 60 are spent"; "" while none is."""
        patience = self._search.patience
        if patience and self._longest() >= patience:
            return f"the best genotype has not improved for --patience {patience} genotypes"
        if not 0 <= self._now() - self._read < SPENT_EVERY_S:  # below 0: the clock was put back
            self._read = self._now()
            self._spent = self._time_spent()
        return self._spent

    def _time_spent(self) -> str:
        search = self._search
        if not search.hours and not search.gpu_hours:
            return ""
        attempts, now = self._attempts(), self._now()
        if search.hours and searching_s(attempts, now) >= 3600 * search.hours:
            return f"--hours {search.hours:g} are over"
        if search.gpu_hours and spent_s(attempts, self._gpus, now) >= 3600 * search.gpu_hours:
            return f"--gpu-hours {search.gpu_hours:g} are spent"
        return ""
