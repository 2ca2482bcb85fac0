"""The fault table of docs/reliability.md, row by row, on real heads and workers."""

import os
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcnas.population.queries import Population
from hpcnas.population.records import State
from hpcnas.processes import read_holder
from tests.chaos.arena import Arena, send
from tests.chaos.conftest import Build, end_and_check
from tests.chaos.nemesis import Fault, Nemesis
from tests.processes import hpcnas, running, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

WITHOUT_ROOTS_PRIVILEGE = "-dac_override,-dac_read_search"  # permissions then count for root too

POISON = """
import hashlib, itertools, os, signal, sys, time
from pathlib import Path
from hpcnas.representation.codec import genotype_to_json

def _ordinal(genotype):
    'The how-manieth genotype of the search this is: the same in every process and at every attempt.'
    name = hashlib.sha256(genotype_to_json(genotype).encode()).hexdigest()
    folder = Path(os.environ["POISON_SEEN"])
    mine = folder / f"{name}.{os.getpid()}"
    mine.write_text(name)
    for ordinal in itertools.count():
        try:
            os.link(mine, folder / str(ordinal))  # whole or not at all, whoever else asks
            return ordinal
        except FileExistsError:
            if (folder / str(ordinal)).read_text() == name: return ordinal

def evaluate(genotype, *, repeat, seed, progress):
    ordinal = _ordinal(genotype)
    kind = ordinal // 6 % 7 if ordinal % 6 == 5 else None
    while kind == 0: time.sleep(0.05)
    if kind == 1: os.kill(os.getpid(), signal.SIGSEGV)
    if kind == 2: sys.exit(0)
    if kind == 3: return float("nan")
    if kind == 4: raise MemoryError("no more")
    if kind == 5: return evaluate(genotype, repeat=repeat, seed=seed, progress=progress)
    if kind == 6: os._exit(0)
    time.sleep(0.05); progress(0.5); time.sleep(0.05)
    return ordinal / 256
"""


def inject(arena: Arena, kind: str, *, choice: float = 0.5, lasts_s: float = 0.0) -> Callable[[], None]:
    """One fault of the nemesis, now; answers how to undo it."""
    method = getattr(Nemesis(arena, 0), "_" + kind.replace(" ", "_").replace(".", "_"))
    undo = method(Fault(1, kind, 0.0, choice, lasts_s))
    assert undo is not None, f"{kind}: no victim"
    return undo  # type: ignore[no-any-return]


def population_of(arena: Arena) -> Population:
    return Population.open(arena.run)


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


def test_a_zombie_is_told_stale_and_leaves(arena_of: Build) -> None:
    """SIGSTOP for longer than the lease, then SIGCONT."""
    arena = arena_of(workers=3, steps=24)
    arena.wait_evaluated(2)
    zombies = arena.workers()[:2]  # a stopped process is there: its place is not filled, the third one goes on
    for pid in zombies:
        send(pid, signal.SIGSTOP)
    with population_of(arena) as population:
        wait_until(lambda: sum(attempt.outcome == "lost" for attempt in population.attempts()) == len(zombies), 120)
        arena.wait_evaluated(arena.evaluated() + 3)  # others go on meanwhile
    for pid in zombies:
        send(pid, signal.SIGCONT)
    end_and_check(arena)
    assert not set(zombies) & set(arena.workers())


def test_a_head_killed_in_a_loop_with_many_workers(arena_of: Build) -> None:
    """Nothing acknowledged is lost, no genotype hangs."""
    arena = arena_of(workers=8, steps=50)
    rng = random.Random(2)
    for count in range(2, 40, 5):
        arena.wait_evaluated(count)
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


def test_a_head_json_that_leads_nowhere_is_read_again(arena_of: Build) -> None:
    """Stale, half, garbage, another program's port: workers go on, look again, and find the head when it is there."""
    arena = arena_of(workers=2, steps=20, lease_s=6.0)
    stranger = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_talk_nonsense, args=(stranger,), daemon=True).start()
    for kind in ("stale", "half", "garbage", "stranger"):
        arena.wait_evaluated(arena.evaluated() + 2 if arena.run.config.exists() else 2)
        workers = set(arena.workers())
        assert arena.end_head()
        arena.proxy.cut(reset=False)
        port, content = str(arena.proxy.port).encode(), arena.run.head_address.read_bytes()
        written = {
            "stale": content.replace(port, b"1"),
            "half": content[: len(content) // 2],
            "garbage": b"\x00\xff{" * 50,
            "stranger": content.replace(port, str(stranger.getsockname()[1]).encode()),
        }
        arena.run.head_address.write_bytes(written[kind])
        time.sleep(1.5)  # they try in vain for a while
        assert workers <= set(arena.workers()), kind
        arena.is_head_wanted = True
    end_and_check(arena)
    stranger.close()


def _talk_nonsense(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 20)


def test_a_network_that_misbehaves_delays_and_loses_nothing(arena_of: Build) -> None:
    """Delay, half-open, refused, reset and closed connections, each for a second and each twice."""
    arena = arena_of(workers=4, steps=40)
    for kind in 2 * ("delay", "black hole", "refuse connections", "reset connections", "cut connections"):
        arena.wait_evaluated(arena.evaluated() + 2 if arena.run.config.exists() else 2)
        undo = inject(arena, kind)
        time.sleep(1.0)
        undo()
    started = time.monotonic()
    end_and_check(arena)
    assert time.monotonic() - started < 60  # no hang beyond the client's time-out of 30 s, twice


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
        arena.wait_evaluated(arena.evaluated() + 3 if arena.run.config.exists() else 3)
        restore = inject(arena, kind)
        damaged = arena.run.database.read_bytes()
        refused = hpcnas("head", "--run", arena.run.path)
        assert refused.returncode == 5, refused.stderr
        assert "restore" in refused.stderr
        assert arena.run.database.read_bytes() == damaged
        restore()
    end_and_check(arena)


JUMPY = """
import random, time
_real, _jumps = time.time, random.Random()
time.time = lambda: _real() + _jumps.choice((-3600.0, 0.0, 3600.0))
"""


def test_clocks_that_jump_by_an_hour_decide_nothing(arena_of: Build, tmp_path: Path) -> None:
    """Every process reads a wall clock that is wrong by up to an hour, another one each time: no lease is lost."""
    (tmp_path / "sitecustomize.py").write_text(JUMPY)
    arena = arena_of(workers=2, steps=16, environment={"PYTHONPATH": str(tmp_path)})
    end_and_check(arena)
    with population_of(arena) as population:
        assert not [attempt for attempt in population.attempts() if attempt.outcome == "lost"]


def test_poison_genotypes_fail_with_their_reason_and_the_run_ends(arena_of: Build, tmp_path: Path) -> None:
    """Every sixth genotype kills, hangs, overflows or lies; the others are evaluated, exactly as many as asked for.

    Counted, not drawn: a fifth of the last fifty would stop the run, as it should.
    """
    (tmp_path / "poison.py").write_text(POISON)
    (tmp_path / "seen").mkdir()
    environment = {"PYTHONPATH": str(tmp_path), "POISON_SEEN": str(tmp_path / "seen")}
    arena = arena_of(workers=4, steps=50, lease_s=1.5, stall_s=2.5, fitness="poison:evaluate", environment=environment)
    assert arena.wait_finished(200), arena.heads_said()[-3000:]
    with population_of(arena) as population:
        assert population.counts().evaluated == 50
        failed = population.individuals(State.FAILED)
        reasons = {one.reason for one in failed}
        assert {attempt.outcome for attempt in population.attempts()} <= {"evaluated", "lost", "crash", "nan", "oom", "stalled"}
        assert "no progress" in {worker.end_reason for worker in population.workers()}  # who hangs holds no place
    assert len(failed) >= 7  # each kind once
    assert len(reasons) >= 5, reasons
    assert arena.exits == [0]


def test_a_fitness_function_that_always_fails_stops_the_run_with_its_traceback(arena_of: Build, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f(genotype, *, repeat, seed, progress):\n    raise ValueError('my own bug')\n")
    arena = arena_of(workers=4, steps=500, fitness="broken:f", environment={"PYTHONPATH": str(tmp_path)})
    wait_until(lambda: bool(arena.exits), 120)
    arena.is_head_wanted = False
    assert arena.exits[0] == 1
    said = arena.heads_said()
    assert "more than 20% of the last 50 genotypes failed" in said
    assert "ValueError: my own bug" in said
    with population_of(arena) as population:
        assert 11 <= population.counts().failed <= 20  # at once, not after 500


BAD_NODE = """
import os, time
def f(genotype, *, repeat, seed, progress):
    time.sleep(0.1)
    if os.environ["SLURMD_NODENAME"] == "bad": raise RuntimeError("no GPU here")
    return 0.5
"""


def test_a_bad_node_is_quarantined_and_its_genotypes_get_their_attempts_back(arena_of: Build, tmp_path: Path) -> None:
    (tmp_path / "node.py").write_text(BAD_NODE)
    environment = {"PYTHONPATH": str(tmp_path), "SLURMD_NODENAME": "good"}
    arena = arena_of(workers=1, steps=30, fitness="node:f", environment=environment)
    arena.wait_evaluated(2)
    bad = {**environment, "SLURMD_NODENAME": "bad"}
    log = arena.settings.with_name("bad.log")
    while not _quarantined(arena):  # each bad worker ends by itself after three failures
        with running("--run", arena.run.path, log=log, module="hpcnas.worker", environment=bad) as worker:
            wait_until(lambda: worker.poll() is not None or bool(_quarantined(arena)), 60)
    assert _quarantined(arena) == ["bad"]
    assert arena.wait_finished(120)
    with population_of(arena) as population:
        assert population.counts().failed == 0
        assert all(one.errors == 0 for one in population.individuals())
    assert "bad is quarantined" in arena.heads_said()


def _quarantined(arena: Arena) -> list[str]:
    with population_of(arena) as population:
        return population.quarantined_hosts()
