"""Whom the service answers, and what it does when nothing is queued."""

import errno
import logging
import os
import resource
import socket
import threading
import time

import pytest

from hpcnas.errors import HpcnasError, UsageError
from hpcnas.population.protocol.client import ServiceClient
from hpcnas.population.protocol.service import Service
from hpcnas.records import Verdict
from tests.population.conftest import Rig, offspring_record, worker


def test_every_client_is_heard_in_turn(served: Rig) -> None:
    """One client that asks without pause takes no turns from the others."""
    served.head.add([offspring_record(number) for number in range(40)])
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
        return number is not None and bool(served.head.add([offspring_record(number)]))

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


def test_a_limit_that_no_genotype_meets_is_told_to_the_head(served: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker can do anything about it."""

    def breed() -> bool:
        raise UsageError("raise --max-parameters")

    served.breed = breed
    served.queue.join(worker())
    joined: list[object] = []
    monkeypatch.setattr(served.queue, "join", joined.append)
    with pytest.raises(UsageError, match="raise --max-parameters"):
        served.queue.claim("w1", "c1")
    assert joined == []  # a worker that is not known would join again; this is another matter
    assert served.service is not None
    served.service._thread.join(5)
    assert isinstance(served.service.error, UsageError)


def test_out_of_file_descriptors_it_rests_says_so_and_goes_on_later(
    served: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, accept = [], socket.socket.accept

    def refuse(listener: socket.socket) -> object:
        tries.append(time.monotonic())
        raise OSError(errno.EMFILE, "Too many open files")

    assert served.service is not None
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(socket.socket, "accept", refuse)
        with socket.create_connection(("127.0.0.1", served.service.port)):
            deadline = time.monotonic() + 30
            while len(tries) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
    assert tries[1] - tries[0] > 0.9
    assert [record.getMessage() for record in caplog.records if "ulimit -n" in record.getMessage()] != []
    assert socket.socket.accept is accept
    client = ServiceClient(served.folder)
    assert client.join(worker("w2"))
    client.close()


def test_the_soft_limit_of_open_files_is_raised_for_all_connections(served: Rig) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = 64 + max(int(name) for name in os.listdir("/proc/self/fd"))  # what other tests hold must not count
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
        Service(served.head, b"secret").stop()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 4096 or hard <= 4096
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
