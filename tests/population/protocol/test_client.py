"""A worker's end of the service: it finds its head, or says why not."""

import contextlib
import json
import secrets
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from hpcnas.errors import StoreUnavailable
from hpcnas.population.protocol.address import read_address, this_address
from hpcnas.population.protocol.client import ServiceClient
from hpcnas.records import Verdict
from hpcnas.run_folder import RunFolder
from hpcnas.system import network
from tests.population.conftest import Rig, fitness, offspring_record, worker
from tests.system.test_network import FIB_TRIE


def test_a_wrong_secret_is_no_entry_and_one_clear_line(served: Rig) -> None:
    served.folder.secret.write_text(secrets.token_hex(32), encoding="ascii")
    client = ServiceClient(served.folder, patience_s=0.2)
    with pytest.raises(StoreUnavailable, match="secret"):
        client.join(worker())


def test_a_worker_that_a_restored_database_does_not_know_joins_again(served: Rig) -> None:
    served.queue.join(worker())
    stranger = ServiceClient(served.folder)
    stranger._worker = worker("w9")
    served.head.add([offspring_record()])
    assert stranger.claim("w9", "c1").verdict is Verdict.OK
    stranger.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\0" * 100, '{"host":"x","port":70000,"pid":1,"epoch":1}'])
def test_a_head_json_that_is_no_address_is_one_clear_line(served: Rig, text: str) -> None:
    served.folder.head_address.write_text(text, encoding="utf-8")
    client = ServiceClient(served.folder, patience_s=0.1)
    with pytest.raises(StoreUnavailable, match=r"head\.json"):
        client.join(worker())


@given(data=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_head_json_is_an_address_or_unavailable(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("head"))
    folder.head_address.write_bytes(data)
    with contextlib.suppress(StoreUnavailable):
        read_address(folder)


def test_head_json_lists_all_addresses_whatever_the_name_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    monkeypatch.setattr(network, "_read", {"/proc/net/fib_trie": FIB_TRIE, "/proc/net/if_inet6": ""}.__getitem__)
    assert this_address(1, 1).hosts_elsewhere() == ["localhost", "10.1.0.7", "192.168.9.7"]
    assert this_address(1, 1, "192.168.9.7").hosts_elsewhere() == ["192.168.9.7", "10.1.0.7"]


def test_a_name_that_leads_elsewhere_is_tried_once_and_the_address_that_answered_first_from_then_on(
    served: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, connect = [], socket.create_connection

    def connected(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", connected)
    address = {**json.loads(served.folder.head_address.read_text()), "boot_id": ""}
    address |= {"host": "nowhere.invalid", "addresses": ["203.0.113.9", "127.0.0.1", "127.0.0.2"]}
    served.folder.head_address.write_text(json.dumps(address))
    monkeypatch.setattr("hpcnas.population.protocol.client.CONNECT_S", 0.5)
    client = ServiceClient(served.folder)
    client.join(worker())
    assert tried == ["nowhere.invalid", "203.0.113.9", "127.0.0.1"]
    client._hang_up()
    client.join(worker())
    assert tried[3:] == ["127.0.0.1"]
    client.close()


def test_an_older_worker_reads_a_head_json_of_this_version() -> None:
    """It refuses unknown keys."""
    old = {"host", "port", "pid", "epoch", "addresses", "boot_id"}
    assert set(asdict(this_address(1, 1, "127.0.0.1"))) == old


def test_another_programs_port_is_left_after_a_while(served: Rig) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = json.loads(served.folder.head_address.read_text())
    served.folder.head_address.write_text(json.dumps({**address, "port": listener.getsockname()[1]}))

    def greet() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                accepted.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                accepted.close()

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    client = ServiceClient(served.folder, patience_s=0.5)
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no head of this run answers"):
        client.join(worker())
    assert time.monotonic() - start < 10
    served.folder.head_address.write_text(json.dumps(address))
    assert client.join(worker())  # head.json is read anew
    client.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_client_finds_the_next_head(served: Rig) -> None:
    served.head.add([offspring_record()])
    client = ServiceClient(served.folder)
    client.join(worker())
    lease = client.claim("w1", "c1").lease
    assert lease is not None
    served.restart()
    assert client.record(lease.individual_id, lease.token, fitness(0)) is Verdict.OK
    client.close()
