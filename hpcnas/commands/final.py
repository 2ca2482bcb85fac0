"""The command that trains at full size: final."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcnas.command_help import RUN, add, shown
from hpcnas.commands.final_options import FinalOptions, final_options
from hpcnas.commands.final_pin import BEST_SO_FAR, FRONT, Named
from hpcnas.commands.genotype_argument import GENOTYPE_HELP, use_primitives_of_run
from hpcnas.commands.options import RunOption, offering
from hpcnas.errors import UsageError
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    from hpcnas.config import RunConfig
    from hpcnas.training.full_size.recipe import FullRecipe


def register(app: typer.Typer) -> None:
    """Add final."""
    add(app, final)


@shown(RUN, "hpcnas final best --model cifar", "hpcnas final best-so-far --cluster slurm --partition gpu --gpus-per-node 4")
@offering(final_options())
def final(
    genotype: Annotated[
        str,
        typer.Argument(
            help=f"{GENOTYPE_HELP} Or {BEST_SO_FAR}: every genotype that set a record in the run; "
            f"{FRONT}: every one that no other beats in both fitness and parameters.",
            show_default=False,
        ),
    ],
    run: RunOption = None,
    **given: Any,
) -> None:
    """Train a genotype at full size; the same command again goes on where it was.

    Under srun or torchrun: one process per GPU.
    """
    from hpcnas.head.create import stored_config

    options = FinalOptions.of(genotype, run, given)
    config = stored_config(options.folder)
    use_primitives_of_run(options.primitives, config)
    recipe = options.recipe(config)
    if options.cluster == "slurm":
        _submit(options, recipe, config)
        return
    from hpcnas.commands.final_start import start_training

    # The genotype is looked up later, by rank 0 alone: each rank could find another best in a search that goes on.
    raise typer.Exit(start_training(options, recipe, lambda: _resolve(genotype, options.folder)))


def _resolve(word: str, folder: RunFolder) -> list[Named]:
    from hpcnas.commands.genotype_argument import resolve_genotype

    if word not in (BEST_SO_FAR, FRONT):
        return [resolve_genotype(word, folder)]
    from hpcnas.report.charts.front import front_of
    from hpcnas.report.read_run import read_run
    from hpcnas.report.views import record_setters

    run = read_run(folder.require(), folder.path.name)
    found = record_setters(run.evaluations) if word == BEST_SO_FAR else front_of(run)
    if not found:
        raise UsageError(f"{folder.path} has no evaluated genotype yet, so that there is no {word}; wait")
    return [resolve_genotype(str(one.id), folder) for one in found]


def _submit(options: FinalOptions, recipe: "FullRecipe", config: "RunConfig | None") -> None:
    """One job per genotype, each with its runs one after the other."""
    from hpcnas.cluster.slurm.full_jobs import submit_full

    shape = options.shape(config)
    # Refuses a batch that these ranks cannot share now, and not in a job after its wait in the queue.
    recipe.batch_per_rank(shape.nodes * shape.ranks_per_node)
    for _, individual in _resolve(options.genotype, options.folder):
        # The id and not `best`: by the time that the job begins, another genotype may be the best.
        name = str(individual) if individual is not None else options.genotype
        if individual is None and options.genotype != "published":
            # The job may begin in another folder than this command.
            name = str(Path(options.genotype).absolute())
        label = f"hpcnas-final-{individual if individual is not None else Path(options.genotype).stem}"
        job = submit_full(options.folder.path / "final" / "slurm", label, shape, options.job_arguments(name))
        print(
            f"submitted job {job}: {recipe.folder_name} of {name}, {recipe.runs} runs; its log is in "
            f"{options.folder.path / 'final' / 'slurm'}"
        )
