"""`hpcnas runs`: all runs below a folder, one line each."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from hpcnas.errors import HpcnasError
from hpcnas.report.quoting import one_line
from hpcnas.report.status import RunStatus, read_status
from hpcnas.run_folder import RunFolder
from hpcnas.system.durations import duration

WIDTH = 80
SHORTEST_NAME = 12


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run below the folder.

    Attributes:
        status: None if it cannot be read.
        trouble: why it cannot be read; "" if it can.
        age_s: seconds since its database, or else its folder, changed.
    """

    path: Path
    status: RunStatus | None
    trouble: str
    age_s: float


def find_runs(top: Path) -> Iterator[RunFolder]:
    """The run folders at and below `top`, by path. Links and hidden folders are not followed, nor is the inside of a run."""
    for path, folders, files in os.walk(top):
        folder = RunFolder(Path(path))
        if folder.config.name in files:
            # os.walk goes down into what is left here. A run has many files, and no other run inside.
            folders.clear()
            yield folder
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def list_runs(top: Path, has_head: Callable[[RunFolder], bool]) -> list[ListedRun]:
    """Read all runs below `top`; one that is damaged or cannot be reached is listed with the reason.

    Args:
        has_head: whether a head holds a run.
    """
    return [_listed(folder, has_head) for folder in find_runs(top)]


def runs_text(runs: Iterable[ListedRun], top: Path) -> str:
    """A table of at most 80 columns, where the names allow it, with each run's note below its row.

    The names are relative to `top`.
    """
    runs = list(runs)
    rows = [(_name(run.path, top), *_cells(run)) for run in runs]
    headers = ("run", "state", "evaluated", "best (%)", "GPU-h", "last change")
    table = str(tabulate(rows, headers, disable_numparse=True, colalign=("left", "left", *["right"] * 4)))
    too_wide = max(map(len, table.splitlines()), default=0) - WIDTH
    if too_wide > 0 and rows:
        longest = max(SHORTEST_NAME, max(len(row[0]) for row in rows) - too_wide)
        rows = [(_shortened(row[0], longest), *row[1:]) for row in rows]
        table = str(tabulate(rows, headers, disable_numparse=True, colalign=("left", "left", *["right"] * 4)))
    head, line, *body = table.splitlines()
    notes = [[] if run.status is None or not run.status.note else [_note(run.status.note)] for run in runs]
    return "\n".join([head, line, *(text for row, note in zip(body, notes, strict=True) for text in (row, *note))])


def runs_json(runs: Iterable[ListedRun]) -> str:
    """A list of objects: the status of each run as `hpcnas status --json` shows it, `age_s` and `trouble`."""
    return json.dumps([_as_json(run) for run in runs], indent=1)


def _listed(folder: RunFolder, has_head: Callable[[RunFolder], bool]) -> ListedRun:
    age_s = max(0.0, time.time() - _changed(folder))
    try:
        return ListedRun(folder.path, read_status(folder, has_head=has_head(folder)), "", age_s)
    except HpcnasError as error:
        return ListedRun(folder.path, None, str(error), age_s)


def _changed(folder: RunFolder) -> float:
    """Seconds since 1970; 0 if nothing is there any more."""
    # In WAL mode a head's changes stand in the log alone until SQLite moves a thousand pages of them into the database.
    # A log without bytes is what a reader leaves, who changed nothing.
    found = []
    for path in (folder.database, folder.database_log, folder.config):
        with contextlib.suppress(FileNotFoundError):  # the log disappears when a head ends
            status = path.stat()
            found += [status.st_mtime] if status.st_size else []
    return max(found, default=0.0)


def _cells(run: ListedRun) -> tuple[str, ...]:
    status = run.status
    if status is None:
        return "unreadable", "-", "-", "-", duration(run.age_s)
    best = "-" if status.best is None else f"{100 * status.best[1]:.2f}"
    evaluated = f"{status.evaluated}/{status.steps}"
    return status.state, evaluated, best, f"{status.gpu_seconds / 3600:.2f}", duration(run.age_s)


def _note(note: str) -> str:
    text = f"  {one_line(note)}"
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def _name(path: Path, top: Path) -> str:
    return one_line(str(path.relative_to(top))) if path != top else "."


def _shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"...{name[3 - longest :]}"


def _as_json(run: ListedRun) -> dict[str, Any]:
    status = run.status.to_json() if run.status else {"run": str(run.path), "state": "unreadable"}
    return status | {"age_s": round(run.age_s, 1), "trouble": run.trouble}
