"""Heads that are killed, away, overtaken or locked out, with real workers."""

import os
import random
import signal
import sqlite3
import time

import pytest

from hpcnas.system.processes import read_holder
from tests.chaos.arena import Arena, send
from tests.chaos.conftest import Build, end_and_check, population_of
from tests.processes import hpcnas, running, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def test_a_head_killed_in_a_loop_with_many_workers(arena_of: Build) -> None:
    """Nothing acknowledged is lost, no genotype hangs."""
    arena = arena_of(workers=8, steps=90)
    rng = random.Random(2)
    for _ in range(8):
        arena.wait_evaluated(arena.evaluated() + 5)  # by the new head: genotypes that need no training come several at once
        time.sleep(rng.uniform(0, 0.5))
        arena.signal_head(signal.SIGKILL)
    verdict = end_and_check(arena)
    assert arena.exits.count(-signal.SIGKILL) >= 6
    assert verdict.figures["acknowledged"] >= 100
    with population_of(arena) as population:
        assert population.run().epoch >= 7


def test_a_head_that_is_away_for_longer_than_a_training_gets_the_results_by_the_outbox(arena_of: Build) -> None:
    arena = arena_of(workers=4, steps=24, lease_s=1.0)
    arena.wait_evaluated(3)
    assert arena.end_head()
    wait_until(lambda: len(list(arena.run.outbox.glob("*.json"))) >= 2, 200)
    with population_of(arena) as population:
        before = len(population.fitness_rows())
    waiting = len(list(arena.run.outbox.glob("*.json")))
    arena.is_head_wanted = True
    end_and_check(arena)
    with population_of(arena) as population:
        merged = [event.details for event in population.events("outbox")]
    assert len(merged) >= waiting
    assert len({event["file"] for event in merged}) == len(merged)  # each once
    assert before > 0


def test_a_head_that_was_overtaken_wakes_and_writes_nothing(arena_of: Build) -> None:
    """Stopped, its lock removed by a person, another head at work; then it is continued."""
    arena = arena_of(workers=2, steps=40)
    arena.wait_evaluated(3)
    old = arena.head
    assert old is not None
    send(old.pid, signal.SIGSTOP)
    while _is_locked(arena):  # stopped inside a transaction: it would hold everybody up, on its own machine
        send(old.pid, signal.SIGCONT)
        time.sleep(0.01)
        send(old.pid, signal.SIGSTOP)
    refused = hpcnas("head", "--run", arena.run.path)
    assert refused.returncode == 3
    assert f"rm {arena.run.lock}" in refused.stderr
    arena.run.lock.unlink()
    with running("head", "--run", arena.run.path, log=arena.settings.with_name("second.log")) as second:
        wait_until(lambda: (holder := read_holder(arena.run.lock)) is not None and holder.pid == second.pid)
        with population_of(arena) as population:
            wait_until(lambda: population.run().epoch == 2)
        send(old.pid, signal.SIGCONT)
        assert old.wait(30) == 3
        arena.is_head_wanted = False
        assert second.wait(120) == 0
    assert "took over" in arena.heads_said() or "taken over" in arena.heads_said()
    with population_of(arena) as population:
        assert [event.details["epoch"] for event in population.events("head")] == [1, 2]
        assert population.counts().evaluated == 40


def _is_locked(arena: Arena) -> bool:
    connection = sqlite3.connect(arena.run.database, isolation_level=None, timeout=0.2)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def test_a_lock_from_another_machine_is_refused_with_the_way_out(arena_of: Build) -> None:
    arena = arena_of(workers=1, steps=500)
    arena.wait_evaluated(1)
    assert arena.end_head()
    lock = arena.run.lock.read_text().replace(os.uname().nodename, "login17")
    arena.run.lock.write_text(lock)
    os.utime(arena.run.lock, (0, 0))
    refused = hpcnas("head", "--run", arena.run.path)
    assert refused.returncode == 3
    assert "login17" in refused.stderr
    assert f"rm {arena.run.lock}" in refused.stderr
    assert arena.run.lock.read_text() == lock
