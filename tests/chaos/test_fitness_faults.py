"""Fitness functions that kill, hang, lie or always fail, and a node on which every one fails."""

from pathlib import Path

import pytest

from hpcnas.records import State
from tests.chaos.arena import Arena
from tests.chaos.conftest import Build, population_of
from tests.processes import running, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

POISON = """
import hashlib, itertools, os, signal, sys, time
from pathlib import Path
from hpcnas.representation.codec import genotype_to_json

def _ordinal(genotype):
    'The how-manieth genotype of the search this is: the same in every process and at every attempt.'
    name = hashlib.sha256(genotype_to_json(genotype).encode()).hexdigest()
    folder = Path(os.environ["POISON_SEEN"])
    mine = folder / f"{name}.{os.getpid()}"
    if not mine.exists(): mine.write_text(name)  # once: kind 5 ends anywhere, and a half-written name is another genotype's
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


def test_poison_genotypes_fail_with_their_reason_and_the_run_ends(arena_of: Build, tmp_path: Path) -> None:
    """Every sixth genotype kills, hangs, overflows or lies; the others are evaluated, exactly as many as asked for.

    Counted, not drawn: a fifth of the last fifty would stop the run, as it should. The seventh of them is the 42nd that is
    trained, and a quarter of what is bred is a copy.
    """
    (tmp_path / "poison.py").write_text(POISON)
    (tmp_path / "seen").mkdir()
    environment = {"PYTHONPATH": str(tmp_path), "POISON_SEEN": str(tmp_path / "seen")}
    arena = arena_of(workers=4, steps=60, lease_s=1.5, stall_s=2.5, fitness="poison:evaluate", environment=environment)
    assert arena.wait_finished(200), arena.heads_said()[-3000:]
    with population_of(arena) as population:
        assert population.counts().evaluated == 60
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
    assert "failed, which is no fault of genotypes; repair the cause and start the head again" in said  # by either rule
    assert "ValueError: my own bug" in said
    with population_of(arena) as population:
        assert population.counts().failed <= 50  # soon, not after 500
        assert len(population.attempts()) >= 5  # and not for one bad genotype


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
