"""Someone who may only read a run: a colleague, an archive, a snapshot, with whatever a killed head left in it."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import StoreUnavailable
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite import read_only as sqlite_read_only
from hpcnas.population.sqlite.read_only import BeingWritten, open_read_only
from hpcnas.population.sqlite.store import SQLiteStore
from tests.population.conftest import make_folder, offspring_record

COUNT = """
import sys
from hpcnas.population.queries import Population
with Population.open(sys.argv[1]) as population:
    print(population.counts().queued, len(population.individuals()), flush=True)
"""


def read_only(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to which the folder is read-only: root by a mount, anybody else by the folder's mode."""
    if os.geteuid() == 0:
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        command = ("unshare", "--mount", "sh", "-c", mount, str(folder), *command)
    folder.chmod(0o555)
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        folder.chmod(0o755)


def count(folder: Path) -> str:
    process = read_only(folder, sys.executable, "-c", COUNT, str(folder))
    return process.stdout or process.stderr


@pytest.fixture(params=["wal", "delete"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLiteStore]:
    monkeypatch.setattr(sqlite_file, "is_network", lambda path: request.param == "delete")
    folder = make_folder(tmp_path / "run", RunConfig())
    store = SQLiteStore.create(folder, RunConfig(), backup_s=None)  # its thread would write while a snapshot is copied
    store.begin_epoch()
    store.add([offspring_record(number) for number in range(3)])
    yield store
    store.close()


def snapshot(tmp_path: Path, *without: str) -> Path:
    """The folder as it is at the moment, as a file system's snapshot or a killed head leaves it."""
    return shutil.copytree(tmp_path / "run", tmp_path / "snapshot", ignore=shutil.ignore_patterns(*without))


def test_a_finished_run_is_read(store: SQLiteStore, tmp_path: Path) -> None:
    store.close()
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert count(tmp_path / "run") == "3 3\n"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


@pytest.mark.parametrize("without", ["nothing", "*-shm"])
def test_what_a_killed_head_committed_is_read(store: SQLiteStore, tmp_path: Path, without: str) -> None:
    copy = snapshot(tmp_path, without)
    content = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    assert count(copy) == "3 3\n"
    assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == content


def test_a_running_search_is_read_while_it_goes_on(store: SQLiteStore, tmp_path: Path) -> None:
    assert count(tmp_path / "run") == "3 3\n"
    store.add([offspring_record(9)])
    assert count(tmp_path / "run") == "4 4\n"


@pytest.mark.parametrize("store", ["delete"], indirect=True)
def test_half_a_transaction_is_rolled_back_in_the_copy(store: SQLiteStore, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "run" / "population.db", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE individual SET genotype = hex(randomblob(50000)), state = 'failed'")
    copy = snapshot(tmp_path)
    connection.close()
    assert (copy / "population.db-journal").stat().st_size > 0
    assert (copy / "population.db").read_bytes() != (tmp_path / "run" / "population.db").read_bytes()
    assert count(copy) == "3 3\n"


@pytest.mark.parametrize("store", ["wal"], indirect=True)
@pytest.mark.parametrize("command", ["status", "report", "population", "failures", "report --format json"])
def test_every_command_that_only_reads_works(store: SQLiteStore, tmp_path: Path, command: str) -> None:
    store.close()
    run = tmp_path / "run"
    process = read_only(run, sys.executable, "-m", "hpcnas", *command.split(), "--run", str(run))
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("command", ["status", "report", "population", "failures", "status --json"])
def test_an_archive_of_an_older_schema_is_read(tmp_path: Path, command: str) -> None:
    folder = make_folder(tmp_path / "run", RunConfig())
    shutil.copy(Path(__file__).parent / "assets/population-v1.db", folder.database)
    content = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    process = read_only(folder.path, sys.executable, "-m", "hpcnas", *command.split(), "--run", str(folder.path))
    assert (process.returncode, process.stderr) == (0, "")
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == content


def test_a_database_that_changes_while_it_is_copied_is_copied_again(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copyfile = tmp_path / "run" / "population.db", shutil.copyfile

    def copy_and_write(source: str, target: str) -> None:
        copyfile(source, target)
        store.add([offspring_record(7)])

    monkeypatch.setattr(shutil, "copyfile", copy_and_write)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ExitStack() as stack, pytest.raises(BeingWritten):
        sqlite_read_only._copy(path, stack)
    assert not list(tmp_path.glob("hpcnas-*"))


def test_no_copy_stays_behind(store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sqlite_read_only, "_connect", _refuse_the_original(sqlite_read_only._connect))
    with ExitStack() as stack:
        connection = open_read_only(tmp_path / "run" / "population.db", stack, 1.0)
        assert connection.execute("SELECT count(*) FROM individual").fetchone() == (3,)
        assert list(tmp_path.glob("hpcnas-*"))
    assert not list(tmp_path.glob("hpcnas-*"))


def test_a_database_that_may_not_be_read_is_one_sentence(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(13, "Permission denied", source)

    monkeypatch.setattr(shutil, "copyfile", refuse)
    monkeypatch.setattr(sqlite_read_only, "_connect", _refuse_the_original(sqlite_read_only._connect))
    with ExitStack() as stack, pytest.raises(StoreUnavailable, match=r"population\.db cannot be read: Permission denied"):
        open_read_only(tmp_path / "run" / "population.db", stack, 1.0)


def _refuse_the_original(connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    def connect_copies(path: Path, mode: str, stack: ExitStack, timeout_s: float) -> sqlite3.Connection:
        if mode == "ro":
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error
        return connect(path, mode, stack, timeout_s)

    return connect_copies
