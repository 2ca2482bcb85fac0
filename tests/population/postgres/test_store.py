"""PostgreSQL that restarts, is full, ends connections."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.config_file import config_toml
from hpcnas.errors import DamagedRunError, StoreUnavailable, UsageError
from hpcnas.population import create_store, open_queue, open_store
from hpcnas.population.invariants import check_invariants
from hpcnas.population.postgres.database import schema_name
from hpcnas.population.postgres.store import PostgresStore
from hpcnas.population.queries import Population
from hpcnas.records import Verdict
from hpcnas.run_folder import RunFolder
from tests.population.conftest import fitness, make_folder, offspring_record, worker
from tests.postgres_server import PostgresServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server of this test's own, which it may crash; its disk flushes are on."""
    server = PostgresServer(tmp_path / "postgres")
    server.start()
    yield server
    server.stop()


def test_a_crash_of_the_server_loses_nothing(server: PostgresServer, memory_path: Path) -> None:
    config = RunConfig(store=server.address, recipe=RecipeConfig(repeats=1))
    folder = make_folder(memory_path / "run", config)
    create_store(folder, config)
    head, queue = open_store(folder, config), open_queue(folder, config)
    head.begin_epoch()
    queue.join(worker())
    [number] = head.add([offspring_record()])
    lease = queue.claim("w1", f"crash-{number}").lease
    assert lease is not None
    server.stop("immediate")
    restart = threading.Timer(0.5, server.start)
    restart.start()
    assert queue.record(lease.individual_id, lease.token, fitness(0)) is Verdict.OK  # waits for it, and connects anew
    restart.join()
    assert head.counts().evaluated == 1
    queue.close()
    head.close()
    with Population.open(folder) as population:
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
    assert head.add([offspring_record()]) == [1]
    head.close()


def test_more_workers_than_connections_all_get_their_turn(postgres: str, memory_path: Path) -> None:
    config = RunConfig(store=postgres, recipe=RecipeConfig(repeats=1))
    folder = make_folder(memory_path / "run", config)
    create_store(folder, config)
    head = open_store(folder, config)
    head.begin_epoch()
    head.add([offspring_record(number) for number in range(24)])
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
        queue = insist(lambda: PostgresStore.open(folder, replace(config, store=address)))
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
        assert store.add([offspring_record()]) == [1]
        store.close()


@pytest.mark.parametrize("store", ["mysql://x", "postgres", "postgres:", "sqlite3", "postgresql://host:port/db"])
def test_an_unknown_store_is_one_clear_sentence(memory_path: Path, store: str) -> None:
    config = RunConfig(store=store)
    folder = RunFolder(memory_path / "run")
    folder.path.mkdir()
    folder.config.write_text(config_toml(config), encoding="utf-8")
    with pytest.raises(UsageError, match="--store"):
        create_store(folder, config)


def test_the_tables_of_hpcnas_0_1_0_are_read_as_they_are_and_brought_up_to_date_by_a_store(
    postgres: str, memory_path: Path
) -> None:
    config = RunConfig(store=postgres, recipe=RecipeConfig(repeats=1))
    folder = make_folder(memory_path / "run", config)
    store = PostgresStore.create(folder, config)
    store.add([offspring_record()])
    store.close()
    schema = schema_name(store.run_id)
    with psycopg.connect(postgres) as connection:
        connection.execute(f"ALTER TABLE {schema}.run ADD COLUMN rng_state TEXT NOT NULL DEFAULT ''")
        connection.execute(f"ALTER TABLE {schema}.run ALTER COLUMN schema_version SET DEFAULT 2")
        connection.execute(f"UPDATE {schema}.run SET schema_version = 2")

    def columns() -> set[str]:
        with psycopg.connect(postgres) as connection:
            found = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = 'run'"
            return {name for (name,) in connection.execute(found, [schema])}

    with Population.open(folder) as population:
        assert population.counts().queued == 1
    assert "rng_state" in columns()
    again = PostgresStore.open(folder, config)
    assert again.begin_epoch() == 1
    again.close()
    assert "rng_state" not in columns()
    PostgresStore.open(folder, config).close()
    with Population.open(folder) as population:
        assert population.run().epoch == 1
