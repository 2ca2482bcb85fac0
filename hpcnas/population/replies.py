"""What the head answers to a worker's call: a value, or an error that is raised again on the worker's side."""

from typing import Any

from hpcnas.errors import DamagedRunError, HpcnasError, NeverJoined, RunHeldError, StoreUnavailable, UsageError
from hpcnas.population.messages import MessageError, encode, parse

_ERRORS: dict[str, type[Exception]] = {
    "unavailable": StoreUnavailable,
    "damaged": DamagedRunError,
    "never-joined": NeverJoined,
    "usage": UsageError,
    "value": ValueError,
}
_BUG = "bug"  # any other error; the other side gets its text alone


def encode_answer(value: object) -> bytes:
    """What the call returned."""
    return encode({"answer": value})


def encode_error(error: Exception) -> bytes:
    """Why the call failed."""
    name = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), _BUG)
    if isinstance(error, RunHeldError):
        name = "unavailable"  # of this head: the worker looks for the one that took over
    return encode({"error": name, "message": str(error)})


def parse_reply(reply: Any, kind: Any) -> Any:
    """The value of an answer, of type `kind`; None for a call that returns nothing.

    Raises:
        MessageError: it is neither answer nor error.
        HpcnasError, ValueError: what the head raised.
    """
    if not isinstance(reply, dict):
        raise MessageError("no answer of ours")
    if "error" not in reply:
        return None if kind is None else parse(reply.get("answer"), kind)
    raise _ERRORS.get(str(reply["error"]), HpcnasError)(str(reply.get("message", "")))
