"""What the head asks every few seconds, under the lock of the store: its work does not grow with the search."""

from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.run_folder import RunFolder
from tests.population.conftest import CRASH, fitness, offspring_record, worker

STEPS = 100  # of SQLite's virtual machine, to a tick of its progress handler


def test_a_host_that_failed_long_ago_is_judged_without_reading_all_attempts(folder: RunFolder, store: SQLiteStore) -> None:
    store.begin_epoch()
    for name, host in (("w1", "gone"), ("w2", "works")):
        store.join(worker(name, host))
    _search(store, "w1", genotypes=4, failing=3)
    _search(store, "w2", genotypes=10)
    few = _ticks(store)
    _search(store, "w2", genotypes=1000)
    many = _ticks(store)
    store.close()
    assert many < few + 10


def _search(store: SQLiteStore, name: str, genotypes: int, failing: int = 0) -> None:
    """Evaluate so many genotypes; of the first ones each attempt fails."""
    with store.batch():
        for number in store.add([offspring_record(born) for born in range(genotypes)]):
            lease = store.claim(name, f"c{number}").lease
            assert lease is not None
            if failing:
                failing -= 1
                store.fail(lease.individual_id, lease.token, CRASH)
                continue
            for repeat in range(2):
                store.record(lease.individual_id, lease.token, fitness(repeat))


def _ticks(store: SQLiteStore) -> int:
    """The work of one look at the hosts."""
    ticks: list[int] = []
    connection = store._database._connection
    connection.set_progress_handler(lambda: ticks.append(1), STEPS)
    assert store.suspicious_hosts() == []
    connection.set_progress_handler(None, 0)
    return len(ticks)
