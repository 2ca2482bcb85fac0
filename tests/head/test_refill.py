"""Workers that wait in the database are bred for, and what goes wrong reaches the head."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError, RunHeldError
from hpcnas.head.refill import RefillThread
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Verdict
from tests.population.conftest import make_folder, offspring_record, worker
from tests.processes import wait_until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    config = RunConfig()
    store = SQLiteStore.create(make_folder(tmp_path / "run", config), config, backup_s=None)
    store.join(worker())
    assert store.claim("w1", "c1").verdict is Verdict.WAIT
    yield store
    store.close()


@pytest.fixture
def feed(store: SQLiteStore) -> Iterator[Callable[[Callable[[], bool]], RefillThread]]:
    started: list[RefillThread] = []

    def start(breed: Callable[[], bool]) -> RefillThread:
        started.append(RefillThread(store, breed))
        started[-1].start()
        return started[-1]

    yield start
    for refill_thread in started:
        refill_thread.stop()


def test_a_waiting_worker_gets_one_child(store: SQLiteStore, feed: Callable[[Callable[[], bool]], RefillThread]) -> None:
    refill_thread = feed(lambda: bool(store.add([offspring_record()])))
    wait_until(lambda: store.counts().queued == 1)
    refill_thread.stop()
    assert store.counts().born == 1
    assert store.claim("w1", "c2").verdict is Verdict.OK
    assert refill_thread.error is None


@pytest.mark.parametrize("problem", [RunHeldError("another head"), ZeroDivisionError()])
def test_what_breeding_raises_is_handed_on(
    problem: Exception, feed: Callable[[Callable[[], bool]], RefillThread], caplog: pytest.LogCaptureFixture
) -> None:
    def breed() -> bool:
        raise problem

    refill_thread = feed(breed)
    wait_until(lambda: refill_thread.error is not None)
    assert isinstance(refill_thread.error, HpcnasError)
    assert refill_thread.error is problem or "bug" in str(refill_thread.error)
