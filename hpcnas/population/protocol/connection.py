"""One worker's connection, as the service sees it: proof first, then one message at a time."""

import contextlib
import logging
import socket
from dataclasses import dataclass

from hpcnas.population import faultpoints
from hpcnas.population.protocol.framing import Frames, Seal, ServerHandshake
from hpcnas.population.protocol.messages import Call, MessageError, decode, parse_call

log = logging.getLogger(__name__)

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service puts up with.

    Attributes:
        connections: in all.
        unproved: connections that have not proved that they know the secret.
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
        call: the message that waits to be handled; nothing more is read before it is answered.
        outgoing: bytes not sent yet.
        heard: when bytes came last, monotonic seconds.
        answered: how many calls were answered.
    """

    def __init__(self, accepted: socket.socket, secret: bytes, limits: Limits, now: float) -> None:
        """Challenge the other side."""
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket, self.heard, self.closed = accepted, now, False
        self.call: Call | None = None
        self.answered = 0
        self._limits, self._frames, self._seal = limits, Frames(), None
        self._opened, self._begun, self._unsent_since = now, None, None
        self._handshake = ServerHandshake(secret)
        self.outgoing = bytearray(self._handshake.hello())

    _seal: Seal | None
    _begun: float | None  # when the message that is coming in began
    _unsent_since: float | None

    @property
    def is_proved(self) -> bool:
        """Whether the other side knows the secret."""
        return self._seal is not None

    def receive(self, now: float) -> bool:
        """Read what is there; whether the connection may go on."""
        try:
            data = faultpoints.receive(self.socket, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data or self.call is not None:  # the end, or a second message before the first was answered
            return False
        self.heard = now
        self._frames.feed(data)
        try:
            return self._advance(now)
        except MessageError as error:
            log.warning("closed a connection: %s", error)  # the other side is told nothing
            return False

    def take_call(self) -> Call:
        """The message that waits, once."""
        call, self.call = self.call, None
        if call is None:
            raise RuntimeError("no message waits on this connection")
        return call

    def answer(self, payload: bytes) -> None:
        """Queue the answer to the call that was taken."""
        self.answered += 1
        if self._seal is not None:
            self.outgoing += self._seal.sign(payload)

    def flush(self) -> bool:
        """Send what the other side takes now; whether the connection may go on."""
        try:
            while self.outgoing:
                del self.outgoing[: faultpoints.send(self.socket, bytes(self.outgoing[:_CHUNK]))]
        except (BlockingIOError, InterruptedError):
            self._unsent_since = self._unsent_since or self.heard
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
        return now - self.heard > self._limits.idle_s

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
            reply, self._seal = self._handshake.accept(content)
            self._frames.limit = self._limits.message_bytes
            self.outgoing += reply
        else:
            self.call = parse_call(decode(self._seal.verify(content)))
        return not self._frames.pending  # a second message before the answer to the first: no client of ours
