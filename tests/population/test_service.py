"""Whom the service answers, and what it does when nothing is queued."""

import threading

import pytest

from hpcnas.errors import HpcnasError
from hpcnas.population.client import ServiceClient
from hpcnas.population.records import Verdict

from .conftest import Rig, birth, worker


def test_every_client_is_heard_in_turn(served: Rig) -> None:
    """One client that asks without pause takes no turns from the others."""
    served.head.add([birth(number) for number in range(40)])
    clients = [ServiceClient(served.folder) for _ in range(8)]
    counts = [0] * len(clients)
    stop, ready = threading.Event(), threading.Barrier(len(clients))

    def ask(number: int) -> None:
        clients[number].join(worker(f"w{number}"))
        lease = clients[number].claim(f"w{number}", f"c{number}").lease
        assert lease is not None
        ready.wait()
        while not stop.is_set():
            clients[number].heartbeat(lease.individual_id, lease.token, 0.5)
            counts[number] += 1
            if counts[number] >= 60:
                stop.set()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert min(counts) >= 0.5 * max(counts)


def test_a_claim_breeds_when_nothing_is_queued(served: Rig) -> None:
    born = iter(range(2))

    def breed() -> bool:
        number = next(born, None)
        return number is not None and bool(served.head.add([birth(number)]))

    served.breed = breed
    served.queue.join(worker())
    verdicts = [served.queue.claim("w1", f"c{number}").verdict for number in range(3)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.WAIT]


def test_a_bug_in_breeding_ends_the_service_and_is_told_to_the_head(served: Rig) -> None:
    def breed() -> bool:
        raise RuntimeError("a bug")

    served.breed = breed
    served.queue.join(worker())
    with pytest.raises(HpcnasError):
        served.queue.claim("w1", "c1")
    assert served.service is not None
    served.service._thread.join(5)
    assert "bug" in str(served.service.error)
