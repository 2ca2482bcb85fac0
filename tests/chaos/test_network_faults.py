"""What lies between real workers and their head: head.json, and a network that misbehaves."""

import socket
import threading
import time

import pytest

from tests.chaos.conftest import Build, end_and_check, inject

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def test_a_head_json_that_leads_nowhere_is_read_again(arena_of: Build) -> None:
    """Stale, half, garbage, another program's port: workers go on, look again, and find the head when it is there."""
    arena = arena_of(workers=2, steps=20, lease_s=6.0)
    stranger = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_talk_nonsense, args=(stranger,), daemon=True).start()
    for kind in ("stale", "half", "garbage", "stranger"):
        arena.wait_evaluated(arena.evaluated() + 2)
        workers = set(arena.workers())
        assert arena.end_head()
        arena.proxy.cut(reset=False)
        port, content = str(arena.proxy.port).encode(), arena.run.head_address.read_bytes()
        written = {
            "stale": content.replace(port, b"1"),
            "half": content[: len(content) // 2],
            "garbage": b"\x00\xff{" * 50,
            "stranger": content.replace(port, str(stranger.getsockname()[1]).encode()),
        }
        arena.run.head_address.write_bytes(written[kind])
        time.sleep(1.5)  # they try in vain for a while
        assert workers <= set(arena.workers()), kind
        arena.is_head_wanted = True
    end_and_check(arena)
    stranger.close()


def _talk_nonsense(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 20)


def test_a_network_that_misbehaves_delays_and_loses_nothing(arena_of: Build) -> None:
    """Delay, half-open, refused, reset and closed connections, each for a second and each twice."""
    arena = arena_of(workers=4, steps=40)
    for kind in 2 * ("delay", "black hole", "refuse connections", "reset connections", "cut connections"):
        arena.wait_evaluated(arena.evaluated() + 2)
        undo = inject(arena, kind)
        time.sleep(1.0)
        undo()
    started = time.monotonic()
    end_and_check(arena)
    assert time.monotonic() - started < 60  # no hang beyond the client's time-out of 30 s, twice
