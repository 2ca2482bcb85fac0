"""The command that rebuilds a damaged population: restore."""

from typing import Annotated

import typer

from hpcnas.command_help import RUN, add, shown
from hpcnas.commands.options import RunOption
from hpcnas.errors import UsageError
from hpcnas.run_folder import RunFolder


def register(app: typer.Typer) -> None:
    """Add restore."""
    add(app, restore)


@shown(RUN, "hpcnas restore", "hpcnas restore --force --run runs/first")
def restore(
    run: RunOption = None,
    force: Annotated[bool, typer.Option("--force", help="Rebuild a sound population too.")] = False,
) -> None:
    """Rebuild a damaged population from backup, journal and outbox; what was there is kept under another name.

    Start the same head again afterwards. Workers that still run go on. A sound population is left alone (exit code 2).
    """
    from hpcnas.population.restore import is_sound
    from hpcnas.population.restore import restore as rebuild
    from hpcnas.system.lock_file import head_lock

    folder = RunFolder.from_option(run).require()
    lock = head_lock(folder.lock)
    # A running head would go on writing into the file that is being replaced.
    lock.acquire()
    try:
        if not force and is_sound(folder):
            raise UsageError(f"the population of {folder.path} is sound; nothing was rebuilt (--force rebuilds it anyway)")
        done = rebuild(folder)
    finally:
        lock.release()
    typer.echo(f"restored {done.population} from {done.start}; merged {done.outbox} messages of the outbox")
    typer.echo(f"{done.born} genotypes, {done.evaluated} of them evaluated")
    for path in done.kept:
        typer.echo(f"kept {path}")
    for problem in done.problems:
        typer.echo(f"not as it should be: {problem}", err=True)
    if done.problems:
        raise typer.Exit(1)
