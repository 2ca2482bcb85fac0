"""PostgreSQL that restarts, is full, ends connections; the private server's files, and that it stops with its head."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hpcnas.config import RecipeConfig, RunConfig, config_toml
from hpcnas.errors import DamagedRunError, StoreUnavailable, UsageError
from hpcnas.population import create_store, open_queue, open_store
from hpcnas.population.invariants import check_invariants
from hpcnas.population.postgres_server import PostgresServer, read_server_address
from hpcnas.population.postgres_store import PostgresStore, schema_name
from hpcnas.population.queries import Population
from hpcnas.population.records import Verdict
from hpcnas.run_folder import RunFolder

from .conftest import birth, fitness, make_folder, worker


@pytest.fixture(scope="module")
def private() -> Iterator[RunFolder]:
    """A run with its own server, started by its head; tests of this module share it."""
    path = Path(tempfile.mkdtemp(prefix="hpcnas-private-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    config = RunConfig(store="postgres", recipe=RecipeConfig(repeats=1))
    folder = make_folder(path / "run", config)
    create_store(folder, config)
    store = open_store(folder, config)
    store.begin_epoch()
    try:
        yield folder
    finally:
        store.close()
        assert not PostgresServer(folder).is_running()
        shutil.rmtree(path)


@pytest.fixture
def config(private: RunFolder) -> RunConfig:
    return RunConfig(store="postgres", recipe=RecipeConfig(repeats=1))


def test_the_private_server_keeps_its_password_to_itself(private: RunFolder) -> None:
    for name in ("address", "password"):
        assert (private.path / "postgres" / name).stat().st_mode & 0o777 == 0o600
    password = (private.path / "postgres" / "password").read_text().strip()
    commands = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    assert password not in commands
    found = [path for path in private.path.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert {path.name for path in found} == {"address", "password"}
    (private.path / "postgres" / "address").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_server_address(private)
    (private.path / "postgres" / "address").chmod(0o600)


def test_a_finished_run_is_read_after_its_server_has_stopped(memory_path: Path, config: RunConfig) -> None:
    folder = make_folder(memory_path / "run", config)
    store = open_store(folder, config)
    store.add([birth()])
    store.close()
    for _ in range(2):
        with Population.open(folder) as population:
            assert population.counts().born == 1
        assert not PostgresServer(folder).is_running()


def test_a_second_machine_does_not_start_the_server_too(memory_path: Path, config: RunConfig) -> None:
    folder = make_folder(memory_path / "run", config)
    (folder.path / "postgres").mkdir()
    (folder.path / "postgres" / "machine").write_text("node7\n")
    with pytest.raises(StoreUnavailable, match="node7"):
        open_store(folder, config)


def test_nobody_gets_in_without_the_password(private: RunFolder) -> None:
    address = read_server_address(private)
    wrong = address.replace(address.split(":")[2].split("@")[0], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(wrong)


def test_a_crash_of_the_server_loses_nothing(private: RunFolder, config: RunConfig) -> None:
    head, queue = open_store(private, config), open_queue(private, config)
    queue.join(worker())
    [number] = head.add([birth()])
    lease = queue.claim("w1", f"crash-{number}").lease
    assert lease is not None
    server = PostgresServer(private)
    server.stop(immediate=True)
    restart = threading.Timer(0.5, server.start)
    restart.start()
    assert queue.record(lease.individual_id, lease.token, fitness(0)) is Verdict.OK  # waits for it, and connects anew
    restart.join()
    assert head.counts().evaluated >= 1
    queue.close()
    head.close()
    with Population.open(private) as population:
        assert check_invariants(population) == []


def test_a_server_that_stays_away_is_unavailable(postgres: str, memory_path: Path) -> None:
    config = RunConfig(store="postgresql://nobody:secret@127.0.0.1:1/none")
    folder = make_folder(memory_path / "run", config)
    with pytest.raises(StoreUnavailable) as caught:
        PostgresStore.open(folder, config)
    assert "secret" not in str(caught.value)


def test_ended_connections_are_opened_again(postgres: str, memory_path: Path) -> None:
    config = RunConfig(store=postgres, recipe=RecipeConfig(repeats=1))
    folder = make_folder(memory_path / "run", config)
    create_store(folder, config)
    head = open_store(folder, config)
    head.begin_epoch()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hpcnas'")
    assert head.add([birth()]) == [1]
    head.close()


def test_more_workers_than_connections_all_get_their_turn(postgres: str, memory_path: Path) -> None:
    config = RunConfig(store=postgres, recipe=RecipeConfig(repeats=1))
    folder = make_folder(memory_path / "run", config)
    create_store(folder, config)
    head = open_store(folder, config)
    head.begin_epoch()
    head.add([birth(number) for number in range(24)])
    role = f"few_{os.getpid()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 3 PASSWORD 'few'")
        connection.execute(f"ALTER ROLE {role} NOSUPERUSER")
        schema = schema_name((folder.path / "run.id").read_text().strip())
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
        connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")
    address = postgres.replace("postgresql://hpcnas:", f"postgresql://{role}:")
    address = address.replace(address.split(":")[2].split("@")[0], "few")
    got: list[int] = []

    def insist(call):
        """As a worker does, however long the others take."""
        while True:
            try:
                return call()
            except StoreUnavailable:
                continue

    def work(number: int) -> None:
        queue = insist(lambda: PostgresStore.open(folder, config, lambda: address))
        insist(lambda: queue.join(worker(f"w{number}")))
        for turn in range(25):
            lease = insist(lambda turn=turn: queue.claim(f"w{number}", f"c{number}-{turn}")).lease
            if lease is None:
                break
            row = (lease.individual_id, lease.token, fitness(0))
            assert insist(lambda row=row: queue.record(*row)) is Verdict.OK
            got.append(lease.individual_id)
        queue.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(1, 25))
    head.close()


def test_a_database_without_the_run_is_told_apart(postgres: str, memory_path: Path) -> None:
    config = RunConfig(store=postgres)
    folder = make_folder(memory_path / "run", config)
    with pytest.raises(DamagedRunError, match="no population of this run"):
        open_store(folder, config)
    create_store(folder, config)
    with pytest.raises(UsageError, match="already"):
        create_store(folder, config)


def test_two_runs_share_a_database(postgres: str, memory_path: Path) -> None:
    config = RunConfig(store=postgres)
    for name in ("one", "two"):
        folder = make_folder(memory_path / name, config)
        create_store(folder, config)
        store = open_store(folder, config)
        assert store.add([birth()]) == [1]
        store.close()


@pytest.mark.parametrize("store", ["mysql://x", "postgres:", "sqlite3", "postgresql://host:port/db"])
def test_an_unknown_store_is_one_clear_sentence(memory_path: Path, store: str) -> None:
    config = RunConfig(store=store)
    folder = RunFolder(memory_path / "run")
    folder.path.mkdir()
    folder.config.write_text(config_toml(config), encoding="utf-8")
    with pytest.raises(UsageError, match="--store"):
        create_store(folder, config)
