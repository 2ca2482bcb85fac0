"""RUN/outbox: results of workers that found no head, merged by the next one.

One file per message, complete or not there: written under another name, flushed, renamed. What
cannot be understood is set aside in outbox/refused and named in the event log, never deleted.
"""

import errno
import logging
import os
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from hpcnas.errors import DamagedRunError
from hpcnas.population import faultpoints
from hpcnas.population.protocol.messages import (
    FinalMessage,
    LeaseMessage,
    MessageError,
    RecordMessage,
    decode,
    encode,
)
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

FORMAT, VERSION = "hpcnas-outbox", 1
MAX_BYTES = 1 << 20
REFUSED = "refused"

# Of a machine or a file server, not of the file: it is read later. Too many files are open; a network file system is unwell.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ENOENT, errno.ETIMEDOUT})

OutboxMessage = LeaseMessage | FinalMessage  # results: everything else is said to a head, not left for one
_OBJECT = msgspec.json.Decoder(dict[str, object])


def write_outbox(folder: RunFolder, message: OutboxMessage) -> Path:
    """Leave a message for the next head; it is durable on return.

    Returns:
        The file.

    Raises:
        OSError: the disk refuses.
    """
    folder.outbox.mkdir(exist_ok=True)
    name = uuid.uuid4().hex
    unfinished, path = folder.outbox / f".{name}.new", folder.outbox / f"{name}.json"
    content = b'{"format":"%s","version":%d,' % (FORMAT.encode(), VERSION) + encode(message).removeprefix(b"{") + b"\n"
    try:
        _write_new(unfinished, content)
        faultpoints.rename(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)  # of a disk that refused: every further try would leave another one
    return path


def waiting(folder: RunFolder) -> int:
    """The number of messages that wait for a head to merge them."""
    return len(list(folder.outbox.glob("*.json")))


def merge_outbox(folder: RunFolder, store: Store) -> int:
    """Say every message of the outbox to the store, once.

    A message that is answered stale (somebody else was granted the genotype since) is noted and done with. An attempt that
    ends by one has ended when its worker wrote the last of them, which may be days ago.

    Returns:
        How many messages were merged.
    """
    found = [one for path in sorted(folder.outbox.glob("*.json")) if (one := _taken(path, store)) is not None]
    # A genotype that is given back may be granted to another worker at once: accuracies that come after that are stale.
    found.sort(key=lambda one: not isinstance(one.message, RecordMessage))
    ended: dict[tuple[int, int], float] = {}
    for one in found:
        ended[one.lease] = max(one.written, ended.get(one.lease, one.written))
    return sum(_merge(one, store, ended[one.lease]) for one in found)


@dataclass(frozen=True, slots=True)
class _Found:
    """A message in the outbox, and when it was written, in seconds since 1970."""

    path: Path
    message: OutboxMessage
    written: float

    @property
    def lease(self) -> tuple[int, int]:
        """Genotype and token that the message is about; (0, 0) for a full-size result."""
        return (0, 0) if isinstance(self.message, FinalMessage) else (self.message.individual_id, self.message.token)


def _taken(path: Path, store: Store) -> _Found | None:
    """The message of a file; None for one that cannot be understood, which is set aside, or not be read at the moment."""
    try:
        return _Found(path, *_read(path))
    except (MessageError, ValueError) as error:
        _tidy(path, partial(_set_aside, path, store, str(error)))
    except OSError as error:
        log.warning("%s cannot be read at the moment and stays where it is: %s", path, error.strerror)
    return None


def _merge(found: _Found, store: Store, ended: float) -> bool:
    """Say one message to the store; whether it is done with."""
    path, message = found.path, found.message
    individual_id, token = found.lease
    try:
        with store.batch():
            verdict = message.send_to(store)
            store.date_end(individual_id, token, ended)
            store.note("outbox", file=path.name, call=message.method, verdict=str(verdict), id=individual_id or None)
    except (ValueError, DamagedRunError) as error:
        _tidy(path, partial(_set_aside, path, store, str(error)))
        return False
    # Only now: merging twice changes nothing, losing it would.
    return _tidy(path, partial(path.unlink, missing_ok=True))


def _tidy(path: Path, take_away: Callable[[], None]) -> bool:
    """Take a message out of the outbox; one that the disk holds fast keeps no other from being merged."""
    try:
        take_away()
    except OSError as error:
        log.warning("%s stays where it is: %s", path, error.strerror)
        return False
    return True


def _read(path: Path) -> tuple[OutboxMessage, float]:
    try:
        # A link could make the head read, and name in its log, a file that its owner cannot.
        # Without O_NONBLOCK a pipe of that name would hold the head until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise MessageError(f"cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MessageError("no regular file")
        if status.st_size > MAX_BYTES:
            raise MessageError(f"larger than {MAX_BYTES} bytes")
        value = decode(os.read(descriptor, MAX_BYTES), _OBJECT)
    finally:
        os.close(descriptor)
    if (value.pop("format", None), value.pop("version", None)) != (FORMAT, VERSION):
        raise MessageError(f"not of format {FORMAT} {VERSION}")
    try:
        message: OutboxMessage = msgspec.convert(value, OutboxMessage)
    except msgspec.ValidationError as error:
        raise MessageError(str(error)) from error
    return message, status.st_mtime


def _set_aside(path: Path, store: Store, why: str) -> None:
    refused = path.parent / REFUSED
    refused.mkdir(exist_ok=True)
    target = refused / path.name
    # An earlier refused message of that name is kept, too.
    if os.path.lexists(target):
        target = refused / f"{path.stem}.{uuid.uuid4().hex[:8]}.json"
    faultpoints.rename(path, target)
    store.note("refused", file=str(target.relative_to(path.parent)), why=why[:500])


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _write_all(descriptor, data)
        faultpoints.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[faultpoints.write(descriptor, data) :]
