"""The one answer to: how long does it still take, and what has it cost?"""

import pytest

from hpcnas.population.pace import remaining_s, spent_s
from hpcnas.population.rows import AttemptRow


def attempt(worker: str, started: float, ended: float | None, outcome: str = "evaluated") -> AttemptRow:
    return AttemptRow(1, 1, worker, "host", started, ended, outcome if ended is not None else "", "", "")


def steady(workers: int, rounds: int, each_s: float = 100.0, since: float = 0.0) -> list[AttemptRow]:
    """Each worker evaluates one genotype after the other."""
    return [
        attempt(f"w{worker}", since + number * each_s, since + (number + 1) * each_s)
        for worker in range(workers)
        for number in range(rounds)
    ]


def test_nothing_is_known_before_the_first_evaluation_or_without_workers() -> None:
    assert remaining_s([], 10, 4, 0.0) is None
    assert remaining_s([attempt("w0", 0, 50, "crash")], 10, 4, 60.0) is None
    assert remaining_s(steady(4, 2), 10, 0, 200.0) is None


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_the_workers_that_are_there_now_share_what_is_left(workers: int) -> None:
    """Whatever their number was before."""
    assert remaining_s(steady(4, 5), 40, workers, 500.0) == pytest.approx(40 * 100 / workers)


def test_a_night_without_a_head_is_not_part_of_the_pace() -> None:
    resumed = [*steady(4, 3), *steady(4, 1, since=40_000.0)]
    assert remaining_s(resumed, 40, 4, 40_100.0) == pytest.approx(40 * 100 / 4, rel=0.05)


def test_failures_and_lost_attempts_slow_the_pace() -> None:
    mixed = [*steady(1, 5), attempt("w1", 0, 500, "lost")]
    assert remaining_s(mixed, 10, 2, 500.0) == pytest.approx(10 * 200 / 2)


def test_what_is_begun_is_not_counted_again() -> None:
    begun = [*steady(2, 5), attempt("w0", 500, None), attempt("w1", 500, None)]
    assert remaining_s(begun, 2, 2, 560.0) == pytest.approx(40)
    assert remaining_s(begun, 2, 2, 9_999.0) == 0  # a slow genotype, no negative time


def test_short_pauses_between_genotypes_belong_to_the_pace() -> None:
    quick = [attempt("w0", float(second), second + 0.01) for second in range(50)]
    assert remaining_s(quick, 100, 1, 50.0) == pytest.approx(100, rel=0.05)


def test_the_last_attempts_count_alone() -> None:
    faster = [*steady(1, 100, 1000.0), *steady(1, 100, 10.0, since=1e6)]
    assert remaining_s(faster, 10, 1, 1e6 + 1000) == pytest.approx(100, rel=0.05)


def test_the_cost_counts_every_attempt_and_running_ones_so_far() -> None:
    attempts = [*steady(2, 1), attempt("w0", 100, 150, "lost"), attempt("w1", 100, None)]
    assert spent_s(attempts, 4, 160.0) == 4 * (200 + 50 + 60)
    assert spent_s(attempts, 0, 160.0) == 310  # without GPUs the workers' own time
