"""The command that rebuilds a damaged population: restore."""

import typer

from hpcnas.commands.options import RunOption
from hpcnas.run_folder import RunFolder


def register(app: typer.Typer) -> None:
    """Add restore."""
    app.command()(restore)


def restore(run: RunOption = None) -> None:
    """Rebuild a damaged population from backup, journal and outbox; what was there is kept under another name.

    Start the same head again afterwards. Workers that still run go on.
    """
    from hpcnas.population.restore import restore as rebuild
    from hpcnas.system.lock_file import head_lock

    folder = RunFolder.from_option(run).require()
    lock = head_lock(folder.lock)
    lock.acquire()
    try:
        done = rebuild(folder)
    finally:
        lock.release()
    for remark in done.remarks:
        typer.echo(remark, err=True)
    typer.echo(f"restored {done.population} from {done.start}; merged {done.outbox} messages of the outbox")
    typer.echo(f"{done.born} genotypes, {done.evaluated} of them evaluated")
    if done.lost_since:
        typer.echo(f"what was acknowledged after {done.lost_since} is lost with the old data, and will be trained again")
    for path in done.kept:
        typer.echo(f"kept {path}")
    for problem in done.problems:
        typer.echo(f"not as it should be: {problem}", err=True)
    if done.problems:
        raise typer.Exit(1)
