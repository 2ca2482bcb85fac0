"""A file that appears once and whole, whichever of several processes creates it, on any file system."""

import errno
import os
from pathlib import Path

# What file systems answer that have no hard links: vfat, exFAT, CIFS, many of FUSE, some object stores.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def create_file(path: Path, content: bytes, beside: Path) -> bool:
    """Create the file unless it is there; whether this call created it.

    Without hard links a reader may find the file empty for a moment, and for ever when this process is killed in it.

    Args:
        beside: a name in the same folder that no other call uses; it is gone afterwards.
    Raises:
        OSError: the folder cannot be written.
    """
    try:
        write_durably(beside, content)
        os.link(beside, path)
    except FileExistsError:
        return False
    except FileNotFoundError:  # another process that created the file swept ours away
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_in_place(path, content)
    finally:
        beside.unlink(missing_ok=True)
    return True


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        _write(file.fileno(), content)


def _create_in_place(path: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        _write(descriptor, content)
    except BaseException:
        path.unlink(missing_ok=True)  # ours, and of no use
        raise
    finally:
        os.close(descriptor)
    return True


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)
