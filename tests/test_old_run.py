"""A run folder of hpcnas 0.1.0, half done: read as it is, searched to its end, restored; what was evaluated stays.

`assets/run-0.1.0.tar.gz` was written by the code of 0.1.0. A head and a worker evaluated six genotypes of twelve and were
drained. Then a worker reported that genotype 7 cannot be built, and left the last accuracy of genotype 8 in the outbox.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import Individual, State
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import head_lock
from tests.processes import end_processes, hpcnas

pytestmark = pytest.mark.timeout(300)

FITNESS = {
    1: 0.7815431913100491,
    2: 0.8102375467472513,
    3: 0.8041961181807071,
    4: 0.8227368271314596,
    5: 0.8032430576110117,
    6: 0.7922440053272346,
}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with tarfile.open(Path(__file__).parent / "assets" / "run-0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = RunFolder(tmp_path / "run-0.1.0")
    yield folder
    end_processes(folder.path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, but the lock, and the empty log and the shared memory that SQLite's readers put beside a database."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def individuals(folder: RunFolder) -> list[Individual]:
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        return population.individuals()


def fitness(folder: RunFolder) -> dict[int, float]:
    return {one.id: one.fitness for one in individuals(folder) if one.fitness is not None}


@pytest.fixture
def held(run: RunFolder) -> Iterator[RunFolder]:
    """The run while a head has it: what waits in the outbox is left to that."""
    lock = head_lock(run.lock)
    lock.acquire()
    yield run
    lock.release()


def test_it_is_read_as_it_is_beside_its_head_and_nothing_of_it_changes(held: RunFolder) -> None:
    run, before = held, contents(held.path)
    status = hpcnas("status", "--run", run.path, "--json")
    assert status.returncode == 0, status.stderr
    found = json.loads(status.stdout)
    counts = {name: found[name] for name in ("steps", "evaluated", "leased", "failed", "outbox")}
    assert counts == {"steps": 12, "evaluated": 6, "leased": 1, "failed": 1, "outbox": 1}
    assert found["best"] == {"id": 4, "fitness": FITNESS[4]}
    table = hpcnas("population", "--run", run.path, "--format", "json")
    assert table.returncode == 0, table.stderr
    rows = json.loads(table.stdout)
    assert {row["id"]: row["fitness"] for row in rows if row["fitness"] is not None} == FITNESS
    report = hpcnas("report", run.path, "--format", "json")
    assert report.returncode == 0, report.stderr
    failures = hpcnas("failures", "--run", run.path)
    assert "RuntimeError: cannot be built" in failures.stdout
    assert contents(run.path) == before


def test_a_head_searches_it_to_its_end_and_its_numbers_stay(run: RunFolder) -> None:
    old = individuals(run)
    done = hpcnas("head", "--run", run.path, timeout_s=120)
    assert done.returncode == 0, done.stderr
    assert "finished: 12 genotypes evaluated" in done.stdout
    new = individuals(run)
    assert new[:7] == old[:7]
    assert {one.id: one.fitness for one in new[:6]} == FITNESS
    assert (new[6].state, new[6].reason) == (State.FAILED, "build")
    assert (new[7].state, new[7].attempts) == (State.EVALUATED, 1)  # by the message in the outbox, not trained again
    assert new[7].accuracies[:3] == old[7].accuracies
    assert sum(one.state is State.EVALUATED for one in new) == 12
    assert not any(run.outbox.glob("*"))
    assert (run.backup / "before-schema-3.db").exists()
    assert check_database(run) == []


def test_its_destroyed_database_is_restored_from_its_backups_which_stay_as_they_are(run: RunFolder) -> None:
    old = individuals(run)
    run.database.write_bytes(b"lightning " * 5000)
    backups = {name: data for name, data in contents(run.backup).items() if name.endswith(".db")}
    done = hpcnas("restore", "--run", run.path)
    assert done.returncode == 0, done.stderr
    assert individuals(run)[:7] == old[:7]
    assert fitness(run).keys() == {*FITNESS, 8}
    now = contents(run.backup)
    assert {name: now[name] for name in backups} == backups
    assert not (run.backup / "backup").exists()
