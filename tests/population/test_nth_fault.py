"""The N-th fault loop: call k of the faultpoints fails, for k = 1, 2, 3, ..., until a run meets no fault any more.

There are three kinds. The call fails and the program goes on; the call is done and its answer is lost; the machine stops
at that call. In the last kind a new head opens the run folder as it lies on the disk. Its database is also destroyed, and
restored.
"""

import contextlib
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.population import faultpoints
from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.protocol.client import ServiceClient
from hpcnas.population.protocol.outbox import merge_outbox
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.queries import Population
from hpcnas.population.restore import restore
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import State
from hpcnas.run_folder import RunFolder
from tests.population.conftest import make_folder
from tests.population.workload import EVALUATED, Workload

pytestmark = pytest.mark.timeout(600)  # some seconds alone; a busy machine must not make it a failure

DISK = ("execute", "commit", "write", "fsync", "rename")
NETWORK = ("send", "receive")


class Stopped(BaseException):
    """The machine stops here."""


def io_error(name: str) -> Exception:
    if name in ("execute", "commit"):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        return error
    return ConnectionResetError(104, "reset") if name in NETWORK else OSError(28, "No space left on device")


class NthFault:
    """Patches the faultpoints: call number `k` of the named functions is handed to `fault`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], k: int, fault: Callable) -> None:
        self.calls, self.k, self.fault = 0, k, fault
        for name in names:
            monkeypatch.setattr(faultpoints, name, self._wrap(name, getattr(faultpoints, name)))

    @property
    def was_met(self) -> bool:
        return self.calls >= self.k

    def _wrap(self, name: str, original: Callable) -> Callable:
        def call(*arguments):
            self.calls += 1
            if self.calls == self.k:
                return self.fault(name, original, arguments)
            return original(*arguments)

        return call


def fails(name: str, original: Callable, arguments: tuple) -> None:
    raise io_error(name)


def is_done_and_not_told(name: str, original: Callable, arguments: tuple) -> None:
    original(*arguments)
    raise io_error(name)


def rows(folder: RunFolder) -> dict[tuple[int, int], float]:
    with Population.open(folder) as population:
        return {(row.individual_id, row.repeat): row.accuracy for row in population.fitness_rows()}


def problems(folder: RunFolder) -> list[str]:
    with Population.open(folder) as population:
        return check_invariants(population) + check_database(folder)


def step(number: int) -> int:
    """Every call at first, then every fifth: later ones repeat the same lines."""
    return number + 1 if number < 60 or os.environ.get("HPCNAS_EVERY_FAULT") else number + 5


@pytest.mark.parametrize("fault", [fails, is_done_and_not_told])
@pytest.mark.parametrize("network", [False, True], ids=["wal", "rollback-journal"])
def test_a_failing_call_loses_nothing(memory_path: Path, config: RunConfig, fault: Callable, network: bool) -> None:
    k, met = 1, True
    while met:
        folder = make_folder(memory_path / f"run{k}", config)
        store = SQLiteStore.create(folder, config, network=network, backup_s=None)
        workload = Workload(folder)
        with pytest.MonkeyPatch.context() as patch:
            nth = NthFault(patch, DISK, k, fault)
            workload.run(store, store)
            met = nth.was_met
        store.close()
        assert problems(folder) == [], k
        assert workload.check(rows(folder)) + workload.check_copies(rows(folder)) == [], k
        with Population.open(folder) as population:
            assert len(population.individuals(State.EVALUATED)) == EVALUATED, k
        shutil.rmtree(folder.path)
        k = step(k)
    assert k > 100


def test_a_machine_that_stops_at_any_call_loses_nothing(memory_path: Path, config: RunConfig) -> None:
    k, met = 1, True
    while met:
        folder, found = make_folder(memory_path / f"run{k}", config), RunFolder(memory_path / f"found{k}")

        def stop(name: str, original: Callable, arguments: tuple, folder: RunFolder = folder, found: RunFolder = found) -> None:
            shutil.copytree(folder.path, found.path)
            raise Stopped

        store = SQLiteStore.create(folder, config, network=False, backup_s=None)
        workload = Workload(folder)
        with pytest.MonkeyPatch.context() as patch:
            nth = NthFault(patch, DISK, k, stop)
            with contextlib.suppress(Stopped):
                workload.run(store, store)
            met = nth.was_met
        store.close()
        if met:
            _check_found(found, workload, k)
        k = step(k)
    assert k > 100


def _check_found(found: RunFolder, workload: Workload, k: int) -> None:
    """A restore of the destroyed database and a start of the sound one give everything acknowledged."""
    destroyed = RunFolder(found.path.with_name(found.path.name + "-destroyed"))
    shutil.copytree(found.path, destroyed.path)
    destroyed.database.write_bytes(b"not a database " * 1000)
    for path in destroyed.path.glob("population.db-*"):
        path.unlink()
    done = restore(destroyed)
    assert done.problems == [], k
    assert workload.check(rows(destroyed)) == [], k

    store = SQLiteStore.open(found, backup_s=None)
    store.begin_epoch()
    merge_outbox(found, store)
    store.close()
    assert problems(found) == [], k
    assert workload.check(rows(found)) == [], k
    for folder in (found, destroyed):
        shutil.rmtree(folder.path)


@pytest.mark.parametrize("fault", [fails, is_done_and_not_told])
def test_a_cut_connection_loses_nothing(memory_path: Path, config: RunConfig, fault: Callable) -> None:
    k, met = 1, True
    while met:
        folder = make_folder(memory_path / f"run{k}", config)
        store = SQLiteStore.create(folder, config, network=False, backup_s=None)
        service = Service(store, read_secret(folder))
        service.start()
        service.publish(folder, 1)
        client = ServiceClient(
            folder, patience_s=20, answer_s=0.3 if fault is is_done_and_not_told else 5, sleep=lambda _: None
        )
        workload = Workload(folder)
        with pytest.MonkeyPatch.context() as patch:
            nth = NthFault(patch, NETWORK, k, fault)
            workload.run(store, client)
            met = nth.was_met
        client.close()
        service.stop()
        store.close()
        assert service.error is None, k
        assert problems(folder) == [], k
        assert workload.check(rows(folder)) + workload.check_copies(rows(folder)) == [], k
        shutil.rmtree(folder.path)
        k = step(k)
    assert k > 60


def test_the_seam_is_the_only_way_to_disk_and_network() -> None:
    """Otherwise the loop above would not meet every fault."""
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(faultpoints.__file__).parent.rglob("*.py")
        if path.name != "faultpoints.py" and path.parent.name != "postgres"
    )
    for call in ("os.fsync(", "os.fdatasync(", "os.rename(", ".sendall(", '"COMMIT"'):
        assert source.count(call) == {'"COMMIT"': 2}.get(call, 0), call
    assert socket  # the sockets' own send and recv are looked for by hand: `_wake_up.send`, `_woken.recv`
