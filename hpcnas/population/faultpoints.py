"""The faultpoints of the store: every call that can fail for reasons outside the program.

The N-th fault test makes call k of this module fail, for k = 1, 2, 3, ...; nothing else of the
population touches a disk's durability or a socket's bytes.
"""

import os
import socket
import sqlite3
from collections.abc import Mapping
from pathlib import Path


def execute(connection: sqlite3.Connection, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
    """Run one statement inside a transaction."""
    return connection.execute(statement, values)


def commit(connection: sqlite3.Connection) -> None:
    """Make the transaction durable."""
    connection.execute("COMMIT")


def write(file: int, data: bytes) -> int:
    """Append to an open file; perhaps less than asked, as os.write."""
    return os.write(file, data)


def fsync(file: int) -> None:
    """Make an open file's data durable."""
    os.fdatasync(file)


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


def send(connection: socket.socket, data: bytes) -> int:
    """Send what fits; the number of bytes that did."""
    return connection.send(data)


def receive(connection: socket.socket, size: int) -> bytes:
    """Receive up to `size` bytes; none at the end."""
    return connection.recv(size)
