"""Where a page lies, and of which runs it is: a page replaces itself, never something else."""

from collections.abc import Sequence
from pathlib import Path

from hpcnas.errors import UsageError
from hpcnas.report.views import RunRows

MARK = "hpcnas-runs"  # the name of the meta element that says of which runs a page is
_HEAD_BYTES = 4096  # of a page, in which that element is


def run_ids(runs: Sequence[RunRows]) -> str:
    """The runs of a page, as its mark has them."""
    return " ".join(run.run_id for run in runs)


def refuse_other(path: Path, runs: Sequence[RunRows]) -> None:
    """Check that nothing but an earlier page about the same runs would be replaced.

    Raises:
        UsageError: another file is there.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return  # nothing is there, or writing will say what is wrong with it
    if f'<meta name="{MARK}" content="{run_ids(runs)}">'.encode() not in head:
        raise UsageError(f"{path} is no page of {', '.join(run.name for run in runs)}; give --out, or --force to replace it")
