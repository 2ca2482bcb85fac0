# ruff: noqa: D102  (store.py documents what each call does)
"""The messages between workers and head, as JSON of these structs: on the wire, and in the outbox while no head is there.

A message is one call of a method of WorkQueue, by name, with its arguments. A reply is what the call returned, or an
error that is raised again on the worker's side.
"""

import json
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder

from hpcnas.errors import DamagedRunError, HpcnasError, NeverJoined, RunHeldError, StoreUnavailable, UsageError
from hpcnas.population.store import WorkQueue
from hpcnas.population.text import clean
from hpcnas.records import Claim, Failure, Final, Fitness, Real, Text, Verdict, Whole, WorkerInfo

A = TypeVar("A")
T = TypeVar("T")


def _plain(value: object) -> object:
    """A number or text of a class that is derived from Python's own, such as numpy's, as Python's own."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"a message cannot hold a {type(value).__name__}")


_to_builtins = partial(msgspec.to_builtins, enc_hook=_plain)
# Not msgspec's own encoder, which writes null for what is no number: that must be refused where it arises.
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_to_builtins).encode
_ERRORS: dict[str, type[Exception]] = {
    "unavailable": StoreUnavailable,
    "damaged": DamagedRunError,
    "never-joined": NeverJoined,
    "usage": UsageError,
    "value": ValueError,
}
_BUG = "bug"  # any other error; the other side gets its text alone


class MessageError(ValueError):
    """A message that is no JSON, or not of the expected shape. Its text is for our own log, never for the other side."""


class Call(Struct, frozen=True, forbid_unknown_fields=True, tag_field="call"):
    """The common part of every message: the name of the method that it calls."""

    @property
    def method(self) -> str:
        """That name."""
        return str(self.__struct_config__.tag)

    def send_to(self, queue: WorkQueue) -> object:
        """Make the call; what it returns and raises is that method's."""
        raise NotImplementedError


class JoinMessage(Call, frozen=True, tag="join"):
    """A worker introduces itself."""

    worker: WorkerInfo

    def send_to(self, queue: WorkQueue) -> str:
        return queue.join(self.worker)


class ClaimMessage(Call, frozen=True, tag="claim"):
    """A worker asks for a genotype."""

    worker_id: Text
    claim_id: Text

    def send_to(self, queue: WorkQueue) -> Claim:
        return queue.claim(self.worker_id, self.claim_id)


class HeartbeatMessage(Call, frozen=True, tag="heartbeat"):
    """A worker still trains."""

    individual_id: Whole
    token: Whole
    progress: Real

    def send_to(self, queue: WorkQueue) -> Verdict:
        return queue.heartbeat(self.individual_id, self.token, self.progress)


class RecordMessage(Call, frozen=True, tag="record"):
    """One repeat's accuracy."""

    individual_id: Whole
    token: Whole
    fitness: Fitness

    def send_to(self, queue: WorkQueue) -> Verdict:
        return queue.record(self.individual_id, self.token, self.fitness)


class FailMessage(Call, frozen=True, tag="fail"):
    """A failure."""

    individual_id: Whole
    token: Whole
    failure: Failure

    def send_to(self, queue: WorkQueue) -> Verdict:
        return queue.fail(self.individual_id, self.token, self.failure)


class ReleaseMessage(Call, frozen=True, tag="release"):
    """A genotype given back."""

    individual_id: Whole
    token: Whole
    reason: Text

    def send_to(self, queue: WorkQueue) -> Verdict:
        return queue.release(self.individual_id, self.token, self.reason)


class LeaveMessage(Call, frozen=True, tag="leave"):
    """A worker ends."""

    worker_id: Text
    reason: Text

    def send_to(self, queue: WorkQueue) -> None:
        queue.leave(self.worker_id, self.reason)


class FinalMessage(Call, frozen=True, tag="record_final"):
    """A full-size result."""

    final: Final

    def send_to(self, queue: WorkQueue) -> Verdict:
        return queue.record_final(self.final)


LeaseMessage = RecordMessage | FailMessage | ReleaseMessage  # what a worker has to say of its genotype in the end
Message = JoinMessage | ClaimMessage | HeartbeatMessage | LeaseMessage | LeaveMessage | FinalMessage
MESSAGE: Decoder[Message] = Decoder(Message)


class Reply(Struct, Generic[A]):
    """The head's answer to a message, or the name and the text of its error."""

    answer: A | UnsetType = UNSET
    error: str | UnsetType = UNSET
    message: str = ""


TEXT_REPLY = Decoder(Reply[str])
CLAIM_REPLY = Decoder(Reply[Claim])
VERDICT_REPLY = Decoder(Reply[Verdict])
EMPTY_REPLY = Decoder(Reply[None])


def encode(value: object) -> bytes:
    """Compact JSON of structs, enums and plain values; characters that no database keeps are replaced.

    Raises:
        ValueError: a number is not finite.
    """
    text = _ENCODE(value)
    if "\\u0000" in text or "\\ud" in text:
        text = _ENCODE(_cleaned(_to_builtins(value)))
    return text.encode("ascii")


def decode(data: bytes, decoder: Decoder[T]) -> T:
    """Decode JSON text.

    Raises:
        MessageError: no JSON, nested too deeply, or not of the decoder's shape.
    """
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(str(error)) from error


def encode_answer(value: object) -> bytes:
    """The value that the call returned, as JSON."""
    return encode({"answer": value})


def encode_error(error: Exception) -> bytes:
    """Why the call failed."""
    name = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), _BUG)
    if isinstance(error, RunHeldError):
        name = "unavailable"  # of this head: the worker looks for the one that took over
    return encode({"error": name, "message": str(error)})


def read_reply(data: bytes, decoder: Decoder[Reply[A]]) -> A:
    """The value of an answer.

    Raises:
        MessageError: it is neither answer nor error.
        HpcnasError, ValueError: what the head raised.
    """
    reply = decode(data, decoder)
    if reply.error is not UNSET:
        raise _ERRORS.get(str(reply.error), HpcnasError)(reply.message)
    if isinstance(reply.answer, UnsetType):
        raise MessageError("no answer of ours")
    return reply.answer


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    return value
