"""What workers and head say to each other as JSON, checked field by field: on the wire and in the outbox."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hpcnas.records import Failure, Final, Fitness, WorkerInfo

_MAX_INT = 1 << 63
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_MAX_ERROR_CHARS = 20_000
_MAX_TRACE_CHARS = 200_000

# The worker's side of the store: method -> its arguments.
CALLS: dict[str, dict[str, Any]] = {
    "join": {"worker": WorkerInfo},
    "claim": {"worker_id": str, "claim_id": str},
    "heartbeat": {"individual_id": int, "token": int, "progress": float},
    "record": {"individual_id": int, "token": int, "fitness": Fitness},
    "fail": {"individual_id": int, "token": int, "failure": Failure},
    "release": {"individual_id": int, "token": int, "reason": str},
    "leave": {"worker_id": str, "reason": str},
    "record_final": {"final": Final},
}


class MessageError(ValueError):
    """A message that is no JSON, or not of the expected shape. Its text is for our own log, never for the other side."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method of WorkQueue, by name, with its arguments."""

    method: str
    arguments: dict[str, Any]


def encode(value: object) -> bytes:
    """Compact JSON of dataclasses, enums and plain values; characters that no database keeps are replaced."""
    return _ENCODE(_plain(value)).encode("ascii")


def decode(data: bytes) -> Any:
    """The JSON value of a message.

    Raises:
        MessageError: no JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MessageError(f"no JSON: {error}") from error


def encode_call(method: str, **arguments: object) -> bytes:
    """A request."""
    return encode({"call": method, **arguments})


def parse_call(value: Any) -> Call:
    """A request, checked.

    Raises:
        MessageError: an unknown method, or wrong arguments.
    """
    method = value.get("call") if isinstance(value, dict) else None
    if not isinstance(method, str) or method not in CALLS:
        raise MessageError("no such call")
    hints = CALLS[method]
    if set(value) != {"call", *hints}:
        raise MessageError(f"{method} takes {', '.join(hints)}")
    return Call(method, {name: parse(value[name], hint) for name, hint in hints.items()})


def parse(value: Any, hint: Any) -> Any:
    """A JSON value as a dataclass, enum or plain value of type `hint`.

    Raises:
        MessageError: it is none.
    """
    if is_dataclass(hint) and isinstance(hint, type):
        return _parse_record(value, hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _parse_enum(value, hint)
    if isinstance(hint, UnionType):
        inner = next(kind for kind in get_args(hint) if kind is not NoneType)
        return None if value is None else parse(value, inner)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise MessageError("a list was expected")
        return tuple(parse(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise MessageError("an object was expected")
        return value
    return _parse_plain(value, hint)


def clip(failure: Failure) -> Failure:
    """A failure short enough for a message and a row: the start of the error, the end of the traceback."""
    return Failure(failure.kind, clean(failure.error[:_MAX_ERROR_CHARS]), clean(failure.trace[-_MAX_TRACE_CHARS:]))


def clean(text: str) -> str:
    """Text that every database keeps: no NUL, no lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _parse_record(value: Any, kind: type) -> Any:
    hints = _hints(kind)
    required = {field.name for field in fields(kind) if field.default is MISSING}
    if not isinstance(value, dict) or not required <= set(value) <= set(hints):
        raise MessageError(f"{kind.__name__} has {', '.join(hints)}")
    return kind(**{name: parse(value[name], hint) for name, hint in hints.items() if name in value})


def _parse_enum(value: Any, kind: type[StrEnum]) -> StrEnum:
    try:
        return kind(value)
    except ValueError as error:
        raise MessageError(f"no {kind.__name__}") from error


def _parse_plain(value: Any, hint: Any) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value) if abs(value) < _MAX_INT else math.nan
        if math.isfinite(number):
            return number
    if hint is int and isinstance(value, int) and not isinstance(value, bool) and -_MAX_INT <= value < _MAX_INT:
        return value
    if hint is str and isinstance(value, str) and value == clean(value):
        return value
    raise MessageError(f"{hint.__name__} was expected, not {type(value).__name__}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def _plain(value: object) -> object:
    # Thousands of messages a second pass here: exact types first, the rest by what they are.
    kind: Any = type(value)
    if kind is str or kind is int or kind is float or value is None or kind is bool:
        return clean(value) if isinstance(value, str) else value
    names = _field_names(kind)
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
