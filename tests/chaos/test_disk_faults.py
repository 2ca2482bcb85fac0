"""A database that is held, closed, damaged, and disks that are full, under real heads and workers."""

import os
import sqlite3
import time

import pytest

from tests.chaos.conftest import Build, end_and_check, inject
from tests.processes import hpcnas, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

WITHOUT_ROOTS_PRIVILEGE = "-dac_override,-dac_read_search"  # permissions then count for root too


def test_a_database_that_another_program_holds_for_a_while(arena_of: Build) -> None:
    """BEGIN EXCLUSIVE from outside: everybody waits, nothing is lost."""
    arena = arena_of(workers=2, steps=16)
    arena.wait_evaluated(2)
    intruder = sqlite3.connect(arena.run.database, isolation_level=None, timeout=30)
    intruder.execute("BEGIN EXCLUSIVE")
    time.sleep(8)
    intruder.execute("ROLLBACK")
    intruder.close()
    end_and_check(arena)
    assert set(arena.exits) == {0}


def test_a_database_that_may_not_be_opened_is_named_and_nothing_is_lost(arena_of: Build) -> None:
    """chmod 000 while the head runs, when it starts again, and back."""
    obedient = (
        ()
        if os.geteuid()
        else ("setpriv", f"--bounding-set={WITHOUT_ROOTS_PRIVILEGE}", f"--inh-caps={WITHOUT_ROOTS_PRIVILEGE}")
    )
    arena = arena_of(workers=2, steps=24, head_prefix=obedient)
    arena.wait_evaluated(2)
    arena.run.database.chmod(0)
    time.sleep(3)  # the running head goes on with the file that it has open, or waits
    assert arena.end_head()
    arena.is_head_wanted = True
    wait_until(lambda: 1 in arena.exits)
    assert "cannot be opened; check its permissions" in arena.heads_said()
    arena.run.database.chmod(0o644)
    end_and_check(arena)


def test_a_disk_that_is_full_for_the_head_is_waited_for(arena_of: Build) -> None:
    arena = arena_of(workers=2, steps=24)
    for count in (2, 6):
        arena.wait_evaluated(count)
        undo = inject(arena, "disk full for head", choice=0.01)
        time.sleep(2)
        undo()
    end_and_check(arena)


def test_a_disk_that_is_full_for_workers_costs_no_result(arena_of: Build) -> None:
    """The head is away and the outbox refuses too: workers keep what they have until one of them takes it."""
    arena = arena_of(workers=2, steps=16, lease_s=1.0)
    arena.wait_evaluated(2)
    assert arena.end_head()
    for pid in arena.workers():
        arena.limit_files(pid, 1)
    time.sleep(3)
    assert list(arena.run.outbox.glob("*.json")) == []
    arena.is_head_wanted = True
    end_and_check(arena)


def test_a_damaged_database_stops_the_head_and_restore_gives_everything_back(arena_of: Build) -> None:
    arena = arena_of(workers=2, steps=30)
    for kind in ("damaged database", "truncated database"):
        arena.wait_evaluated(arena.evaluated() + 3)
        restore = inject(arena, kind)
        damaged = arena.run.database.read_bytes()
        refused = hpcnas("head", "--run", arena.run.path)
        assert refused.returncode == 5, refused.stderr
        assert "restore" in refused.stderr
        assert arena.run.database.read_bytes() == damaged
        restore()
    end_and_check(arena)
