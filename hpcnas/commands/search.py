"""The commands that run a search: head, worker, stop, retry."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hpcnas.commands.head_options import Layer, file_layer, option_layer, preset_layer, resolve
from hpcnas.commands.options import AddressOption, RunOption, grouped
from hpcnas.config import Duplicates, Precision, Preset, Search, Where
from hpcnas.representation.space import Kind
from hpcnas.run_folder import RunFolder

_WORKERS = "Workers"
_SEARCH = "Search (section 3)"
_RECIPE = "Fitness (section 4.1)"
_RUN = "Run"
_NOT_OF_THE_RUN = ("run", "download", "preset", "config", "dry_run", "address")


def register(app: typer.Typer) -> None:
    """Add head, worker, stop and retry."""
    app.command()(head)
    app.command()(worker)
    app.command()(stop)
    app.command()(retry)


def head(
    run: RunOption = None,
    workers: Annotated[int | None, grouped("Workers to keep running. [200]", _WORKERS, metavar="N")] = None,
    cluster: Annotated[Where | None, grouped("Where they run. [auto: Slurm when sbatch answers]", _WORKERS)] = None,
    partition: Annotated[str | None, grouped("Slurm partition of the workers.", _WORKERS, "--partition", metavar="P")] = None,
    account: Annotated[str | None, grouped("Slurm account.", _WORKERS)] = None,
    qos: Annotated[str | None, grouped("Slurm quality of service.", _WORKERS)] = None,
    time: Annotated[
        str | None, grouped("Time limit of a worker, as Slurm writes it (4:00:00). [the partition's]", _WORKERS)
    ] = None,
    gpus_per_worker: Annotated[int | None, grouped("GPUs of one worker. [1]", _WORKERS, metavar="N")] = None,
    cpus_per_worker: Annotated[int | None, grouped("CPU cores of one worker. [4]", _WORKERS, metavar="N")] = None,
    mem: Annotated[str | None, grouped("Memory of one worker, as Slurm writes it (16G).", _WORKERS)] = None,
    exclude: Annotated[str | None, grouped("Nodes not to use.", _WORKERS, metavar="NODES")] = None,
    setup: Annotated[
        list[str] | None, grouped("Shell command before a worker starts; give it once per command.", _WORKERS, metavar="CMD")
    ] = None,
    slurm: Annotated[
        list[str] | None, grouped("Any further sbatch option; give it once per option.", _WORKERS, metavar="KEY=VALUE")
    ] = None,
    space: Annotated[Kind | None, grouped("The search space. [hierarchical]", _SEARCH)] = None,
    motifs: Annotated[
        str | None, grouped("Motifs of each level above the primitives. [6,1]", _SEARCH, metavar="M,...,1")
    ] = None,
    nodes: Annotated[str | None, grouped("Nodes of a motif of each level. [4,5]", _SEARCH, metavar="G,...")] = None,
    max_parameters: Annotated[
        int | None,
        grouped("Admit only genotypes whose small model has no more. [550000 if flat-constrained]", _SEARCH, metavar="T"),
    ] = None,
    search: Annotated[Search | None, grouped("How new genotypes come about. [evolution]", _SEARCH)] = None,
    steps: Annotated[int | None, grouped("Genotypes to evaluate in all. [7000]", _SEARCH, metavar="N")] = None,
    population: Annotated[
        int | None, grouped("Random genotypes that evolution starts from. [200]", _SEARCH, metavar="N")
    ] = None,
    tournament: Annotated[
        float | None, grouped("Share of the population in a tournament. [0.05]", _SEARCH, metavar="SHARE")
    ] = None,
    duplicates: Annotated[
        Duplicates | None, grouped("What is done with a genotype that has the network of an earlier one. [evaluate]", _SEARCH)
    ] = None,
    seed: Annotated[int | None, grouped("Seed of the search and of all trainings. [0]", _SEARCH, metavar="N")] = None,
    fitness: Annotated[str | None, grouped("train, synthetic[:SECONDS] or PACKAGE.MODULE:FUNCTION. [train]", _RECIPE)] = None,
    dataset: Annotated[
        str | None, grouped("cifar10, cifar100, fashion-mnist, digits or folder:PATH. [cifar10]", _RECIPE)
    ] = None,
    data: Annotated[
        str | None, grouped("Folder of the data set. [$HPCNAS_DATA, else ~/.cache/hpcnas]", _RECIPE, metavar="DIR")
    ] = None,
    download: Annotated[bool, grouped("Fetch the data set first if it is not there.", _RECIPE, "--download")] = False,
    train_steps: Annotated[int | None, grouped("Training steps of one repeat. [5000]", _RECIPE, metavar="N")] = None,
    batch: Annotated[int | None, grouped("Images of a training step. [256]", _RECIPE, metavar="N")] = None,
    repeats: Annotated[int | None, grouped("Trainings per genotype; fitness is their mean. [4]", _RECIPE, metavar="N")] = None,
    channels: Annotated[int | None, grouped("Channels of the first group, c0. [16]", _RECIPE, metavar="C")] = None,
    cells: Annotated[int | None, grouped("Cells of a group, N. [1]", _RECIPE, metavar="N")] = None,
    crop: Annotated[int | None, grouped("Side of the random crop, in pixels. [24]", _RECIPE, metavar="PX")] = None,
    precision: Annotated[Precision | None, grouped("Of the training. [auto: bf16 on a GPU that has it]", _RECIPE)] = None,
    store: Annotated[str | None, grouped("sqlite or postgresql://... [sqlite]", _RUN)] = None,
    address: AddressOption = "",
    preset: Annotated[Preset | None, grouped("Sizes to begin with. [paper]", _RUN)] = None,
    config: Annotated[
        Path | None, grouped("A file like run.toml; options given here beat it.", _RUN, metavar="FILE.toml")
    ] = None,
    dry_run: Annotated[
        bool, grouped("Show the configuration and what would be submitted; start nothing.", _RUN, "--dry-run")
    ] = False,
) -> None:
    """Search: breed genotypes, keep workers running, stop at exactly --steps evaluated.

    The same command again goes on where the run stands; --workers and --steps may change. Ctrl-C once
    drains (what runs is finished), twice leaves (workers go on).
    """
    options = {name: value for name, value in locals().items() if name not in _NOT_OF_THE_RUN}
    folder = RunFolder.from_option(run)
    from hpcnas.cluster.launch import settle_workers
    from hpcnas.head.create import stored_config
    from hpcnas.head.process import run_head

    stored = stored_config(folder)
    given: list[Layer] = [file_layer(config)] if config is not None else []
    given.append(option_layer(options))
    resolved = resolve([*([preset_layer(preset)] if preset is not None else []), *given], stored)
    is_asked = stored is not None or any("workers" in layer.get("cluster", {}) for layer in given)
    resolved = replace(resolved, cluster=settle_workers(resolved.cluster, is_asked=is_asked))
    raise typer.Exit(run_head(resolved, folder, download=download, dry_run=dry_run, address=address))


def worker(run: RunOption = None) -> None:
    """Run one worker by hand, for any other scheduler: it claims, trains and records until the run is finished."""
    from hpcnas.worker.process import run_worker

    raise typer.Exit(run_worker(str(RunFolder.from_option(run).require().path)))


def stop(
    run: RunOption = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the workers too; what they train is lost to them and done again later.")
    ] = False,
) -> None:
    """Drain a running search: nothing new is bred, what is being trained is finished, the head leaves."""
    from hpcnas.head.requests import ask_to_stop

    print(ask_to_stop(RunFolder.from_option(run).require(), cancel=cancel))


def retry(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Failed genotypes, as `hpcnas failures` lists them.")],
    run: RunOption = None,
) -> None:
    """Queue failed genotypes anew, with their attempts back."""
    from hpcnas.head.requests import retry_failed

    folder = RunFolder.from_option(run).require()
    for individual_id in ids:
        print(retry_failed(folder, individual_id))
