"""Frames of a connection, each with its proof; and the service's end, one message of a worker at a time.

A frame is a length (4 bytes, big-endian) and that many bytes. After the handshake every frame starts with an HMAC of its
direction, number and content. The connection's key makes it, so nothing can be replayed, reordered or put in between.
"""

import contextlib
import hmac
import logging
import socket
import struct
from dataclasses import dataclass

from hpcnas.population import faultpoints
from hpcnas.population.protocol.handshake import CLIENT, SERVER, ServerHandshake
from hpcnas.population.protocol.messages import MESSAGE, Message, MessageError, decode

log = logging.getLogger(__name__)

MAX_HELLO_BYTES = 512  # before the other side has proved anything
MAC_BYTES = 32
_CHUNK = 1 << 16
_LENGTH = struct.Struct("!I")


class Frames:
    """Cuts a stream of bytes into frames.

    Attributes:
        limit: longest frame that is accepted, in bytes.
    """

    def __init__(self, limit: int = MAX_HELLO_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next complete frame, or None.

        Raises:
            MessageError: it is announced to be longer than the limit.
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self.limit:
            raise MessageError(f"a frame of {length} bytes, {self.limit} are allowed")
        if len(self._buffer) < _LENGTH.size + length:
            return None
        frame = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
        del self._buffer[: _LENGTH.size + length]
        return frame

    @property
    def pending(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)


def frame(payload: bytes) -> bytes:
    """The payload with its length before it."""
    return _LENGTH.pack(len(payload)) + payload


@dataclass(slots=True)
class Seal:
    """Proves and checks every frame of one authenticated connection, in both directions."""

    key: bytes
    sends_as: bytes
    sent: int = 0
    received: int = 0

    def sign(self, payload: bytes) -> bytes:
        """A complete frame with its proof."""
        mac = self._mac(self.sends_as, self.sent, payload)
        self.sent += 1
        return frame(mac + payload)

    def verify(self, content: bytes) -> bytes:
        """The payload of a frame's content.

        Raises:
            MessageError: the proof is wrong.
        """
        payload = content[MAC_BYTES:]
        expected = self._mac(SERVER if self.sends_as == CLIENT else CLIENT, self.received, payload)
        if not hmac.compare_digest(content[:MAC_BYTES], expected):
            raise MessageError("wrong proof")
        self.received += 1
        return payload

    def _mac(self, side: bytes, number: int, payload: bytes) -> bytes:
        return hmac.digest(self.key, side + number.to_bytes(8, "big") + payload, "sha256")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the service.

    Attributes:
        connections: in all.
        unproved: connections that have not proved yet that they have the secret.
        message_bytes: longest message of a worker (a traceback, a genotype).
        proof_s: time for the handshake.
        message_s: time from the first byte of a message to its last, and for taking an answer.
        idle_s: silence of a worker; heartbeats come every 30 s, and a client connects anew by itself.
        sweep_s: how often these times are looked at.
    """

    connections: int = 4096
    unproved: int = 128
    message_bytes: int = 1 << 20
    proof_s: float = 10.0
    message_s: float = 30.0
    idle_s: float = 900.0
    sweep_s: float = 1.0


class Connection:
    """A socket with what has come in and what has to go out.

    Attributes:
        message: what waits to be handled; nothing more is read before it is answered.
        outgoing: bytes not sent yet.
        received_s: when bytes came last, monotonic seconds.
        answered: how many messages were answered.
    """

    def __init__(self, accepted: socket.socket, secret: bytes, limits: Limits, now: float) -> None:
        """Challenge the other side."""
        accepted.setblocking(False)
        # Answers are small: without it they wait for the acknowledgement of the one before.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket, self.received_s, self.closed = accepted, now, False
        self.message: Message | None = None
        self.answered = 0
        self._limits, self._frames, self._seal = limits, Frames(), None
        self._opened, self._begun, self._unsent_since = now, None, None
        self._handshake = ServerHandshake(secret)
        self.outgoing = bytearray(frame(self._handshake.hello()))

    _seal: Seal | None
    _begun: float | None  # when the message that is coming in began
    _unsent_since: float | None

    @property
    def is_proved(self) -> bool:
        """Whether the other side has proved that it has the secret."""
        return self._seal is not None

    def receive(self, now: float) -> bool:
        """Read what is there; whether the connection may go on."""
        try:
            data = faultpoints.receive(self.socket, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data or self.message is not None:  # the end, or a second message before the first was answered
            return False
        self.received_s = now
        self._frames.feed(data)
        try:
            return self._advance(now)
        except MessageError as error:
            log.warning("closed a connection: %s", error)  # the other side gets no reason
            return False

    def take_message(self) -> Message:
        """The message that waits, once."""
        message, self.message = self.message, None
        if message is None:
            raise RuntimeError("no message waits on this connection")
        return message

    def answer(self, payload: bytes) -> None:
        """Queue the answer to the message that was taken."""
        self.answered += 1
        if self._seal is not None:
            self.outgoing += self._seal.sign(payload)

    def flush(self) -> bool:
        """Send what the other side takes now; whether the connection may go on."""
        try:
            while self.outgoing:
                del self.outgoing[: faultpoints.send(self.socket, bytes(self.outgoing[:_CHUNK]))]
        except (BlockingIOError, InterruptedError):
            self._unsent_since = self._unsent_since or self.received_s
            return True
        except OSError:
            return False
        self._unsent_since = None
        return True

    def is_overdue(self, now: float) -> bool:
        """Whether it has had its time: to prove itself, to end a message, or to say anything at all."""
        if not self.is_proved:
            return now - self._opened > self._limits.proof_s
        if any(since is not None and now - since > self._limits.message_s for since in (self._begun, self._unsent_since)):
            return True
        return now - self.received_s > self._limits.idle_s

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.close()

    def _advance(self, now: float) -> bool:
        content = self._frames.next()
        if content is None:
            self._begun = self._begun or now
            return True
        self._begun = None
        if self._seal is None:
            reply, key = self._handshake.accept(content)
            self._seal = Seal(key, SERVER)
            # Only from now on: before the proof a stranger could make the head keep a megabyte.
            self._frames.limit = self._limits.message_bytes
            self.outgoing += frame(reply)
        else:
            self.message = decode(self._seal.verify(content), MESSAGE)
        return not self._frames.pending  # a second message before the answer to the first: no client of ours
