"""The commands that look at runs: status, population, failures, runs."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpcnas.command_help import LOOK, add, shown
from hpcnas.commands.options import RunOption, terminal_width
from hpcnas.errors import UsageError, check_at_least
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    from hpcnas.report.status import RunStatus

Form = Literal["text", "csv", "json"]
Size = Literal["parameters", "macs"]
WATCH_S = 2.0
PENDING_EVERY_S = 60.0  # Slurm's answer may take seconds, in which the picture stands still


def register(app: typer.Typer) -> None:
    """Add status, population, failures and runs."""
    add(app, status)
    add(app, population)
    add(app, failures)
    add(app, runs)


@shown(LOOK, "hpcnas status --watch", "hpcnas status --json --run runs/first")
def status(
    run: RunOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it until the run ends; a picture on a terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Counts, workers, best genotype, ETA and GPU-hours of a run."""
    from hpcnas.commands.final_record import take_in
    from hpcnas.head.requests import running_head
    from hpcnas.report.status import read_status
    from hpcnas.report.status_view import status_text

    folder = RunFolder.from_option(run).require()
    # Results that found no head would else be missing until the next one begins.
    take_in(folder)
    if watch and not as_json:
        _watch(folder)
        return
    found = read_status(folder, has_head=bool(running_head(folder)))
    print(json.dumps(found.to_json()) if as_json else status_text(found) + _as_slurm_says(folder))


def _as_slurm_says(folder: RunFolder) -> str:
    from hpcnas.cluster.slurm.view import slurm_view

    view = slurm_view(folder)
    return "" if view is None else f"\nSlurm: {view.describe()}"


@shown(LOOK, "hpcnas population --top 10", "hpcnas population --format csv > population.csv")
def population(
    run: RunOption = None,
    top: Annotated[int | None, typer.Option("--top", metavar="K", help="Only the K fittest.")] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Only those that no other one beats in both fitness and size.")
    ] = False,
    by: Annotated[
        Size | None, typer.Option("--by", help="The size of --front: parameters or multiply-adds. [parameters]")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="A table to read, or for programs.")] = "text",
) -> None:
    """The table of genotypes, the fittest first."""
    from hpcnas.population.queries import Population
    from hpcnas.records import State
    from hpcnas.report.leaderboard import front_of, population_csv, population_json, population_text, rank
    from hpcnas.report.macs import small_macs

    if top is not None:
        check_at_least("--top", top, 1)
    if by is not None and not front:
        raise UsageError(f"--by {by} is the size of a front; give --front too")
    with Population.open(RunFolder.from_option(run).require()) as opened:
        rows, config = opened.individuals(), opened.config
    evaluated = {one.id: one.genotype for one in rows if front and one.state is State.EVALUATED}
    # Only for the front: they are counted anew from each genotype, as the population keeps parameters alone.
    macs = small_macs(evaluated, config) if front else None
    ranked = (front_of(rows, macs if by == "macs" else None) if front else rank(rows))[:top]
    if form == "text":
        print(population_text(ranked, macs, terminal_width()))
    else:
        print({"csv": population_csv, "json": population_json}[form](ranked, macs))


@shown(LOOK, "hpcnas failures --brief", "hpcnas failures --run runs/first")
def failures(
    run: RunOption = None,
    brief: Annotated[bool, typer.Option("--brief", help="Without tracebacks.")] = False,
) -> None:
    """What failed, by cause: where and when, with the last traceback of each."""
    from hpcnas.population.queries import Population
    from hpcnas.report.leaderboard import failures_text

    with Population.open(RunFolder.from_option(run).require()) as opened:
        print(failures_text(opened, traces=not brief))


@shown(LOOK, "hpcnas runs", "hpcnas runs /scratch/searches --json")
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
        print(f"no run below {folder}; start one with `hpcnas head --run {shlex.quote(str(folder / 'first'))}`")


def _watch(folder: RunFolder) -> None:
    """Show the status again and again; ends when the run does."""
    from hpcnas.cluster.slurm.view import pending_reasons
    from hpcnas.head.requests import running_head
    from hpcnas.report.status import read_status

    with _viewer() as show:
        pending, asked_s = pending_reasons(folder), time.monotonic()
        while True:
            if time.monotonic() - asked_s >= PENDING_EVERY_S:
                pending, asked_s = pending_reasons(folder), time.monotonic()
            found = read_status(folder, has_head=bool(running_head(folder)), pending=pending)
            show(found)
            if found.state in ("finished", "stopped"):
                return
            time.sleep(WATCH_S)


@contextmanager
def _viewer() -> "Iterator[Callable[[RunStatus], None]]":
    """A live picture on a terminal; elsewhere the text, whenever it changed."""
    from hpcnas.report.status_view import status_picture, status_text

    if not sys.stdout.isatty():
        shown: list[str] = []

        def show_text(status: "RunStatus") -> None:
            text = status_text(status)
            # A log of `status --watch` gets a block when something happened, and not every two seconds.
            if _lasting(text) not in shown:
                shown[:] = [_lasting(text)]
                print(text, end="\n\n", flush=True)

        yield show_text
        return
    from rich.live import Live

    with Live(refresh_per_second=2) as live:
        yield lambda status: live.update(status_picture(status))


def _lasting(text: str) -> str:
    """The lines that change when something happened, not by time alone."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(("ETA", "time")))
