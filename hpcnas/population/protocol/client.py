# ruff: noqa: D102  (store.py documents every method)
"""The worker's end of the head's service."""

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from hpcnas.errors import NeverJoined, StoreUnavailable
from hpcnas.population import faultpoints
from hpcnas.population.protocol.address import HeadAddress, read_address
from hpcnas.population.protocol.framing import MAX_HELLO_BYTES, MAX_MESSAGE_BYTES, ClientHandshake, Frames, Seal
from hpcnas.population.protocol.messages import MessageError, clip, decode, encode_call
from hpcnas.population.protocol.replies import parse_reply
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.store import WorkQueue
from hpcnas.records import Claim, Failure, Final, Fitness, Verdict, WorkerInfo
from hpcnas.run_folder import RunFolder

CONNECT_S = 5.0
ANSWER_S = 30.0  # a head that waits for a busy disk still answers
PATIENCE_S = 5.0
_MAX_PAUSE_S = 2.0


class ServiceClient(WorkQueue):
    """Speaks to the run's head, wherever it is by now. Threads may share one client; their calls take turns.

    A call that finds no head reads head.json again, connects again and repeats itself, with growing
    pauses, for `patience_s`; then it raises StoreUnavailable. Repeating is safe by the store's contract.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        patience_s: float = PATIENCE_S,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connects with the first call.

        Raises:
            HpcnasError: the secret is missing, damaged, or readable by others.
        """
        self._folder, self._secret = folder, read_secret(folder)
        self._patience_s, self._answer_s = patience_s, answer_s
        self._clock, self._sleep = clock, sleep
        self._jitter = random.Random(os.urandom(8))
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._reached = ""  # by which of its addresses the head answered last
        self._worker: WorkerInfo | None = None

    def join(self, worker: WorkerInfo) -> str:
        self._worker = worker
        return str(self._call(str, "join", worker=worker))

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        try:
            return self._claim(worker_id, claim_id)
        except NeverJoined:
            if self._worker is None or self._worker.worker_id != worker_id:
                raise
        self.join(self._worker)  # the head's database was restored from before we joined
        return self._claim(worker_id, claim_id)

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        return self._verdict("heartbeat", individual_id=individual_id, token=token, progress=float(progress))

    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        return self._verdict("record", individual_id=individual_id, token=token, fitness=fitness)

    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        return self._verdict("fail", individual_id=individual_id, token=token, failure=clip(failure))

    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        return self._verdict("release", individual_id=individual_id, token=token, reason=reason)

    def leave(self, worker_id: str, reason: str) -> None:
        self._call(None, "leave", worker_id=worker_id, reason=reason)

    def record_final(self, final: Final) -> Verdict:
        return self._verdict("record_final", final=final)

    def close(self) -> None:
        """Close the connection. Nothing else may be called afterwards."""
        with self._lock:
            self._hang_up()

    def _claim(self, worker_id: str, claim_id: str) -> Claim:
        claim: Claim = self._call(Claim, "claim", worker_id=worker_id, claim_id=claim_id)
        return claim

    def _verdict(self, method: str, **arguments: object) -> Verdict:
        return Verdict(self._call(Verdict, method, **arguments))

    def _call(self, kind: Any, method: str, **arguments: object) -> Any:
        request = encode_call(method, **arguments)
        with self._lock:
            deadline, pause_s = self._clock() + self._patience_s, 0.05
            while True:
                try:
                    return parse_reply(self._ask(request), kind)
                except (OSError, MessageError, StoreUnavailable) as error:
                    self._hang_up()
                    if self._clock() + pause_s > deadline:
                        raise self._away(error) from error
                # Jitter: 200 workers that lost one head do not come back in one instant.
                self._sleep(pause_s * self._jitter.uniform(0.5, 1.0))
                pause_s = min(_MAX_PAUSE_S, 2 * pause_s)

    def _ask(self, request: bytes) -> Any:
        if self._link is None:
            self._link, self._reached = _connect(read_address(self._folder), self._secret, self._reached)
        return decode(self._link.ask(request, self._answer_s))

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _away(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, StoreUnavailable):
            return error
        return StoreUnavailable(f"the head of {self._folder.path} does not answer ({error}); results wait until it is back")


class _Link:
    """One authenticated connection, blocking with time-outs."""

    def __init__(self, connected: socket.socket, secret: bytes) -> None:
        self._socket, self._frames = connected, Frames(MAX_HELLO_BYTES)
        handshake = ClientHandshake(secret)
        deadline = time.monotonic() + CONNECT_S
        self._send(handshake.answer(self._receive(deadline)), deadline)
        self._seal: Seal = handshake.finish(self._receive(deadline))
        self._frames.limit = MAX_MESSAGE_BYTES

    def ask(self, request: bytes, within_s: float) -> bytes:
        deadline = time.monotonic() + within_s
        self._send(self._seal.sign(request), deadline)
        return self._seal.verify(self._receive(deadline))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _send(self, data: bytes, deadline: float) -> None:
        while data:
            self._wait_at_most(deadline)
            data = data[faultpoints.send(self._socket, data) :]

    def _receive(self, deadline: float) -> bytes:
        while (content := self._frames.next()) is None:
            self._wait_at_most(deadline)
            data = faultpoints.receive(self._socket, 1 << 16)
            if not data:
                raise ConnectionError("the connection was closed")
            self._frames.feed(data)
        return content

    def _wait_at_most(self, deadline: float) -> None:
        # One deadline for the whole message: a drip of single bytes must not keep a worker waiting for ever.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left)


def _connect(address: HeadAddress, secret: bytes, first: str) -> tuple[_Link, str]:
    """A connection and the host that gave it; `first` is tried before the others, which may each take their time-out."""
    problem: Exception = ConnectionError("no address")
    for host in sorted(address.hosts(), key=lambda host: host != first):
        try:
            connected = socket.create_connection((host, address.port), timeout=CONNECT_S)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                return _Link(connected, secret), host
            except BaseException:
                connected.close()
                raise
        except (OSError, MessageError) as error:
            problem = error
    raise StoreUnavailable(
        f"no head of this run answers at {address.host}:{address.port} ({problem}); head.json is stale, or the secret wrong"
    ) from problem
