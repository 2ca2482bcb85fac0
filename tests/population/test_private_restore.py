"""Backups of a run with its own PostgreSQL, and `hpcnas restore` from them, with the real server."""

import logging
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from hpcnas.cli import build_app
from hpcnas.errors import DamagedRunError, RunHeldError, StoreUnavailable
from hpcnas.population import open_store, rules
from hpcnas.population.backup import KEPT
from hpcnas.population.invariants import check_invariants
from hpcnas.population.outbox import REFUSED, record_message, write_outbox
from hpcnas.population.postgres_backup import read_whole
from hpcnas.population.postgres_server import PostgresServer, read_server_address
from hpcnas.population.postgres_store import PostgresStore, schema_name
from hpcnas.population.private_store import open_private_store
from hpcnas.population.queries import Population
from hpcnas.population.records import Verdict
from hpcnas.population.restore import restore
from hpcnas.run_folder import RunFolder
from tests.processes import wait_until

from .conftest import birth, fitness, worker
from .story import CONFIG, Story, rows


@pytest.fixture(scope="module")
def told() -> Iterator[Story]:
    """Told once; tests destroy copies."""
    path = Path(tempfile.mkdtemp(prefix="hpcnas-told-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield Story.tell(path / "run")
    shutil.rmtree(path)


@pytest.fixture
def story(told: Story, memory_path: Path) -> Iterator[Story]:
    """A run whose last backup is older than what was granted."""
    copy = told.copy(memory_path / "copy")
    yield copy
    PostgresServer(copy.folder).stop()


def close_with_damage(store: PostgresStore, story: Story) -> None:
    """Close the store, which stops its server, then change some bytes of the table of fitness."""
    with psycopg.connect(read_server_address(story.folder)) as connection:
        row = connection.execute(f"SELECT pg_relation_filepath('{schema_name(store.run_id)}.fitness')").fetchone()
    assert row is not None
    store.close()
    with (story.data / row[0]).open("r+b") as file:
        file.seek(4000)
        file.write(b"lightning")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_a_head_makes_backups_at_once_and_at_its_end_and_keeps_the_newest(story: Story) -> None:
    store = open_private_store(story.folder, CONFIG)
    store.begin_epoch()
    wait_until(lambda: len(story.dumps) == 2)
    for _ in range(2):
        store.make_backup()
    store.close()
    assert [path.name for path in story.dumps] == [f"population-{number:06d}.dump" for number in (3, 4, 5)]
    assert len(list(story.folder.backup.iterdir())) == KEPT
    for path in story.dumps:
        read_whole(path)


def test_a_backup_that_fails_is_a_warning(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(story.folder.backup)
    story.folder.backup.write_text("in the way")
    store = open_private_store(story.folder, CONFIG)
    with caplog.at_level(logging.WARNING):
        store.begin_epoch()
        wait_until(lambda: "the search goes on" in caplog.text)
        assert store.add([birth(5)]) == [5]
        store.close()
    assert len(caplog.records) == 2  # at the beginning, at the end


def test_a_backup_under_way_holds_nobody_up_tells_no_secret_and_is_waited_for(story: Story) -> None:
    store = open_private_store(story.folder, CONFIG)
    address = read_server_address(story.folder)
    password = str(psycopg.conninfo.conninfo_to_dict(address)["password"])
    with psycopg.connect(address) as connection:
        connection.execute(f"LOCK TABLE {schema_name(store.run_id)}.quarantine IN ACCESS EXCLUSIVE MODE")
        store.begin_epoch()
        processes = ""

        def is_dumping() -> bool:
            nonlocal processes
            processes = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
            return f"--file={story.folder.backup}" in processes

        wait_until(is_dumping)
        assert password not in processes
        assert "PGPASSFILE" in processes
        assert store.add([birth(5)]) == [5]
        ending = threading.Thread(target=store.close)
        ending.start()
        ending.join(0.5)
        assert ending.is_alive()
        assert PostgresServer(story.folder).is_running()
    ending.join()
    assert len(story.dumps) == 3
    found = [path for path in story.folder.path.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert {path.name for path in found} == {"address", "password"}


def test_a_head_that_was_overtaken_leaves_server_and_backups_to_the_other(story: Story) -> None:
    old = open_private_store(story.folder, CONFIG)
    old.begin_epoch()
    new = open_private_store(story.folder, CONFIG, backup_s=None)
    new.begin_epoch()
    with pytest.raises(RunHeldError):
        old.make_backup()
    old.close()
    assert new.counts().born == 4
    new.close()
    assert not PostgresServer(story.folder).is_running()


def test_lost_data_come_back_from_the_backup_and_the_outbox(story: Story) -> None:
    shutil.rmtree(story.data)
    write_outbox(story.folder, record_message(2, 1, fitness(0, 0.75)))  # of a lease that the backup knows
    write_outbox(story.folder, record_message(4, 1, fitness(0, 0.5)))  # of one that it does not
    result = CliRunner().invoke(build_app(), ["restore", "--run", str(story.folder.path)])
    assert result.exit_code == 0, result.output
    assert "population-000001.dump; merged 1 messages" in result.output
    assert "3 genotypes, 2 of them evaluated" in result.output
    assert "is lost with the old data" in result.output
    assert len(list((story.folder.outbox / REFUSED).iterdir())) == 1
    restored = rows(story.folder)
    changed = {key for key in restored | story.saved if restored.get(key) != story.saved.get(key)}
    assert changed == {("individual", 2), ("fitness", 2, 0), ("attempt", 2, 1), ("order", 2)}
    assert restored["order", 2] == 0.75


def test_what_was_granted_after_the_backup_is_stale_and_no_token_is_granted_twice(story: Story) -> None:
    shutil.rmtree(story.data)
    restore(story.folder)
    store = open_private_store(story.folder, CONFIG, backup_s=None)
    assert store.begin_epoch() > rules.GENERATION
    store.join(worker("w2"))
    assert store.add([birth(44)]) == [4]  # another genotype than the one that the first worker still trains
    with pytest.raises(DamagedRunError, match="never granted"):
        store.heartbeat(4, 1, 0.5)
    for number in (3, 4):
        lease = store.claim("w2", f"d{number}").lease
        assert lease is not None
        assert (lease.individual_id, lease.token) == (number, rules.GENERATION + 1)
        assert store.record(number, 1, fitness(0, 0.1)) is Verdict.STALE
        assert store.record(number, lease.token, fitness(0, 0.6)) is Verdict.OK
    store.close()
    with Population.open(story.folder) as population:
        assert check_invariants(population) == []
        assert [one.attempts for one in population.individuals()] == [1, 1, 1, 1]


def test_an_unsound_backup_is_passed_over_and_leases_that_an_older_one_knows_go_on(story: Story) -> None:
    store = open_private_store(story.folder, CONFIG, backup_s=None)
    store.begin_generation()
    store.begin_epoch()
    store.make_backup()
    close_with_damage(store, story)
    truncate(story.dumps[1])
    done = restore(story.folder)
    assert (done.start, done.born, done.problems) == ("population-000001.dump", 3, [])
    assert done.lost_since
    first, second = done.remarks
    assert first.startswith("passed over the data as they were found: ")
    assert second.startswith("passed over population-000002.dump: ")
    store = open_private_store(story.folder, CONFIG, backup_s=None)
    assert store.begin_epoch() == 2 * rules.GENERATION + 1  # the unsound one may have been of the first generation
    assert store.record(2, 1, fitness(0, 0.75)) is Verdict.OK
    store.close()


def test_data_that_still_serve_lose_nothing_by_a_restore(story: Story) -> None:
    before = rows(story.folder)
    done = restore(story.folder)
    assert (done.lost_since, done.remarks, done.problems) == ("", [], [])
    assert rows(story.folder) == before
    assert all(path.name.startswith("data.damaged-") and (path / "PG_VERSION").exists() for path in done.kept)
    assert len(done.kept) == 1


def test_without_a_sound_backup_nothing_is_touched(story: Story) -> None:
    truncate(story.dumps[0])
    control = story.data / "global" / "pg_control"
    control.write_bytes(b"lightning" * 100)
    with pytest.raises(DamagedRunError, match="no sound backup"):
        restore(story.folder)
    assert control.read_bytes()[:9] == b"lightning"
    assert sorted(path.name for path in (story.folder.path / "postgres").iterdir()) == ["address", "data", "log", "password"]


def drop_schema(folder: RunFolder) -> None:
    server = PostgresServer(folder)
    server.start()
    with psycopg.connect(read_server_address(folder)) as connection:
        connection.execute(f"DROP SCHEMA {schema_name((folder.path / 'run.id').read_text().strip())} CASCADE")
    server.stop()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": shutil.rmtree,
    "empty": lambda data: [shutil.rmtree(data), data.mkdir()],
    "control file": lambda data: (data / "global" / "pg_control").write_bytes(b"lightning" * 1000),
    "catalogue": lambda data: [(path.unlink()) for path in (data / "base").rglob("pg_filenode.map")],
    "base": lambda data: shutil.rmtree(data / "base"),
    "schema": lambda data: drop_schema(RunFolder(data.parent.parent)),
}


def test_a_head_that_meets_damage_later_names_restore_too(story: Story) -> None:
    store = open_private_store(story.folder, CONFIG, backup_s=None)
    close_with_damage(store, story)
    store = open_private_store(story.folder, CONFIG, backup_s=None)
    with pytest.raises(DamagedRunError, match=r"invalid page .*hpcnas restore --run"):
        store.record(2, 1, fitness(0))
    store.close()


def test_a_server_that_does_not_start_for_another_reason_is_not_called_damaged(story: Story) -> None:
    data = story.data
    data.chmod(0o755)
    with pytest.raises(StoreUnavailable, match="permissions"):
        open_store(story.folder, CONFIG)
    data.chmod(0o700)
    open_store(story.folder, CONFIG).close()


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_head_on_damaged_data_names_restore_and_overwrites_nothing(story: Story, damage: str) -> None:
    data = story.data
    DAMAGES[damage](data)
    before = sorted(path.name for path in data.iterdir()) if data.exists() else None
    for open_it in (lambda: open_store(story.folder, CONFIG), lambda: Population.open(story.folder)):
        with pytest.raises(DamagedRunError, match=r"is damaged .*hpcnas restore --run") as caught:
            open_it()
        assert caught.value.exit_code == 5
        assert "\n" not in str(caught.value)
    assert (sorted(path.name for path in data.iterdir()) if data.exists() else None) == before
    assert not PostgresServer(story.folder).is_running()
