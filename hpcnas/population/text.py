"""Text that every database keeps and every message takes."""

from hpcnas.records import Failure

_MAX_ERROR_CHARS = 20_000
_MAX_TRACE_CHARS = 200_000


def clean(text: str) -> str:
    """Text that every database keeps: no NUL, no lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def clip(failure: Failure) -> Failure:
    """A failure short enough for a message and a row: the start of the error, the end of the traceback."""
    return Failure(failure.kind, clean(failure.error[:_MAX_ERROR_CHARS]), clean(failure.trace[-_MAX_TRACE_CHARS:]))
