"""`python -m hpcnas.benchmarks.store_clients RUN CLIENTS SECONDS PAUSE_S`: many clients in one process.

The service's own protocol over non-blocking sockets, so that the clients take little of the machine
that is measured. Prints "ready", waits for a line, then prints JSON: cycles of each client, seconds, and
percentiles of the claims' time in ms.
"""

import json
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcnas.population.protocol.address import read_address
from hpcnas.population.protocol.client import MAX_REPLY_BYTES
from hpcnas.population.protocol.connection import Frames, Seal, frame
from hpcnas.population.protocol.handshake import CLIENT, ClientHandshake
from hpcnas.population.protocol.messages import (
    CLAIM_REPLY,
    TEXT_REPLY,
    VERDICT_REPLY,
    ClaimMessage,
    JoinMessage,
    Message,
    RecordMessage,
    encode,
    read_reply,
)
from hpcnas.population.protocol.secret import read_secret
from hpcnas.records import Fitness, WorkerInfo
from hpcnas.run_folder import RunFolder


class _Client:
    """One worker that claims, trains in no time (or waits a while), records, and claims again."""

    def __init__(self, number: int, address: tuple[str, int], secret: bytes, pause_s: float) -> None:
        self.name, self.pause_s = f"client{number}", pause_s
        self.cycles, self.waits_ms = 0, list[float]()
        self.next_at = 0.0
        self._asked = 0.0
        self._lease: tuple[int, int] | None = None
        self._frames = Frames(MAX_REPLY_BYTES)
        self.socket = socket.create_connection(address)
        # As a worker's client does; Nagle's algorithm would be measured otherwise.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._seal = self._shake_hands(ClientHandshake(secret))
        self._send(JoinMessage(WorkerInfo(self.name, "bench", number)))
        read_reply(self._seal.verify(self._receive()), TEXT_REPLY)

    def ask(self) -> None:
        """Send the next message."""
        self._asked = time.perf_counter()
        if self._lease is None:
            self._send(ClaimMessage(self.name, uuid.uuid4().hex))
        else:
            individual_id, token = self._lease
            row = Fitness(0, 0.5, 1, 5000, 1.0, "cpu")
            self._send(RecordMessage(individual_id, token, row))

    def take_answer(self) -> bool:
        """Take an answer in; whether it was complete."""
        self._frames.feed(self.socket.recv(1 << 16))
        content = self._frames.next()
        if content is None:
            return False
        answer = self._seal.verify(content)
        if self._lease is None:
            self.waits_ms.append(1000 * (time.perf_counter() - self._asked))
            lease = read_reply(answer, CLAIM_REPLY).lease
            self._lease = (lease.individual_id, lease.token) if lease else None
        else:
            read_reply(answer, VERDICT_REPLY)
            self._lease = None
            self.cycles += 1
            self.next_at = time.monotonic() + self.pause_s
        return True

    def _shake_hands(self, handshake: ClientHandshake) -> Seal:
        self.socket.sendall(frame(handshake.answer(self._receive())))
        return Seal(handshake.finish(self._receive()), CLIENT)

    def _send(self, message: Message) -> None:
        self.socket.sendall(self._seal.sign(encode(message)))

    def _receive(self) -> bytes:
        while (content := self._frames.next()) is None:
            self._frames.feed(self.socket.recv(1 << 16))
        return content


def drive(folder: RunFolder, clients: int, seconds: float, pause_s: float) -> dict[str, object]:
    """Run the clients for so long."""
    port, secret = read_address(folder).port, read_secret(folder)
    all_clients = [_Client(number, ("127.0.0.1", port), secret, pause_s) for number in range(clients)]
    selector = selectors.DefaultSelector()
    for client in all_clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    # The other process starts its clock now: connecting and joining is not measured.
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    resting = list(all_clients)
    for client in resting:
        # Spread over one pause, as workers are that began at different times; together they would come in waves.
        client.next_at = start + random.uniform(0, pause_s)
    while (now := time.monotonic()) < start + seconds:
        for client in [client for client in resting if client.next_at <= now]:
            resting.remove(client)
            client.ask()
        for key, _ in selector.select(timeout=0.05):
            client = key.data
            if client.take_answer():
                if client.next_at <= time.monotonic():
                    client.ask()
                else:
                    resting.append(client)
    waits = sorted(wait for client in all_clients for wait in client.waits_ms) or [0.0]
    return {
        "cycles": [client.cycles for client in all_clients],
        "seconds": time.monotonic() - start,
        "p50_ms": statistics.median(waits),
        "p99_ms": waits[min(len(waits) - 1, int(0.99 * len(waits)))],
    }


def drive_apart(run: Path, clients: int, seconds: float, pause_s: float, cpu_s: Callable[[], float]) -> dict[str, Any]:
    """Run the clients in a process of their own.

    Args:
        cpu_s: processor time that the service has taken so far.

    Returns:
        What `drive` returns, and as cpu_s what the service took meanwhile.
    """
    command = [sys.executable, "-m", __name__, str(run), str(clients), str(seconds), str(pause_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the bench's clients cannot connect")
        before = cpu_s()
        output, _ = process.communicate("go\n")
        taken = cpu_s() - before
    if process.returncode:
        raise RuntimeError(f"the bench's clients ended with {process.returncode}")
    return {**json.loads(output), "cpu_s": taken}


if __name__ == "__main__":
    run, clients, seconds, pause_s = sys.argv[1:]
    print(json.dumps(drive(RunFolder(Path(run)), int(clients), float(seconds), float(pause_s))))
