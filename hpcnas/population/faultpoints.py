"""The faultpoints of the store: every call that can fail for reasons outside the program.

The N-th fault test makes call k of this module fail, for k = 1, 2, 3, ... Nothing else of the population makes data
durable or reads and writes a socket. Callers name the module, so a test can replace a function here. Most are the
library's own functions.
"""

import os
import socket
import sqlite3
from pathlib import Path

execute = sqlite3.Connection.execute  # one statement inside a transaction
commit = sqlite3.Connection.execute  # COMMIT, which unlike the method `commit` fails when nothing is open
write = os.write  # append to an open file; perhaps less than asked
fsync = os.fdatasync  # make an open file's data durable
send = socket.socket.send  # what fits; the number of bytes that did
receive = socket.socket.recv  # up to so many bytes; none at the end


def rename(source: Path, target: Path) -> None:
    """Put a finished file in its place, and make that durable."""
    os.replace(source, target)
    fsync_folder(target.parent)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
