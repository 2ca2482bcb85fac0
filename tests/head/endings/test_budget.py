"""Budgets: hours in which something was trained, GPU-hours of all attempts, patience with the best."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from hpcnas.config import SearchConfig
from hpcnas.head.endings.budget import SPENT_EVERY_S, Budget, searching_s


@dataclass
class Attempted:
    started: float
    ended: float | None


def budget(attempts: list[Attempted], longest: int, now: list[float], gpus: int = 1, **search: float) -> Budget:
    return Budget(SearchConfig(**search), gpus, lambda: attempts, lambda: longest, lambda: now[0])  # type: ignore[arg-type]


def test_pauses_and_overlaps_are_no_searching() -> None:
    attempts = [Attempted(0, 10), Attempted(5, 12), Attempted(100, 110), Attempted(106, None)]
    assert searching_s(attempts, 120) == 12 + 20


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), max_size=30))
def test_searching_is_the_number_of_seconds_that_any_attempt_covers(spans: list[tuple[int, int]]) -> None:
    covered = {second for start, length in spans for second in range(start, start + length)}
    assert searching_s([Attempted(start, start + length) for start, length in spans], 1000) == len(covered)


def test_each_budget_says_which_it_is() -> None:
    attempts, now = [Attempted(0, 3600)], [3600.0]
    assert budget(attempts, 2, now).reached() == ""
    assert "--hours 1" in budget(attempts, 2, now, hours=1.0).reached()
    assert budget(attempts, 2, now, hours=1.01).reached() == ""
    assert "--gpu-hours 4" in budget(attempts, 2, now, gpus=4, gpu_hours=4.0).reached()
    assert budget(attempts, 2, now, gpus=3, gpu_hours=4.0).reached() == ""
    assert "--patience 2" in budget(attempts, 2, now, patience=2).reached()
    assert budget(attempts, 2, now, patience=3).reached() == ""


def test_a_budget_is_looked_at_again_later_and_not_at_every_turn() -> None:
    attempts, now = [Attempted(0, None)], [3599.0]
    spent = budget(attempts, 0, now, hours=1.0)
    assert spent.reached() == ""
    now[0] += SPENT_EVERY_S / 2
    assert spent.reached() == ""
    now[0] += SPENT_EVERY_S / 2
    assert "--hours 1" in spent.reached()


def test_a_clock_that_is_put_back_holds_no_budget_up() -> None:
    attempts, now = [Attempted(0, 1800)], [1e9]
    spent = budget(attempts, 0, now, hours=1.0)
    assert spent.reached() == ""
    now[0] = 5400.0
    attempts.append(Attempted(1800, 3600))
    assert "--hours 1" in spent.reached()
