"""Writing what a user asked for: nothing that is there is replaced unless that was asked for too."""

import contextlib
import os
from pathlib import Path

from hpcnas.errors import UsageError


def refuse_existing(paths: list[Path], *, force: bool) -> None:
    """Check, before anything is written, that none of the files is there.

    Raises:
        UsageError: one is, and `force` is not given.
    """
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} is there already; choose another name, or give --force to replace it")


def write_file(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it.

    Bytes of a path that are no UTF-8 are written as "?".

    Raises:
        UsageError: it cannot be written there.
    """
    # In the same folder, as a rename is atomic within one file system alone.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data if isinstance(data, bytes) else data.encode(errors="replace"))
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another place") from error
