"""The command that trains at full size: final."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpcnas.commands.genotype_argument import GENOTYPE_HELP
from hpcnas.commands.options import RunOption, grouped
from hpcnas.errors import UsageError
from hpcnas.networks.blueprint import Tail
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size.recipe import FullModel, FullPrecision

if TYPE_CHECKING:
    from hpcnas.commands.final_options import FinalOptions
    from hpcnas.commands.final_pin import Named
    from hpcnas.config import RunConfig
    from hpcnas.training.full_size.recipe import FullRecipe

BEST_SO_FAR = "best-so-far"
_RECIPE = "Recipe (section 4.1); the defaults are the paper's"
_JOB = "Slurm job (with --cluster slurm)"
_RUN = "Training"


def register(app: typer.Typer) -> None:
    """Add final."""
    app.command()(final)


def final(
    genotype: Annotated[
        str,
        typer.Argument(
            help=f"{GENOTYPE_HELP} Or {BEST_SO_FAR}: every genotype that set a record in the run.", show_default=False
        ),
    ],
    run: RunOption = None,
    model: Annotated[FullModel, grouped("The full-size network. [cifar]", _RECIPE)] = "cifar",
    dataset: Annotated[
        str | None, grouped("cifar10, cifar100, fashion-mnist, digits, folder:PATH. [the run's, else cifar10]", _RECIPE)
    ] = None,
    data: Annotated[
        str | None, grouped("Folder of the data set; for imagenet the one that holds train/ and val/.", _RECIPE, metavar="DIR")
    ] = None,
    download: Annotated[bool, grouped("Fetch a missing data set.", _RECIPE, "--download")] = False,
    channels: Annotated[int | None, grouped("c0, the width of the first cell. [64]", _RECIPE, metavar="C")] = None,
    cells: Annotated[int | None, grouped("N, cells of a group. [2]", _RECIPE, metavar="N")] = None,
    tail: Annotated[Tail | None, grouped("Convolution between last cell and pooling. [none]", _RECIPE)] = None,
    steps: Annotated[
        int | None, grouped("Steps; the learning rate drops at the same shares. [80000, imagenet 200000]", _RECIPE, metavar="N")
    ] = None,
    batch: Annotated[
        int | None, grouped("Images of a step, over all ranks. [256, imagenet 1024]", _RECIPE, metavar="N")
    ] = None,
    crop: Annotated[
        int | None, grouped("Side of the squares trained on, pixels. [24, imagenet 299]", _RECIPE, metavar="PX")
    ] = None,
    runs: Annotated[
        int | None, grouped("Trainings with seeds of their own, one after the other. [5, imagenet 1]", _RECIPE, metavar="N")
    ] = None,
    run_index: Annotated[int | None, grouped("Only this one of them, from 0: for job arrays.", _RECIPE, metavar="K")] = None,
    seed: Annotated[int | None, grouped("Of all runs. [0]", _RECIPE, metavar="N")] = None,
    precision: Annotated[FullPrecision | None, grouped("Of the training. [auto: bf16 on a GPU]", _RECIPE)] = None,
    sync_bn: Annotated[
        bool, grouped("Batch statistics over all ranks instead of each rank's own.", _RECIPE, "--sync-bn")
    ] = False,
    device: Annotated[str, grouped("auto, cpu or cuda. [auto]", _RUN)] = "auto",
    out: Annotated[str | None, grouped("Output folder instead of RUN/final/MODEL/GENOTYPE.", _RUN, metavar="DIR")] = None,
    weights_out: Annotated[
        str | None, grouped("Copy the weights (safetensors) there; {run} in it is the run's number.", _RUN, metavar="FILE")
    ] = None,
    checkpoint_minutes: Annotated[float, grouped("Between two checkpoints. [15]", _RUN, metavar="MIN")] = 15.0,
    log_seconds: Annotated[float, grouped("Between two lines of the log. [30]", _RUN, metavar="S")] = 30.0,
    loaders: Annotated[
        int | None, grouped("Processes per rank that decode images. [CPUs of the task less one]", _RUN, metavar="N")
    ] = None,
    tensorboard: Annotated[bool, grouped("Write TensorBoard scalars into the output folder.", _RUN, "--tensorboard")] = False,
    cluster: Annotated[Literal["here", "slurm"], grouped("slurm submits a job per genotype. [here]", _JOB)] = "here",
    nodes: Annotated[int, grouped("Nodes of a job. [1]", _JOB, metavar="N")] = 1,
    gpus_per_node: Annotated[int, grouped("GPUs of a node, each with a rank. 0 trains on CPUs. [1]", _JOB, metavar="N")] = 1,
    ranks_per_node: Annotated[int | None, grouped("Ranks on a node. [one per GPU]", _JOB, metavar="N")] = None,
    cpus_per_rank: Annotated[int, grouped("CPU cores of a rank. [8]", _JOB, metavar="N")] = 8,
    partition: Annotated[str | None, grouped("Slurm partition. [the run's]", _JOB, metavar="P")] = None,
    account: Annotated[str | None, grouped("Slurm account. [the run's]", _JOB)] = None,
    qos: Annotated[str | None, grouped("Slurm quality of service. [the run's]", _JOB)] = None,
    time: Annotated[
        str | None, grouped("Time limit; a job that reaches it is requeued and goes on. [the partition's]", _JOB)
    ] = None,
    mem: Annotated[str | None, grouped("Memory of a node, as Slurm writes it (64G).", _JOB)] = None,
    exclude: Annotated[str | None, grouped("Nodes not to use.", _JOB, metavar="NODES")] = None,
    setup: Annotated[
        list[str] | None, grouped("Shell command before the training; once per command.", _JOB, metavar="CMD")
    ] = None,
    slurm: Annotated[
        list[str] | None, grouped("Any further sbatch option; once per option.", _JOB, metavar="KEY=VALUE")
    ] = None,
) -> None:
    """Train a genotype at full size; the same command again goes on where it was.

    Under srun or torchrun: one process per GPU.
    """
    from hpcnas.commands.final_options import FinalOptions
    from hpcnas.head.create import stored_config

    options = FinalOptions(**{name: value for name, value in locals().items() if name not in ("FinalOptions", "stored_config")})
    config = stored_config(options.folder)
    recipe = options.recipe(config)
    if cluster == "slurm":
        _submit(options, recipe, config)
        return
    from hpcnas.commands.final_here import train_here

    raise typer.Exit(train_here(options, recipe, lambda: _resolve(genotype, options.folder)))


def _resolve(word: str, folder: RunFolder) -> "list[Named]":
    from hpcnas.commands.genotype_argument import resolve_genotype

    if word != BEST_SO_FAR:
        return [resolve_genotype(word, folder)]
    from hpcnas.report.read_run import read_run
    from hpcnas.report.views import record_setters

    records = record_setters(read_run(folder.require(), folder.path.name).evaluations)
    if not records:
        raise UsageError(f"{folder.path} has no evaluated genotype yet, so that none has set a record; wait")
    return [resolve_genotype(str(record.id), folder) for record in records]


def _submit(options: "FinalOptions", recipe: "FullRecipe", config: "RunConfig | None") -> None:
    """One job per genotype, each with its runs one after the other."""
    from hpcnas.cluster.slurm.full_jobs import submit_full

    shape = options.shape(config)
    recipe.batch_per_rank(shape.nodes * shape.ranks_per_node)
    for _, individual in _resolve(options.genotype, options.folder):
        name = str(individual) if individual is not None else options.genotype
        if individual is None and options.genotype != "published":
            name = str(Path(options.genotype).absolute())
        label = f"hpcnas-final-{individual if individual is not None else Path(options.genotype).stem}"
        job = submit_full(options.folder.path / "final" / "slurm", label, shape, options.job_arguments(name))
        print(
            f"submitted job {job}: {recipe.folder_name} of {name}, {recipe.runs} runs; its log is in "
            f"{options.folder.path / 'final' / 'slurm'}"
        )
