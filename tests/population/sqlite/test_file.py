"""Opening: file systems, journal modes, damage, other runs, other versions; and what happens to a disk that refuses."""

import resource
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError, StoreUnavailable
from hpcnas.population import open_store
from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import State, Verdict
from hpcnas.run_folder import RunFolder
from tests.population.conftest import Rig, fitness, make_folder, offspring_record, worker


@pytest.mark.parametrize(("network", "mode", "synchronous"), [(False, "wal", 2), (True, "delete", 3)])
def test_the_modes_are_those_of_the_file_system(
    memory_path: Path, config: RunConfig, network: bool, mode: str, synchronous: int
) -> None:
    folder = make_folder(memory_path / "run", config)
    SQLiteStore.create(folder, config, network=not network, backup_s=None).close()
    connection = sqlite_file.connect(folder.database, network=network)
    values = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert values == [mode, synchronous, 1]
    assert connection.execute("PRAGMA recursive_triggers").fetchone() == (1,)
    connection.close()


REPLACING = (
    "INSERT OR REPLACE INTO fitness SELECT individual_id, repeat, 1, seed, token, steps, seconds, device, recorded FROM fitness"
)


@pytest.mark.parametrize(
    "statement", ["UPDATE fitness SET accuracy = 1", "DELETE FROM fitness", "DELETE FROM individual", REPLACING]
)
def test_fitness_is_insert_only_whoever_tries(make_rig: Callable[[str], Rig], statement: str) -> None:
    rig = make_rig("sqlite-wal")
    rig.queue.join(worker())
    rig.head.add([offspring_record()])
    rig.queue.claim("w1", "c1")
    rig.queue.record(1, 1, fitness(0))
    connection = sqlite_file.connect(rig.folder.database)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()


def contents(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.glob("population.db*")}


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "garbage in the middle", "another program's"])
def test_a_damaged_database_is_refused_and_left_alone(memory_path: Path, config: RunConfig, damage: str) -> None:
    folder = make_folder(memory_path / "run", config)
    store = SQLiteStore.create(folder, config, backup_s=None)
    store.add([offspring_record(number, genotype="g" * 2000) for number in range(50)])
    store.close()
    data = folder.database.read_bytes()
    if damage == "another program's":
        folder.database.unlink()
        other = sqlite3.connect(folder.database)
        other.execute("CREATE TABLE run (id)")
        other.close()
    else:
        middle = data[: len(data) // 2] + b"\xa5" * 8192 + data[len(data) // 2 + 8192 :]
        folder.database.write_bytes(
            {"text": b"notes\n" * 500, "empty": b"", "truncated": data[: len(data) // 2]}.get(damage, middle)
        )
    before = contents(folder.path)
    for attempt in (lambda: open_store(folder, config), lambda: SQLiteStore.open(folder)):
        with pytest.raises(DamagedRunError, match="hpcnas restore") as caught:
            attempt()
        assert caught.value.exit_code == 5
    assert contents(folder.path)["population.db"] == before["population.db"]


def test_a_missing_database_is_not_quietly_begun_anew(memory_path: Path, config: RunConfig) -> None:
    folder = make_folder(memory_path / "run", config)
    open_store(folder, config).close()
    folder.database.unlink()
    with pytest.raises(DamagedRunError, match="no such file"):
        open_store(folder, config)
    with pytest.raises(DamagedRunError):
        Population.open(folder)


def test_a_database_of_another_run_is_refused(memory_path: Path, config: RunConfig) -> None:
    folders = [make_folder(memory_path / name, config) for name in ("one", "two")]
    for folder in folders:
        SQLiteStore.create(folder, config, backup_s=None).close()
    shutil.copy(folders[0].database, folders[1].database)
    with pytest.raises(DamagedRunError, match="another run"):
        SQLiteStore.open(folders[1])


def test_a_copied_run_folder_goes_on(memory_path: Path, config: RunConfig) -> None:
    folder = make_folder(memory_path / "one", config)
    store = SQLiteStore.create(folder, config, backup_s=None)
    store.begin_epoch()
    store.join(worker())
    store.add([offspring_record()])
    store.claim("w1", "c1")
    store.close()
    moved = RunFolder(memory_path / "elsewhere" / "two")
    shutil.copytree(folder.path, moved.path)
    shutil.rmtree(folder.path)
    again = SQLiteStore.open(moved, backup_s=None)
    assert again.record(1, 1, fitness(0)) is Verdict.OK
    again.close()
    with Population.open(moved) as population:
        assert check_invariants(population) == []


def test_a_newer_schema_is_refused_and_untouched(memory_path: Path, config: RunConfig) -> None:
    folder = make_folder(memory_path / "run", config)
    SQLiteStore.create(folder, config, backup_s=None).close()
    connection = sqlite3.connect(folder.database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = contents(folder.path)
    for attempt in (lambda: SQLiteStore.open(folder), lambda: Population.open(folder)):
        with pytest.raises(DamagedRunError, match="newer hpcnas"):
            attempt()
    assert contents(folder.path)["population.db"] == before["population.db"]


def test_the_kept_file_of_schema_1_is_brought_up_to_date(memory_path: Path, config: RunConfig) -> None:
    folder = make_folder(memory_path / "run", config)
    shutil.copy(Path(__file__).parent / "assets" / "population-v1.db", folder.database)
    before = contents(folder.path)
    with Population.open(folder) as population:  # a reader migrates a copy of its own
        read = population.individuals()
    assert contents(folder.path) == before
    store = SQLiteStore.open(folder, backup_s=None)
    assert store.record(3, 1, fitness(0)) is Verdict.OK
    assert store.failure_share(last=4) == 0.25
    store.close()
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        assert [one.id for one in population.individuals()] == [one.id for one in read]
        states = [individual.state for individual in population.individuals()]
        assert states == [State.EVALUATED, State.FAILED, State.LEASED, State.QUEUED]
    assert check_database(folder) == []
    old = sqlite3.connect(folder.backup / "before-schema-3.db")
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()


def test_a_new_database_and_a_migrated_one_have_the_same_columns(memory_path: Path, config: RunConfig) -> None:
    def columns(folder: RunFolder) -> dict[str, set[str]]:
        connection = sqlite3.connect(folder.database)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}
        connection.close()
        return found

    new, old = make_folder(memory_path / "new", config), make_folder(memory_path / "old", config)
    SQLiteStore.create(new, config, backup_s=None).close()
    shutil.copy(Path(__file__).parent / "assets" / "population-v1.db", old.database)
    SQLiteStore.open(old, backup_s=None).close()
    assert columns(new) == columns(old)


def test_a_busy_database_is_waited_for(make_rig: Callable[[str], Rig]) -> None:
    rig = make_rig("sqlite-journal")
    other = sqlite3.connect(rig.folder.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    release.start()
    assert rig.head.add([offspring_record()]) == [1]
    release.join()
    other.close()


def test_a_database_that_stays_busy_is_unavailable(make_rig: Callable[[str], Rig]) -> None:
    rig = make_rig("sqlite-wal")
    rig.head._database._connection.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]
    other = sqlite3.connect(rig.folder.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="in use by another program"):
        rig.head.add([offspring_record()])
    other.execute("COMMIT")
    other.close()
    assert rig.head.add([offspring_record()]) == [1]


def add_many(store: SQLiteStore, count: int) -> None:
    for number in range(count):
        store.add([offspring_record(number, genotype="g" * 4000)])


@pytest.mark.parametrize("how", ["max_page_count", "file size limit"])
def test_a_full_disk_loses_nothing_and_recovers(memory_path: Path, config: RunConfig, how: str) -> None:
    folder = make_folder(memory_path / "run", config)
    store = SQLiteStore.create(folder, config, backup_s=None)
    store.begin_epoch()
    store.add([offspring_record(0)])
    connection = store._database._connection
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        if how == "max_page_count":
            connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (folder.database.stat().st_size + 100_000, limits[1]))
        with pytest.raises(StoreUnavailable):
            add_many(store, 200)
        born = store.counts().born
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert store.add([offspring_record(number) for number in range(3)]) == [born + 1, born + 2, born + 3]
    store.close()
    with Population.open(folder) as population:
        assert check_invariants(population) == []
    assert check_database(folder) == []


def test_many_calls_in_one_batch_are_one_transaction(make_rig: Callable[[str], Rig]) -> None:
    rig = make_rig("sqlite-wal")
    with pytest.raises(ZeroDivisionError), rig.head.batch():
        assert rig.head.add([offspring_record(1)])[0] / 0
    assert rig.head.counts().born == 0
    with rig.head.batch():
        rig.head.add([offspring_record(1)])
        with pytest.raises(ValueError):
            rig.head.add([offspring_record(2, copied_from=9)])
    assert rig.head.counts().born == 1
    assert check_database(rig.folder) == []


def test_reading_changes_nothing_and_needs_no_right_to_write(make_rig: Callable[[str], Rig]) -> None:
    rig = make_rig("sqlite-wal")
    rig.head.add([offspring_record()])
    with Population.open(rig.folder) as population, pytest.raises(sqlite3.OperationalError, match="readonly"):
        population._reader._open().execute("DELETE FROM event")  # type: ignore[attr-defined]
