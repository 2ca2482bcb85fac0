"""The remaining time and the cost of a search, from its attempts: one answer for the head, status and report."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from hpcnas.population.rows import AttemptRow
from hpcnas.population.rules import EVALUATED

RECENT = 100  # attempts that ended last, whose pace counts
IDLE_S = 5.0  # the longest pause between two attempts of a worker that belongs to its pace; longer ones waited for a head


class Span(Protocol):
    """When an attempt began and ended, in seconds since 1970."""

    @property
    def started(self) -> float:
        """Its begin."""

    @property
    def ended(self) -> float | None:
        """Its end; None while it runs."""


def remaining_s(attempts: Sequence[AttemptRow], left: int, workers: int, now: float) -> float | None:
    """Seconds until `left` more genotypes are evaluated, by the workers that are there now at the pace of the last attempts.

    What a worker spends on failures and on attempts that were lost is part of its pace; the time without a head is not.

    Args:
        attempts: all, or at least the RECENT ones that ended last and those that run.
    Returns:
        None while nothing is evaluated or no worker is there.
    """
    ended = sorted((row for row in attempts if row.ended is not None), key=lambda row: row.ended or 0.0)[-RECENT:]
    evaluated = sum(row.outcome == EVALUATED for row in ended)
    if not evaluated or not workers:
        return None
    each_s = sum(_worker_s(ended)) / evaluated
    # An attempt that takes longer than usual is worth one genotype all the same.
    begun_s = sum(min(each_s, max(0.0, now - row.started)) for row in attempts if row.ended is None)
    # At the end there are fewer genotypes than workers, and the others have nothing to do.
    return max(0.0, left * each_s - begun_s) / min(workers, max(1, left))


def spent_s(attempts: Iterable[Span], gpus: int, until: float) -> float:
    """GPU-seconds of a search: what its attempts took, lost and failed ones included, times the GPUs of a worker.

    Args:
        until: up to when attempts count that still run, in seconds since 1970.
    """
    spans = ((until if attempt.ended is None else attempt.ended) - attempt.started for attempt in attempts)
    return sum(max(0.0, span) for span in spans) * max(1, gpus)


def _worker_s(ended: Sequence[AttemptRow]) -> Iterable[float]:
    """Seconds of each attempt, with its worker's pause before it."""
    before: dict[str, float] = {}
    for row in ended:
        end = row.started if row.ended is None else row.ended
        pause_s = row.started - before.get(row.worker_id, row.started)
        yield max(0.0, end - row.started) + min(IDLE_S, max(0.0, pause_s))
        before[row.worker_id] = end
