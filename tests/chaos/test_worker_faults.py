"""Workers that die, sleep or misread the clock, on real heads and workers."""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.arena import send
from tests.chaos.conftest import Build, end_and_check, population_of
from tests.processes import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def test_workers_killed_at_random_instants(arena_of: Build) -> None:
    """SIGKILL in a loop, eight workers: lost, done again, only the missing repeats."""
    arena = arena_of(workers=8, steps=48)
    rng = random.Random(1)
    for count in range(2, 40, 4):
        arena.wait_evaluated(count)
        time.sleep(rng.uniform(0, 0.3))
        if pids := arena.workers():
            send(rng.choice(pids), signal.SIGKILL)
    end_and_check(arena)
    with population_of(arena) as population:
        outcomes = [attempt.outcome for attempt in population.attempts()]
        rows = population.fitness_rows()
    assert outcomes.count("lost") >= 3
    tokens = {(row.individual_id, row.token) for row in rows}
    assert len(tokens) > len(
        {row.individual_id for row in rows}
    )  # some genotype has repeats of two attempts: none was done again


PATIENT = """
import os, time
from tests.chaos import fitness
def evaluate(genotype, *, repeat, seed, progress):
    while not os.path.exists(os.environ["MAY_GO"]): progress(0.0), time.sleep(0.05)
    return fitness.evaluate(genotype, repeat=repeat, seed=seed, progress=progress)
"""


def test_a_zombie_is_told_stale_and_leaves(arena_of: Build, tmp_path: Path) -> None:
    """SIGSTOP in the middle of a training for longer than the lease, then SIGCONT."""
    (tmp_path / "patient.py").write_text(PATIENT)
    may_go = tmp_path / "may_go"
    environment = {"PYTHONPATH": str(tmp_path), "MAY_GO": str(may_go)}
    arena = arena_of(workers=3, steps=24, stall_s=300, fitness="patient:evaluate", environment=environment)
    wait_until(arena.run.head_address.exists)
    with population_of(arena) as population:
        wait_until(lambda: population.counts().leased == 3)
        zombies = arena.workers()[:2]  # a stopped process is there: its place is not filled, the third one goes on
        for pid in zombies:
            send(pid, signal.SIGSTOP)
        wait_until(lambda: sum(attempt.outcome == "lost" for attempt in population.attempts()) == len(zombies), 120)
        may_go.touch()
        arena.wait_evaluated(3)  # others go on meanwhile
    for pid in zombies:
        send(pid, signal.SIGCONT)
    end_and_check(arena)
    assert not set(zombies) & set(arena.workers())


JUMPY = """
import random, time
_real, _jumps = time.time, random.Random()
time.time = lambda: _real() + _jumps.choice((-3600.0, 0.0, 3600.0))
"""


def test_clocks_that_jump_by_an_hour_decide_nothing(arena_of: Build, tmp_path: Path) -> None:
    """Every process reads a wall clock that is wrong by up to an hour, another one each time: no lease is lost."""
    (tmp_path / "sitecustomize.py").write_text(JUMPY)
    arena = arena_of(workers=2, steps=16, lease_s=60.0, environment={"PYTHONPATH": str(tmp_path)})
    end_and_check(arena)
    with population_of(arena) as population:
        assert not [attempt for attempt in population.attempts() if attempt.outcome == "lost"]
