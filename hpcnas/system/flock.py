"""A lock between processes that holds or raises CannotLock: filelock's without its fallback.

If the file system has no flock, as Lustre mounted noflock, filelock would silently use a file's existence as the lock.
A killed process leaves such a lock closed.
"""

import errno
from contextlib import AbstractContextManager

from filelock import FileLock, Timeout

_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


class CannotLock(OSError):
    """The file system has no locks."""


def acquire_lock(path: str, timeout_s: float = -1) -> AbstractContextManager[object]:
    """Wait for the lock on a file, which is made and stays; leaving the context gives it back.

    Args:
        timeout_s: how long to wait; -1 for ever.
    Raises:
        TimeoutError: another process kept it that long.
        CannotLock: the file system has no locks.
        OSError: the file cannot be made or opened.
    """
    try:
        return FileLock(path, fallback_to_soft=False).acquire(timeout=timeout_s)
    except Timeout:
        raise
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise CannotLock(error.errno, error.strerror, path) from error
        raise
