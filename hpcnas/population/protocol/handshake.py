"""Authenticates head and worker to each other, once per connection and without any input or output.

Both sides prove that they have RUN/secret: each answers the other's random challenge with an HMAC-SHA256. Neither
sends the secret. The result is a key of this connection alone, by which every later frame is proved.
"""

import hmac
import secrets
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from hpcnas.population.protocol.messages import MessageError, decode, encode

PROTOCOL = 1
CLIENT, SERVER = b"client", b"server"

_Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Hello(Struct):
    hpcnas: int
    nonce: _Hex


class _ClientProof(Struct):
    nonce: _Hex
    proof: _Hex


class _ServerProof(Struct):
    proof: _Hex


_HELLO, _CLIENT_PROOF, _SERVER_PROOF = Decoder(_Hello), Decoder(_ClientProof), Decoder(_ServerProof)


class ServerHandshake:
    """The head's side: sends a challenge, checks the answer, then proves itself."""

    def __init__(self, secret: bytes) -> None:
        self._secret, self._nonce = secret, secrets.token_hex(32)

    def hello(self) -> bytes:
        """The first message of a connection."""
        return encode(_Hello(PROTOCOL, self._nonce))

    def accept(self, content: bytes) -> tuple[bytes, bytes]:
        """Check the worker's proof.

        Returns:
            What is said last of the handshake, and the key of the connection.

        Raises:
            MessageError: it does not have the secret.
        """
        theirs = decode(content, _CLIENT_PROOF)
        if not hmac.compare_digest(theirs.proof, _proof(self._secret, CLIENT, self._nonce, theirs.nonce)):
            raise MessageError("wrong proof")
        proof = _proof(self._secret, SERVER, self._nonce, theirs.nonce)
        return encode(_ServerProof(proof)), _session_key(self._secret, self._nonce, theirs.nonce)


class ClientHandshake:
    """The worker's side: answers the head's challenge, and accepts the head only after its proof."""

    def __init__(self, secret: bytes) -> None:
        self._secret, self._nonce, self._theirs = secret, secrets.token_hex(32), ""

    def answer(self, content: bytes) -> bytes:
        """The answer to the head's hello.

        Raises:
            MessageError: the program at that port is no head of hpcnas, or has another version.
        """
        hello = decode(content, _HELLO)
        if hello.hpcnas != PROTOCOL:
            raise MessageError("no head of this version of hpcnas")
        self._theirs = hello.nonce
        return encode(_ClientProof(self._nonce, _proof(self._secret, CLIENT, self._theirs, self._nonce)))

    def finish(self, content: bytes) -> bytes:
        """The key of the connection.

        Raises:
            MessageError: the head does not have the secret.
        """
        theirs = decode(content, _SERVER_PROOF)
        if not hmac.compare_digest(theirs.proof, _proof(self._secret, SERVER, self._theirs, self._nonce)):
            raise MessageError("wrong proof")
        return _session_key(self._secret, self._theirs, self._nonce)


def _proof(secret: bytes, side: bytes, server_nonce: str, client_nonce: str) -> str:
    return hmac.digest(secret, b"|".join((b"hpcnas proof", side, server_nonce.encode(), client_nonce.encode())), "sha256").hex()


def _session_key(secret: bytes, server_nonce: str, client_nonce: str) -> bytes:
    return hmac.digest(secret, b"|".join((b"hpcnas session", server_nonce.encode(), client_nonce.encode())), "sha256")
