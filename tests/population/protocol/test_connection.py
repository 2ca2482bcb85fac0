"""What strangers and broken clients may do to the service: nothing."""

import contextlib
import json
import resource
import socket
from collections.abc import Iterator

import pytest

from hpcnas.population.protocol.client import ServiceClient
from hpcnas.population.protocol.connection import MAX_HELLO_BYTES, Frames, Limits, Seal, frame
from hpcnas.population.protocol.handshake import CLIENT, ClientHandshake
from hpcnas.population.protocol.messages import JoinMessage, encode
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from tests.population.conftest import Rig, worker

SHORT = Limits(proof_s=0.3, message_s=0.3, idle_s=600.0, sweep_s=0.05, unproved=8)


@pytest.fixture
def short(served: Rig) -> Iterator[Service]:
    """A second service of the same store, with little patience."""
    service = Service(served.head, read_secret(served.folder), limits=SHORT)
    service.start()
    service.publish(served.folder, 1)
    yield service
    service.stop()


def connect(service: Service) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=5)
    return connection


def receive_frame(connection: socket.socket, frames: Frames) -> bytes:
    while (content := frames.next()) is None:
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("closed")
        frames.feed(data)
    return content


def shake_hands(service: Service, secret: bytes) -> tuple[socket.socket, Seal, Frames]:
    connection, frames, handshake = connect(service), Frames(1 << 20), ClientHandshake(secret)
    connection.sendall(frame(handshake.answer(receive_frame(connection, frames))))
    return connection, Seal(handshake.finish(receive_frame(connection, frames)), CLIENT), frames


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side hangs up, saying nothing but its hello."""
    frames = Frames(1 << 20)
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            frames.feed(data)
    hello = frames.next()
    assert hello is None or "nonce" in json.loads(hello)
    assert frames.next() is None
    connection.close()
    return True


def works(served: Rig) -> bool:
    with contextlib.closing(ServiceClient(served.folder)) as client:
        client.join(worker())
    return True


@pytest.mark.parametrize(
    "data",
    [
        frame(b"not json"),
        frame(b"[" * 400),
        frame(json.dumps({"nonce": "0" * 64, "proof": "0" * 64}).encode()),
        frame(json.dumps({"nonce": 1, "proof": None}).encode()),
        (MAX_HELLO_BYTES + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100_000,
        b"",
    ],
)
def test_whoever_does_not_prove_the_secret_is_hung_up_on(served: Rig, short: Service, data: bytes) -> None:
    connection = connect(short)
    connection.sendall(data)
    assert is_closed(connection)
    assert works(served)


def test_a_recorded_conversation_cannot_be_replayed(served: Rig, short: Service) -> None:
    secret, sent = read_secret(served.folder), []
    connection, frames, handshake = connect(short), Frames(1 << 20), ClientHandshake(secret)
    sent.append(frame(handshake.answer(receive_frame(connection, frames))))
    connection.sendall(sent[-1])
    seal = Seal(handshake.finish(receive_frame(connection, frames)), CLIENT)
    sent.append(seal.sign(encode(JoinMessage(worker("replayed")))))
    connection.sendall(sent[-1])
    seal.verify(receive_frame(connection, frames))
    replayed = connect(short)
    for data in sent:
        with contextlib.suppress(OSError):
            replayed.sendall(data)
    assert is_closed(replayed)
    connection.sendall(sent[-1])  # nor within its own connection
    assert is_closed(connection)


@pytest.mark.parametrize(
    "payload",
    [
        b"not json",
        b"[" * 100_000,
        b'{"call": "close"}',
        b'{"call": "set_finished", "finished": true}',
        b'{"call": "claim"}',
        b'{"call": "heartbeat", "individual_id": 1e400, "token": 1, "progress": 0}',
        b'{"call": "heartbeat", "individual_id": 99999999999999999999, "token": 1, "progress": 0}',
        b'{"call": "heartbeat", "individual_id": true, "token": 1, "progress": 0}',
        b'{"call": "leave", "worker_id": "\\u0000", "reason": "\\ud800"}',
        b'{"call": "claim", "worker_id": "w1", "claim_id": {"$gt": ""}}',
    ],
)
def test_a_worker_that_speaks_nonsense_is_hung_up_on(served: Rig, short: Service, payload: bytes) -> None:
    connection, seal, _ = shake_hands(short, read_secret(served.folder))
    connection.sendall(seal.sign(payload))
    assert is_closed(connection)
    assert works(served)


def test_a_message_of_ten_mebibytes_is_not_read(served: Rig, short: Service) -> None:
    connection, seal, _ = shake_hands(short, read_secret(served.folder))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError):
        connection.sendall(seal.sign(b"x" * (10 << 20)))
    with contextlib.suppress(OSError):
        assert is_closed(connection)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert works(served)


def test_half_a_message_and_silence_do_not_last(served: Rig, short: Service) -> None:
    connection, seal, _ = shake_hands(short, read_secret(served.folder))
    connection.sendall(seal.sign(encode(JoinMessage(worker())))[:-5])
    silent = connect(short)
    assert is_closed(connection)
    assert is_closed(silent)


def test_five_hundred_silent_connections_crowd_nobody_out(served: Rig) -> None:
    service = Service(served.head, read_secret(served.folder))
    service.start()
    service.publish(served.folder, 1)
    strangers = [connect(service) for _ in range(500)]
    try:
        assert works(served)
    finally:
        for connection in strangers:
            connection.close()
        service.stop()
