"""The identity of a run, in its folder and its database: the file `run.id` and the run row hold the same uuid."""

import os
import uuid

from hpcnas.errors import DamagedRunError
from hpcnas.population import faultpoints
from hpcnas.run_folder import RunFolder


def read_or_create_run_id(folder: RunFolder) -> str:
    """The id of the run in `folder`, drawn now if it has none; copied with the folder."""
    path = folder.path / "run.id"
    if path.is_file():
        return path.read_text(encoding="ascii", errors="replace").strip()
    return _write(folder, uuid.uuid4().hex)


def check_run_id(folder: RunFolder, found: str, where: str) -> None:
    """Refuse a database of another run; a folder without run.id takes the database's.

    Raises:
        DamagedRunError: the ids differ.
    """
    path = folder.path / "run.id"
    if not path.is_file():
        _write(folder, found)
        return
    own = read_or_create_run_id(folder)
    if own != found:
        raise DamagedRunError(
            f"{where} belongs to another run ({found[:8]}, not {own[:8]}); put this run's back or use `hpcnas restore`"
        )


def _write(folder: RunFolder, run_id: str) -> str:
    path = folder.path / "run.id"
    unfinished = path.with_name(f"run.id.{os.getpid()}.new")
    with unfinished.open("w", encoding="ascii") as file:
        file.write(run_id + "\n")
        file.flush()
        faultpoints.fsync(file.fileno())
    faultpoints.rename(unfinished, path)
    return run_id
