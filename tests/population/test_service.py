"""What strangers and broken clients may do to the service: nothing."""

import contextlib
import json
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.errors import DamagedRunError, HpcnasError, StoreUnavailable, UsageError
from hpcnas.population.client import ServiceClient
from hpcnas.population.connection import Limits
from hpcnas.population.messages import MessageError, decode, encode_call, parse_call
from hpcnas.population.records import Verdict
from hpcnas.population.secret import read_secret
from hpcnas.population.service import Service
from hpcnas.population.wire import MAX_HELLO_BYTES, ClientHandshake, Frames, Seal, ServerHandshake, frame

from .conftest import Rig, birth, fitness, worker

SHORT = Limits(proof_s=0.3, message_s=0.3, idle_s=600.0, sweep_s=0.05, unproved=8)


@pytest.fixture
def rig(make_rig: Callable[[str], Rig]) -> Rig:
    return make_rig("service")


@pytest.fixture
def short(rig: Rig) -> Iterator[Service]:
    """A second service of the same store, with little patience."""
    service = Service(rig.head, read_secret(rig.folder), limits=SHORT)
    service.start()
    service.publish(rig.folder, 1)
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
    connection.sendall(handshake.answer(receive_frame(connection, frames)))
    return connection, handshake.finish(receive_frame(connection, frames)), frames


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side hangs up, saying nothing but its hello."""
    frames = Frames(1 << 20)
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            frames.feed(data)
    hello = frames.next()
    assert hello is None or "nonce" in decode(hello)
    assert frames.next() is None
    connection.close()
    return True


def works(rig: Rig) -> bool:
    with contextlib.closing(ServiceClient(rig.folder)) as client:
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
def test_whoever_does_not_prove_the_secret_is_hung_up_on(rig: Rig, short: Service, data: bytes) -> None:
    connection = connect(short)
    connection.sendall(data)
    assert is_closed(connection)
    assert works(rig)


def test_a_wrong_secret_is_no_entry_and_one_clear_line(rig: Rig) -> None:
    rig.folder.secret.write_text(secrets.token_hex(32), encoding="ascii")
    client = ServiceClient(rig.folder, patience_s=0.2)
    with pytest.raises(StoreUnavailable, match="secret"):
        client.join(worker())


def test_a_recorded_conversation_cannot_be_replayed(rig: Rig, short: Service) -> None:
    secret, sent = read_secret(rig.folder), []
    connection, frames, handshake = connect(short), Frames(1 << 20), ClientHandshake(secret)
    sent.append(handshake.answer(receive_frame(connection, frames)))
    connection.sendall(sent[-1])
    seal = handshake.finish(receive_frame(connection, frames))
    sent.append(seal.close(encode_call("join", worker=worker("replayed"))))
    connection.sendall(sent[-1])
    seal.open(receive_frame(connection, frames))
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
def test_a_worker_that_speaks_nonsense_is_hung_up_on(rig: Rig, short: Service, payload: bytes) -> None:
    connection, seal, _ = shake_hands(short, read_secret(rig.folder))
    connection.sendall(seal.close(payload))
    assert is_closed(connection)
    assert works(rig)


def test_a_message_of_ten_mebibytes_is_not_read(rig: Rig, short: Service) -> None:
    connection, seal, _ = shake_hands(short, read_secret(rig.folder))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError):
        connection.sendall(seal.close(b"x" * (10 << 20)))
    with contextlib.suppress(OSError):
        assert is_closed(connection)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert works(rig)


def test_half_a_message_and_silence_do_not_last(rig: Rig, short: Service) -> None:
    connection, seal, _ = shake_hands(short, read_secret(rig.folder))
    connection.sendall(seal.close(encode_call("join", worker=worker()))[:-5])
    silent = connect(short)
    assert is_closed(connection)
    assert is_closed(silent)


def test_five_hundred_silent_connections_crowd_nobody_out(rig: Rig) -> None:
    service = Service(rig.head, read_secret(rig.folder))
    service.start()
    service.publish(rig.folder, 1)
    strangers = [connect(service) for _ in range(500)]
    try:
        assert works(rig)
    finally:
        for connection in strangers:
            connection.close()
        service.stop()


def test_every_client_is_heard_in_turn(rig: Rig) -> None:
    """One client that asks without pause takes no turns from the others."""
    rig.head.add([birth(number) for number in range(40)])
    clients = [ServiceClient(rig.folder) for _ in range(8)]
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


def test_a_claim_breeds_when_nothing_is_queued(rig: Rig) -> None:
    born = iter(range(2))

    def breed() -> bool:
        number = next(born, None)
        return number is not None and bool(rig.head.add([birth(number)]))

    rig.breed = breed
    rig.queue.join(worker())
    verdicts = [rig.queue.claim("w1", f"c{number}").verdict for number in range(3)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.WAIT]


def test_a_bug_in_breeding_ends_the_service_and_is_told_to_the_head(rig: Rig) -> None:
    def breed() -> bool:
        raise RuntimeError("a bug")

    rig.breed = breed
    rig.queue.join(worker())
    with pytest.raises(HpcnasError):
        rig.queue.claim("w1", "c1")
    assert rig.service is not None
    rig.service._thread.join(5)
    assert "bug" in str(rig.service.error)


def test_a_worker_that_a_restored_database_does_not_know_joins_again(rig: Rig) -> None:
    rig.queue.join(worker())
    stranger = ServiceClient(rig.folder)
    stranger._worker = worker("w9")
    rig.head.add([birth()])
    assert stranger.claim("w9", "c1").verdict is Verdict.OK
    stranger.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\0" * 100, '{"host":"x","port":70000,"pid":1,"epoch":1}'])
def test_a_head_json_that_is_no_address_is_one_clear_line(rig: Rig, text: str) -> None:
    rig.folder.head_address.write_text(text, encoding="utf-8")
    client = ServiceClient(rig.folder, patience_s=0.1)
    with pytest.raises(StoreUnavailable, match=r"head\.json"):
        client.join(worker())


@given(data=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_head_json_is_an_address_or_unavailable(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    from hpcnas.population.address import read_address
    from hpcnas.run_folder import RunFolder

    folder = RunFolder(tmp_path_factory.mktemp("head"))
    folder.head_address.write_bytes(data)
    with contextlib.suppress(StoreUnavailable):
        read_address(folder)


def test_another_programs_port_is_left_after_a_while(rig: Rig) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = json.loads(rig.folder.head_address.read_text())
    rig.folder.head_address.write_text(json.dumps({**address, "port": listener.getsockname()[1]}))

    def greet() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                accepted.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                accepted.close()

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    client = ServiceClient(rig.folder, patience_s=0.5)
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no head of this run answers"):
        client.join(worker())
    assert time.monotonic() - start < 10
    rig.folder.head_address.write_text(json.dumps(address))
    assert client.join(worker())  # head.json is read anew
    client.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_client_finds_the_next_head(rig: Rig) -> None:
    rig.head.add([birth()])
    client = ServiceClient(rig.folder)
    client.join(worker())
    lease = client.claim("w1", "c1").lease
    assert lease is not None
    rig.restart()
    assert client.record(lease.individual_id, lease.token, fitness(0)) is Verdict.OK
    client.close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o777])
def test_a_secret_that_others_may_read_is_refused(rig: Rig, mode: int) -> None:
    rig.folder.secret.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        ServiceClient(rig.folder)


def test_a_secret_that_is_none_is_refused(rig: Rig) -> None:
    for content in (b"", b"short", b"z" * 64, b"\xff" * 64):
        rig.folder.secret.write_bytes(content)
        with pytest.raises(DamagedRunError):
            read_secret(rig.folder)
    rig.folder.secret.unlink()
    with pytest.raises(DamagedRunError, match="missing"):
        read_secret(rig.folder)
    rig.folder.secret.symlink_to("/etc/hostname")
    with pytest.raises(DamagedRunError, match="plain file"):
        read_secret(rig.folder)


def test_the_secret_is_nowhere_but_in_its_file(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    text = rig.folder.secret.read_text()
    rig.queue.join(worker())
    rig.head.add([birth()])
    rig.queue.claim("w1", "c1")
    rig.stop()
    found = [path.name for path in rig.folder.path.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    assert found == ["secret"]
    assert text not in caplog.text
    rig.start()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@given(value=json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_call_or_a_message_error(value: object) -> None:
    with contextlib.suppress(MessageError):
        parse_call(value)


NAMES = st.sampled_from(["worker", "individual_id", "token", "fitness", "failure", "final", "progress"])


@given(
    method=st.sampled_from(["join", "record", "fail", "record_final", "heartbeat"]),
    arguments=st.dictionaries(NAMES, json_values, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_any_arguments_are_right_or_a_message_error(method: str, arguments: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        parse_call({"call": method, **arguments})


@given(chunks=st.lists(st.binary(max_size=200), max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_cut_into_frames_or_refused(chunks: list[bytes]) -> None:
    frames, handshake = Frames(), ServerHandshake(b"s" * 32)
    with contextlib.suppress(MessageError):
        for chunk in chunks:
            frames.feed(chunk)
            while (content := frames.next()) is not None:
                handshake.accept(content)


@given(payloads=st.lists(st.binary(max_size=100), min_size=1, max_size=6), cuts=st.integers(1, 7), flip=st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_frames_arrive_whole_in_any_pieces_and_no_bit_can_be_changed(payloads: list[bytes], cuts: int, flip: int) -> None:
    sender, receiver, frames = Seal(b"k" * 32, b"client"), Seal(b"k" * 32, b"server"), Frames(1 << 10)
    stream = b"".join(sender.close(payload) for payload in payloads)
    for start in range(0, len(stream), cuts):
        frames.feed(stream[start : start + cuts])
    assert [receiver.open(frames.next() or b"") for _ in payloads] == payloads
    changed = bytearray(Seal(b"k" * 32, b"client").close(payloads[0]))
    changed[4 + flip % (len(changed) - 4)] ^= 1 << flip % 8
    other = Frames(1 << 10)
    other.feed(bytes(changed))
    with pytest.raises(MessageError):
        Seal(b"k" * 32, b"server").open(other.next() or b"")
