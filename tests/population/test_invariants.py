"""The checker finds what it is there to find: each promise is broken once by hand."""

import sqlite3
from collections.abc import Callable

import pytest

from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from tests.population.conftest import Rig, fitness, offspring_record, worker

BROKEN = {
    "1: evaluated with 1 of 2": "DELETE FROM fitness WHERE individual_id = 1 AND repeat = 1",
    "1: queued with 2 of 2": "INSERT INTO fitness "
    "SELECT 3, repeat, accuracy, seed, 0, steps, seconds, device, 0 FROM fitness WHERE individual_id = 1",
    "1: a repeat outside": "UPDATE fitness SET repeat = 7 WHERE repeat = 1",
    "1: genotype 1 has mean": "UPDATE individual SET fitness = 0.9 WHERE id = 1",
    "2: a fitness row under a token": "UPDATE fitness SET token = 9",
    "4: tokens granted": "UPDATE individual SET token = 5 WHERE id = 2",
    "4: leased under token": "UPDATE attempt SET outcome = 'lost' WHERE individual_id = 2",
    "5: steps are not": "DELETE FROM individual WHERE id = 2",
    "5: counted": "UPDATE tally SET queued = 9",
    "7: 2 errors": "UPDATE individual SET errors = 2 WHERE id = 3",
    "7: failed without": "UPDATE individual SET state = 'failed' WHERE id = 3",
    "13: genotype 2 takes a fitness over and is leased": "UPDATE individual SET copied_from = 1 WHERE id = 2",
    "13: genotype 4 has other accuracies": "UPDATE fitness SET accuracy = 0.9 WHERE individual_id = 4 AND repeat = 0",
    "13: genotype 5 waits for genotype 1, which is evaluated": "UPDATE individual SET copied_from = 1 WHERE id = 5",
    "13: genotype 3 waits for genotype 5, which is queued": "UPDATE individual SET copied_from = 5 WHERE id = 3",
}


@pytest.mark.parametrize("promise", sorted(BROKEN))
def test_a_broken_promise_is_found(make_rig: Callable[[str], Rig], promise: str) -> None:
    rig = make_rig("sqlite-wal")
    rig.queue.join(worker())
    rig.head.add([offspring_record(number) for number in range(3)])
    for number in (1, 2):
        rig.queue.claim("w1", f"c{number}")
    for repeat in (0, 1):
        rig.queue.record(1, 1, fitness(repeat))
    rig.head.add([offspring_record(0, copied_from=1), offspring_record(2, copied_from=3)])
    connection = sqlite3.connect(rig.folder.database, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    with Population.open(rig.folder) as population:
        assert check_invariants(population) == []
        connection.execute(BROKEN[promise])
        found = check_invariants(population)
    connection.close()
    assert any(promise in problem for problem in found), found
