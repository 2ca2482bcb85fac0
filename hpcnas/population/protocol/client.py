# ruff: noqa: D102  (store.py documents every method)
"""The worker's end of the head's service."""

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from msgspec.json import Decoder

from hpcnas.errors import NeverJoined, StoreUnavailable
from hpcnas.population import faultpoints
from hpcnas.population.protocol.address import HeadAddress, read_address
from hpcnas.population.protocol.connection import Frames, Seal, frame
from hpcnas.population.protocol.handshake import CLIENT, ClientHandshake
from hpcnas.population.protocol.messages import (
    CLAIM_REPLY,
    EMPTY_REPLY,
    TEXT_REPLY,
    VERDICT_REPLY,
    ClaimMessage,
    FailMessage,
    FinalMessage,
    HeartbeatMessage,
    JoinMessage,
    LeaveMessage,
    Message,
    MessageError,
    RecordMessage,
    ReleaseMessage,
    Reply,
    encode,
    read_reply,
)
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.store import WorkQueue
from hpcnas.population.text import clip
from hpcnas.records import Claim, Failure, Final, Fitness, Verdict, WorkerInfo
from hpcnas.run_folder import RunFolder

CONNECT_S = 5.0
ANSWER_S = 30.0  # a head that waits for a busy disk still answers
PATIENCE_S = 5.0
MAX_REPLY_BYTES = 4 << 20
A = TypeVar("A")
_MAX_PAUSE_S = 2.0


class ServiceClient(WorkQueue):
    """Sends messages to the run's head, wherever it is by now. Threads may share one client; their calls take turns.

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
        return self._ask(JoinMessage(worker), TEXT_REPLY)

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        message = ClaimMessage(worker_id, claim_id)
        try:
            return self._ask(message, CLAIM_REPLY)
        except NeverJoined:
            if self._worker is None or self._worker.worker_id != worker_id:
                raise
        self.join(self._worker)  # the head's database was restored from before we joined
        return self._ask(message, CLAIM_REPLY)

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        return self._ask(HeartbeatMessage(individual_id, token, progress), VERDICT_REPLY)

    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        return self._ask(RecordMessage(individual_id, token, fitness), VERDICT_REPLY)

    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        return self._ask(FailMessage(individual_id, token, clip(failure)), VERDICT_REPLY)

    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        return self._ask(ReleaseMessage(individual_id, token, reason), VERDICT_REPLY)

    def leave(self, worker_id: str, reason: str) -> None:
        self._ask(LeaveMessage(worker_id, reason), EMPTY_REPLY)

    def record_final(self, final: Final) -> Verdict:
        return self._ask(FinalMessage(final), VERDICT_REPLY)

    def close(self) -> None:
        """Close the connection. Nothing else may be called afterwards."""
        with self._lock:
            self._hang_up()

    def _ask(self, message: Message, decoder: Decoder[Reply[A]]) -> A:
        request = encode(message)
        with self._lock:
            deadline, pause_s = self._clock() + self._patience_s, 0.05
            while True:
                try:
                    return read_reply(self._connected().ask(request, self._answer_s), decoder)
                except (OSError, MessageError, StoreUnavailable) as error:
                    self._hang_up()
                    if self._clock() + pause_s > deadline:
                        raise self._away(error) from error
                # Jitter: 200 workers that lost one head do not come back in one instant.
                self._sleep(pause_s * self._jitter.uniform(0.5, 1.0))
                pause_s = min(_MAX_PAUSE_S, 2 * pause_s)

    def _connected(self) -> "_Link":
        if self._link is None:
            self._link, self._reached = _connect(read_address(self._folder), self._secret, self._reached)
        return self._link

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
        self._socket, self._frames = connected, Frames()
        handshake = ClientHandshake(secret)
        deadline = time.monotonic() + CONNECT_S
        self._send(frame(handshake.answer(self._receive(deadline))), deadline)
        self._seal = Seal(handshake.finish(self._receive(deadline)), CLIENT)
        # Until the head has proved itself, only short frames are read.
        self._frames.limit = MAX_REPLY_BYTES

    def ask(self, request: bytes, within_s: float) -> bytes:
        """Send a message; the answer to it.

        Raises:
            OSError: the connection broke, or the answer took longer than `within_s`.
            MessageError: the answer does not have the head's proof.
        """
        deadline = time.monotonic() + within_s
        self._send(self._seal.sign(request), deadline)
        return self._seal.verify(self._receive(deadline))

    def close(self) -> None:
        """Close the socket."""
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
