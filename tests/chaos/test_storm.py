"""A minute of everything at once; `make soak` is the same for an hour."""

import itertools
from pathlib import Path

import pytest

from tests.chaos.nemesis import WEIGHTS, Nemesis, schedule
from tests.chaos.soak import storm


def test_a_seed_gives_the_same_schedule_again() -> None:
    first, second = (list(itertools.islice(schedule(5, 1.0), 500)) for _ in range(2))
    assert first == second
    assert {fault.kind for fault in first} == set(WEIGHTS)
    assert first != list(itertools.islice(schedule(6, 1.0), 500))


def test_every_kind_of_fault_has_its_method() -> None:
    for kind in WEIGHTS:
        assert hasattr(Nemesis, "_" + kind.replace(" ", "_").replace(".", "_"))


@pytest.mark.chaos
@pytest.mark.timeout(400)
def test_a_minute_of_faults_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    seed = 20180430
    print(f"seed {seed}")
    verdict, nemesis, arena = storm(tmp_path / "storm", seconds=40, seed=seed, mean_s=1.0)
    assert verdict.problems == [], (verdict, nemesis.injected, arena.heads_said()[-3000:])
    assert verdict.figures["faults"] >= 10
    assert verdict.figures["acknowledged"] > 0
