"""Frames and their proof, without any input or output: how head and workers know and believe each other.

A frame is a length (4 bytes, big-endian) and that many bytes. Both sides first prove that they know
RUN/secret, each answering the other's random challenge with an HMAC-SHA256; neither sends the secret.
Every later frame starts with an HMAC of its direction, number and content under a key of this
connection alone: nothing can be replayed, reordered or put in between.
"""

import hmac
import secrets
import struct
from dataclasses import dataclass

from hpcnas.population.protocol.messages import MessageError, decode, encode

PROTOCOL = 1
MAX_HELLO_BYTES = 512  # before the other side has proved anything
MAX_MESSAGE_BYTES = 4 << 20
MAC_BYTES = 32
_LENGTH = struct.Struct("!I")
_CLIENT, _SERVER = b"client", b"server"


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
        mac = _mac(self.key, self.sends_as, self.sent, payload)
        self.sent += 1
        return frame(mac + payload)

    def verify(self, content: bytes) -> bytes:
        """The payload of a frame's content.

        Raises:
            MessageError: the proof is wrong.
        """
        payload = content[MAC_BYTES:]
        expected = _mac(self.key, _SERVER if self.sends_as == _CLIENT else _CLIENT, self.received, payload)
        if not hmac.compare_digest(content[:MAC_BYTES], expected):
            raise MessageError("wrong proof")
        self.received += 1
        return payload


class ServerHandshake:
    """The head's side: sends a challenge, checks the answer, then proves itself."""

    def __init__(self, secret: bytes) -> None:
        self._secret, self._nonce = secret, secrets.token_hex(32)

    def hello(self) -> bytes:
        """The first frame of a connection."""
        return frame(encode({"hpcnas": PROTOCOL, "nonce": self._nonce}))

    def accept(self, content: bytes) -> tuple[bytes, Seal]:
        """Check the worker's proof.

        Returns:
            The last frame of the handshake, and the seal of the connection.

        Raises:
            MessageError: it does not know the secret.
        """
        theirs = _strings(decode(content), "nonce", "proof")
        if not hmac.compare_digest(theirs["proof"], _proof(self._secret, _CLIENT, self._nonce, theirs["nonce"])):
            raise MessageError("wrong proof")
        proof = _proof(self._secret, _SERVER, self._nonce, theirs["nonce"])
        return frame(encode({"proof": proof})), Seal(_session_key(self._secret, self._nonce, theirs["nonce"]), _SERVER)


class ClientHandshake:
    """The worker's side: answers the head's challenge, and believes it only after its proof."""

    def __init__(self, secret: bytes) -> None:
        self._secret, self._nonce, self._theirs = secret, secrets.token_hex(32), ""

    def answer(self, content: bytes) -> bytes:
        """The frame that answers the head's hello.

        Raises:
            MessageError: whoever listens there is no head of hpcnas, or speaks another version.
        """
        value = decode(content)
        if not isinstance(value, dict) or value.get("hpcnas") != PROTOCOL:
            raise MessageError("no head of this version of hpcnas")
        self._theirs = _strings(value, "nonce")["nonce"]
        return frame(encode({"nonce": self._nonce, "proof": _proof(self._secret, _CLIENT, self._theirs, self._nonce)}))

    def finish(self, content: bytes) -> Seal:
        """The seal of the connection.

        Raises:
            MessageError: the head does not know the secret.
        """
        theirs = _strings(decode(content), "proof")
        if not hmac.compare_digest(theirs["proof"], _proof(self._secret, _SERVER, self._theirs, self._nonce)):
            raise MessageError("wrong proof")
        return Seal(_session_key(self._secret, self._theirs, self._nonce), _CLIENT)


def _strings(value: object, *names: str) -> dict[str, str]:
    found = {name: value.get(name) for name in names} if isinstance(value, dict) else {}
    strings = {name: text for name, text in found.items() if isinstance(text, str) and len(text) == 64 and text.isascii()}
    if len(strings) != len(names):
        raise MessageError("not the expected message")
    return strings


def _proof(secret: bytes, side: bytes, server_nonce: str, client_nonce: str) -> str:
    return hmac.digest(secret, b"|".join((b"hpcnas proof", side, server_nonce.encode(), client_nonce.encode())), "sha256").hex()


def _session_key(secret: bytes, server_nonce: str, client_nonce: str) -> bytes:
    return hmac.digest(secret, b"|".join((b"hpcnas session", server_nonce.encode(), client_nonce.encode())), "sha256")


def _mac(key: bytes, side: bytes, number: int, payload: bytes) -> bytes:
    return hmac.digest(key, side + number.to_bytes(8, "big") + payload, "sha256")
