"""Keep submitit's folder small: it cleans nothing itself, and file systems of clusters count files."""

import re
from pathlib import Path

KEPT_LOGS = 300  # of ended tasks, the newest
_TASK_FILE = re.compile(
    r"^(?P<job>\d+)(?:_(?P<index>\d+))?_(?P<kind>submission\.sh|submitted\.pkl|\d+_result\.pkl|\d+_log\.(?:out|err))$"
)


def prune_folder(folder: Path, open_jobs: set[str], ended_tasks: frozenset[str] = frozenset()) -> int:
    """Delete the files of jobs that are not in `open_jobs`, and of `ended_tasks`, but for the newest `KEPT_LOGS` logs.

    Files that are not submitit's are left alone; so are pickles and scripts of open jobs, which a
    requeued task reads again.

    Returns:
        How many files were deleted.
    """
    if not folder.is_dir():
        return 0
    logs: list[Path] = []
    others: list[Path] = []
    for path in folder.iterdir():
        match = _TASK_FILE.match(path.name)
        if match and (match["job"] not in open_jobs or f"{match['job']}_{match['index']}" in ended_tasks):
            (logs if "_log." in match["kind"] else others).append(path)
    logs.sort(key=_modified)
    doomed = [*others, *logs[: max(0, len(logs) - KEPT_LOGS)]]
    for path in doomed:
        path.unlink(missing_ok=True)
    return len(doomed)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
