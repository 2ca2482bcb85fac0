"""Fixtures of every room."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hpcnas.run_folder import RunFolder
from tests.guards.chance import same_draws
from tests.guards.descriptors import (
    pytest_fixture_setup,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)
from tests.guards.signals import own_handlers
from tests.own_code import own_primitives, write_module
from tests.postgres_server import PostgresServer
from tests.processes import end_processes
from tests.quick import TESTS, is_on_the_way, is_quick, processes_refused

__all__ = [  # fixtures and hooks
    "own_handlers",
    "own_primitives",
    "pytest_fixture_setup",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "same_draws",
    "write_module",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="Only the tests of tests/quick.py, without a process.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without --quick, or for a chosen file, others decide."""
    is_inside = collection_path.is_relative_to(TESTS) and collection_path != TESTS
    return True if config.getoption("--quick") and is_inside and not is_on_the_way(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        items[:] = [item for item in items if is_quick(item)]


@pytest.fixture(autouse=True)
def no_process_in_a_quick_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --quick a test that starts a process fails."""
    if request.config.getoption("--quick"):
        with processes_refused():
            yield
    else:
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The connection string of a PostgreSQL of this test session; its disk flushes are off."""
    path = Path(tempfile.mkdtemp(prefix="hpcnas-pg-"))
    server = PostgresServer(path / "postgres")
    try:
        server.start()
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.address
        server.stop()
    finally:
        shutil.rmtree(path)


@pytest.fixture
def run_folder(tmp_path: Path) -> Iterator[RunFolder]:
    """Where a test's run will be; its processes are ended afterwards."""
    yield RunFolder(tmp_path / "run")
    end_processes(tmp_path / "run")


@pytest.fixture
def outside_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of a Slurm job that the tests themselves may be in, and none of hpcnas."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "HPCNAS"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of commits without a disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="hpcnas-test-", dir=memory))
    yield path
    shutil.rmtree(path)
