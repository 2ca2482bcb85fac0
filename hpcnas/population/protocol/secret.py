"""RUN/secret: read only while nobody else can, and never put anywhere else."""

import os
import stat

from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.run_folder import RunFolder

_HEX_DIGITS = 64  # 32 bytes


def read_secret(folder: RunFolder) -> bytes:
    """The run's secret.

    Raises:
        UsageError: others may read or write it, or it is not ours.
        DamagedRunError: it is missing, no regular file, or not what a head wrote.
    """
    path = folder.secret
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DamagedRunError(
            f"{path} is missing; `head -c32 /dev/urandom | xxd -p -c64 > {path}` with mode 0600 makes one"
        ) from error
    except OSError as error:
        raise DamagedRunError(f"{path} cannot be read: {error.strerror}; it must be a plain file of yours") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedRunError(f"{path} is no plain file; put the run's own secret back")
        if status.st_mode & 0o077:
            raise UsageError(f"{path} has mode {status.st_mode & 0o777:o}, so others may read it; run `chmod 600 {path}`")
        if status.st_uid != os.geteuid():
            raise UsageError(f"{path} belongs to user {status.st_uid}, not to you ({os.geteuid()}); run this as its owner")
        text = os.read(descriptor, 1024).strip()
    finally:
        os.close(descriptor)
    try:
        secret = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        secret = b""
    if len(text) != _HEX_DIGITS or not secret:
        raise DamagedRunError(f"{path} does not hold {_HEX_DIGITS} hex digits; put the run's own secret back")
    return secret
