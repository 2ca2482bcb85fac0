"""The user's home folder, which a container or a daemon may not have."""

import errno
import os
import stat
import tempfile
from pathlib import Path

from hpcnas.errors import UsageError


def expand_home(path: str, way_out: str) -> Path:
    """The path, `~` and `~user` expanded.

    Args:
        way_out: what to do without a home, as `name a folder with --data`.
    Raises:
        UsageError: it begins with `~`, $HOME is not set and the user has no entry in passwd.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{path} has no meaning here: $HOME is not set, and user {os.getuid()} has no entry in passwd; {way_out}"
        ) from error


def has_home() -> bool:
    """Whether the user has a home folder."""
    try:
        Path.home()
    except RuntimeError:
        return False
    return True


def cache_folder(name: str) -> Path:
    """Folder for what can be made again: ~/.cache/hpcnas/NAME, without a home one among the temporary files.

    Raises:
        PermissionError: that one is not this user's alone; what is loaded from it runs as this user.
    """
    try:
        return Path("~/.cache/hpcnas").expanduser() / name
    except RuntimeError:
        return _private(Path(tempfile.gettempdir()) / f"hpcnas-{os.getuid()}") / name


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "others may write into it", str(folder))
    return folder
