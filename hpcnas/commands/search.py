"""The commands that run a search: head, worker, stop, retry."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hpcnas import command_help as groups
from hpcnas.command_help import add, shown
from hpcnas.commands.head_options import (
    FITNESS,
    RUN,
    Layer,
    file_layer,
    option_layer,
    preset_layer,
    resolve,
    run_options,
)
from hpcnas.commands.options import AddressOption, RunOption, grouped, offering
from hpcnas.errors import UsageError
from hpcnas.presets import Preset
from hpcnas.run_folder import RunFolder


def register(app: typer.Typer) -> None:
    """Add head, worker, stop and retry."""
    add(app, head)
    add(app, worker)
    add(app, stop)
    add(app, retry)


@shown(groups.RUN, "hpcnas head --preset smoke", "hpcnas head --workers 200 --partition gpu --run runs/first")
@offering(run_options("cluster", "space", "search", "recipe", ""))
def head(
    run: RunOption = None,
    *,
    download: Annotated[bool, grouped("Fetch the data set first if it is not there.", FITNESS, "--download")] = False,
    address: AddressOption = "",
    preset: Annotated[Preset | None, grouped("Sizes to begin with. [paper]", RUN)] = None,
    config: Annotated[
        Path | None, grouped("A file like run.toml; options given here beat it.", RUN, metavar="FILE.toml")
    ] = None,
    dry_run: Annotated[
        bool, grouped("Show the configuration and what would be submitted; start nothing.", RUN, "--dry-run")
    ] = False,
    **given: Any,
) -> None:
    """Search: breed genotypes, keep workers running, stop at exactly --steps evaluated.

    The same command again goes on where the run stands; --workers and --steps may change.
    Ctrl-C once drains (what runs is finished), twice leaves (workers go on).
    """
    folder = RunFolder.from_option(run)
    from hpcnas.cluster.launch import settle_workers
    from hpcnas.head.create import stored_config
    from hpcnas.head.process import run_head

    stored = stored_config(folder)
    layers: list[Layer] = [file_layer(config)] if config is not None else []
    layers.append(option_layer(given))
    resolved = resolve([*([preset_layer(preset)] if preset is not None else []), *layers], stored)
    # A number of workers that nobody chose (the paper's 200) may shrink to what fits this machine; a chosen one is refused.
    is_asked = stored is not None or any("workers" in layer.get("cluster", {}) for layer in layers)
    resolved = replace(resolved, cluster=settle_workers(resolved.cluster, is_asked=is_asked))
    code = run_head(resolved, folder, download=download, dry_run=dry_run, address=address)
    if code == 0 and not dry_run:
        from hpcnas.report.search_end import show_end

        show_end(folder)
    raise typer.Exit(code)


@shown(groups.RUN, "hpcnas worker", "hpcnas worker --run runs/first")
def worker(run: RunOption = None) -> None:
    """Run one worker by hand, for any other scheduler: it claims, trains and records until the run is finished."""
    from hpcnas.worker.process import run_worker

    raise typer.Exit(run_worker(str(RunFolder.from_option(run).require().path)))


@shown(groups.RUN, "hpcnas stop", "hpcnas stop --cancel --run runs/first")
def stop(
    run: RunOption = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the workers too; what they train is lost to them and done again later.")
    ] = False,
) -> None:
    """Drain a running search: nothing new is bred, what is being trained is finished, the head leaves."""
    from hpcnas.head.requests import ask_to_stop

    print(ask_to_stop(RunFolder.from_option(run).require(), cancel=cancel))


@shown(groups.RUN, "hpcnas retry 17 23", "hpcnas retry --cause oom --run runs/first")
def retry(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Failed genotypes, as `hpcnas failures` lists them.")
    ] = None,
    run: RunOption = None,
    every: Annotated[bool, typer.Option("--all", help="All failed genotypes.")] = False,
    cause: Annotated[
        str | None,
        typer.Option("--cause", metavar="TEXT", help="Those with TEXT in their reason or in an error, such as oom."),
    ] = None,
) -> None:
    """Queue failed genotypes anew, with their attempts back."""
    from hpcnas.head.requests import failed_genotypes, retry_failed

    if [bool(ids), every, cause is not None].count(True) != 1:
        raise UsageError("hpcnas retry needs either ids of failed genotypes, or --all, or --cause TEXT")
    folder = RunFolder.from_option(run).require()
    # Every text contains the empty one, so --all needs no way of its own.
    for line in retry_failed(folder, ids or failed_genotypes(folder, cause or "")):
        print(line)
