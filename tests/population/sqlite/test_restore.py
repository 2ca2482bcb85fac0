"""Backups, the journal after them, and `hpcnas restore`: whatever is destroyed, no acknowledged fitness is."""

import random
import shutil
import sqlite3
import threading
import zlib
from pathlib import Path

import pytest

from hpcnas.errors import DamagedRunError, StoreUnavailable, UsageError
from hpcnas.population import backup, faultpoints, rules
from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.protocol.messages import RecordMessage
from hpcnas.population.protocol.outbox import write_outbox
from hpcnas.population.queries import Population
from hpcnas.population.restore import restore
from hpcnas.population.sqlite.backup import sqlite_backups
from hpcnas.population.sqlite.journal_files import journal_numbers, journal_path, read_lines
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Failure, FailureKind, Verdict
from hpcnas.run_folder import RunFolder
from tests.population.conftest import fitness, offspring_record, worker
from tests.population.sqlite.conftest import destroy
from tests.population.workload import Workload


def dump(folder: RunFolder) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, but the heartbeats."""
    connection = sqlite3.connect(folder.database)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    connection.execute("CREATE TEMP TABLE quiet AS SELECT * FROM individual")
    connection.execute("UPDATE quiet SET heartbeat = 0, progress = 0")
    rows = {name: connection.execute(f"SELECT * FROM {'quiet' if name == 'individual' else name}").fetchall() for name in names}
    connection.close()
    return {name: sorted(found, key=str) for name, found in rows.items()}


def test_every_row_comes_back_from_the_journal_alone(folder: RunFolder, store: SQLiteStore) -> None:
    store.begin_epoch()
    store.join(worker())
    store.add([offspring_record(number) for number in range(4)])
    store.claim("w1", "c1")
    store.heartbeat(1, 1, 0.5)
    store.record(1, 1, fitness(0))
    store.record(1, 1, fitness(1))
    store.add([offspring_record(9, copied_from=1)])
    store.claim("w1", "c2")
    store.fail(2, 1, Failure(FailureKind.CRASH, "boom", "trace"))
    store.claim("w1", "c3")
    store.expire(store.leases()[0], "silent")
    store.note("submitted", jobs=3)
    store.quarantine("h1")
    store.set_draining(True)
    store.close()
    before = dump(folder)
    destroy(folder)
    done = restore(folder)
    assert (done.problems, done.born, done.evaluated) == ([], 5, 2)
    assert done.start.endswith("transactions of the journal")
    assert "population" not in done.start
    assert dump(folder) == before


@pytest.mark.parametrize("damaged_backups", [0, 1, 2])
def test_every_row_comes_back_from_any_sound_backup(folder: RunFolder, store: SQLiteStore, damaged_backups: int) -> None:
    workload = Workload(folder)
    for _ in range(3):
        workload.run(store, store)  # ends with a backup
        store.add([offspring_record(number) for number in range(3)])
    store.close()
    before = dump(folder)
    destroy(folder)
    backups = sqlite_backups(folder.backup)
    for number in backups.numbers()[::-1][:damaged_backups]:
        backups.path(number).write_bytes(b"lightning")
    done = restore(folder)
    assert done.problems == []
    assert dump(folder) == before
    assert [path.read_bytes()[:9] for path in done.kept] == [b"lightning"]


def test_restored_leases_go_on_under_their_tokens(folder: RunFolder, store: SQLiteStore) -> None:
    store.join(worker())
    store.add([offspring_record()])
    store.make_backup()
    store.claim("w1", "c1")
    store.record(1, 1, fitness(0))
    store.close()
    destroy(folder)
    write_outbox(folder, RecordMessage(1, 1, fitness(1)))
    done = restore(folder)
    assert (done.outbox, done.evaluated, done.problems) == (1, 1, [])
    assert done.start.endswith(".db and 2 transactions of the journal")
    again = SQLiteStore.open(folder, backup_s=None)
    assert again.record(1, 1, fitness(1)) is Verdict.OK
    again.close()


def test_a_torn_last_line_is_passed_over(folder: RunFolder, store: SQLiteStore) -> None:
    store.add([offspring_record()])
    store.close()
    path = journal_path(folder.backup, 1)
    with path.open("ab") as file:
        file.write(b'deadbeef {"n": 2, "do": [["insert_indi')
    again = SQLiteStore.open(folder, backup_s=None)
    again.add([offspring_record(1)])
    again.close()
    assert read_lines(path)[2] == 1
    destroy(folder)
    done = restore(folder)
    assert (done.born, done.problems) == (2, [])


def test_a_hole_in_the_journal_is_named(folder: RunFolder, store: SQLiteStore) -> None:
    for number in range(4):
        store.note("event", number=number)
    store.close()
    path = journal_path(folder.backup, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    destroy(folder)
    assert restore(folder).problems == ["transactions 2 to 2 are not in the journal"]
    again = SQLiteStore.open(folder, backup_s=None)
    assert again.begin_epoch() == rules.GENERATION + 1  # a grant may be in the hole
    again.close()


def test_a_line_that_was_undone_does_not_come_back(
    folder: RunFolder, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: sqlite3.Connection, statement: str) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    store.add([offspring_record(1)])
    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "commit", refuse)
        with pytest.raises(StoreUnavailable):
            store.add([offspring_record(2), offspring_record(3)])
    store.add([offspring_record(4)])
    store.close()
    before = dump(folder)
    destroy(folder)
    assert restore(folder).problems == []
    assert dump(folder) == before


def test_a_journal_that_cannot_be_flushed_is_followed_by_a_backup(
    folder: RunFolder, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.join(worker())
    store.add([offspring_record()])
    store.claim("w1", "c1")
    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "fsync", lambda file: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StoreUnavailable, match="journal"):
            store.record(1, 1, fitness(0))
        with pytest.raises(StoreUnavailable, match="backup"):
            store.record(1, 1, fitness(0))
    assert store.record(1, 1, fitness(0)) is Verdict.OK
    assert sqlite_backups(folder.backup).numbers()
    store.close()


def test_a_lost_journal_is_replaced_by_a_backup(folder: RunFolder, store: SQLiteStore) -> None:
    store.add([offspring_record()])
    store.close()
    shutil.rmtree(folder.backup)
    again = SQLiteStore.open(folder, backup_s=None)
    again.add([offspring_record(1)])
    again.close()
    destroy(folder)
    done = restore(folder)
    assert (done.born, done.problems) == (2, [])


def test_only_the_newest_backups_and_what_they_need_are_kept(folder: RunFolder, store: SQLiteStore) -> None:
    for number in range(6):
        store.add([offspring_record(number)])
        store.make_backup()
    store.close()
    assert sqlite_backups(folder.backup).numbers() == [5, 6, 7]
    assert journal_numbers(folder.backup) == [5, 6, 7]


def test_a_head_makes_backups_by_itself(folder: RunFolder, store: SQLiteStore) -> None:
    store.close()
    made, twice = [], threading.Event()

    def make() -> None:
        made.append(1)
        if len(made) == 2:
            twice.set()

    keeper = backup.BackupKeeper(make, every_s=0.01)
    assert twice.wait(10)
    keeper.stop()
    head = SQLiteStore.open(folder)
    head.begin_epoch()
    head.close()  # waits for the backup under way
    assert sqlite_backups(folder.backup).numbers() == [2]


def test_a_backup_that_the_file_system_refuses_is_not_the_last_one(
    folder: RunFolder, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an old copy cannot be removed at the moment: without later copies the journal grows for ever."""
    unlink, refused, again = Path.unlink, threading.Event(), threading.Event()

    def refuse_once(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".db" and not refused.is_set():
            refused.set()
            raise OSError(116, "Stale file handle")
        unlink(path, missing_ok=missing_ok)

    def make() -> None:
        store.make_backup()
        if refused.is_set():
            again.set()

    monkeypatch.setattr(Path, "unlink", refuse_once)
    keeper = backup.BackupKeeper(make, every_s=0.01)
    try:
        assert refused.wait(10)
        assert again.wait(10)
    finally:
        keeper.stop()
        store.close()


def test_backups_while_many_write_are_sound(folder: RunFolder, store: SQLiteStore) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.add([offspring_record()])

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(5):
        store.make_backup()
    stop.set()
    thread.join()
    born = store.counts().born
    store.close()
    destroy(folder)
    done = restore(folder)
    assert (done.born, done.problems) == (born, [])


@pytest.mark.parametrize("seed", range(6))
def test_a_database_destroyed_at_any_byte_gives_every_acknowledged_fitness(
    folder: RunFolder, store: SQLiteStore, seed: int
) -> None:
    rng, workload = random.Random(seed), Workload(folder)
    workload.run(store, store)
    store.close()
    data = bytearray(folder.database.read_bytes())
    for _ in range(rng.randint(1, 40)):
        start = rng.randrange(len(data))
        data[start : start + 400] = rng.randbytes(len(data[start : start + 400]))
    folder.database.write_bytes(bytes(data[: rng.randint(1, len(data))]))
    restore(folder)
    with Population.open(folder) as population:
        rows = {(row.individual_id, row.repeat): row.accuracy for row in population.fitness_rows()}
        assert check_invariants(population) == []
    assert workload.check(rows) == []
    assert check_database(folder) == []


def test_a_journal_of_another_version_is_named_and_nothing_is_touched(folder: RunFolder, store: SQLiteStore) -> None:
    store.begin_epoch()
    store.close()
    text = b'{"format":"hpcnas-journal","version":0,"run":{}}'
    path = journal_path(folder.backup, 2)
    path.write_bytes(b"%08x " % zlib.crc32(text) + text + b"\n")
    before = folder.database.read_bytes()
    with pytest.raises(UsageError, match=r"journal-000002\.jsonl is not a journal of version 1"):
        restore(folder)
    assert folder.database.read_bytes() == before


def test_without_backup_and_journal_nothing_is_touched(folder: RunFolder, store: SQLiteStore) -> None:
    store.close()
    shutil.rmtree(folder.backup)
    destroy(folder)
    before = folder.database.read_bytes()
    with pytest.raises(DamagedRunError, match="no sound backup"):
        restore(folder)
    assert folder.database.read_bytes() == before
