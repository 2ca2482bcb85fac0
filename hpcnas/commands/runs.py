"""`hpcnas runs`: what there is below a folder."""

from pathlib import Path
from typing import Annotated

import typer

from hpcnas.commands import shown
from hpcnas.commands.shown import add
from hpcnas.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, shown.LOOK, runs, "hpcnas runs", "hpcnas runs /scratch/me --json")


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look, at any depth.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """All runs below a folder: state, evaluated genotypes, best fitness, GPU-hours, last change."""
    from hpcnas.head.requests import running_head
    from hpcnas.report.run_list import list_runs, runs_json, runs_text

    top = folder.absolute()
    if not top.is_dir():
        raise UsageError(f"{folder} is no folder; give the one that holds your runs, as in `hpcnas runs .`")
    found = list_runs(top, lambda run: bool(running_head(run)))
    if as_json:
        print(runs_json(found))
    elif found:
        print(runs_text(found, top))
        for run in found:
            if run.trouble:
                print(f"{run.path}: {run.trouble}")
    else:
        print(f"no run below {folder}; start one with `hpcnas head --run {folder / 'first'}`")
