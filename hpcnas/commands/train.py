"""The commands about one genotype's network: count, evaluate."""

import json
import statistics
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcnas.command_help import LOOK, MEASURE, add, shown
from hpcnas.commands.genotype_argument import GENOTYPE_HELP, PrimitivesOption, recipe_of, resolve_genotype, use_own_primitives
from hpcnas.commands.head_options import FITNESS, option_layer, run_options
from hpcnas.commands.options import RunOption, grouped, offering
from hpcnas.errors import check_at_least
from hpcnas.networks.blueprint import Tail
from hpcnas.representation.genotype import Genotype
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    from hpcnas.config import RecipeConfig
    from hpcnas.networks.counts import NetworkCounts
    from hpcnas.records import Fitness

Given = Annotated[str, typer.Argument(help=GENOTYPE_HELP, show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add count and evaluate."""
    add(app, count)
    add(app, evaluate)


@shown(LOOK, "hpcnas count published --model small,cifar,imagenet", "hpcnas count best --channels 32 --json")
def count(
    genotype: Given,
    run: RunOption = None,
    model: Annotated[
        str, typer.Option("--model", help="small, cifar or imagenet; several with commas between. [small]", show_default=False)
    ] = "small",
    channels: Annotated[
        int | None, typer.Option("--channels", help="c0 (default: the run's for small, else the paper's).", show_default=False)
    ] = None,
    cells: Annotated[
        int | None, typer.Option("--cells", help="N, cells of a group (default: as c0).", show_default=False)
    ] = None,
    tail: Annotated[Tail, typer.Option("--tail", help="Convolution after the last cell.")] = "none",
    primitives: PrimitivesOption = None,
    as_json: AsJson = False,
) -> None:
    """Parameters, multiply-adds and widths of a genotype's network; nothing is built."""
    folder = RunFolder.from_option(run)
    found, individual_id = resolve_genotype(genotype, folder)
    use_own_primitives(found, primitives, folder)
    recipe = recipe_of(individual_id, folder)
    models = [name.strip() for name in model.split(",")]
    counts = [_counted(found, name, recipe, channels, cells, tail) for name in models]
    if as_json:
        values = [_counts_json(one) for one in counts]
        # One model is an object without a list around it, as before several could be named; scripts depend on it.
        typer.echo(json.dumps(values if len(values) > 1 else values[0]))
    else:
        typer.echo("\n\n".join(map(_counts_text, counts)))


def _counted(
    genotype: Genotype, model: str, recipe: "RecipeConfig | None", channels: int | None, cells: int | None, tail: str
) -> "NetworkCounts":
    from hpcnas.networks.counts import count as count_network
    from hpcnas.networks.run_sizes import run_sizes

    sizes = run_sizes(recipe, model)
    return count_network(
        genotype,
        model,
        channels=sizes.channels if channels is None else channels,
        cells=sizes.cells if cells is None else cells,
        classes=sizes.classes,
        in_channels=sizes.in_channels,
        tail=tail,
        image_px=sizes.image_px,
    )


@shown(
    MEASURE, "hpcnas evaluate published --dataset digits --train-steps 100", "hpcnas evaluate best --repeats 1 --device cuda"
)
@offering(run_options("recipe"))
def evaluate(
    genotype: Given,
    run: RunOption = None,
    *,
    download: Annotated[bool, grouped("Fetch the data set first if it is not there.", FITNESS, "--download")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    primitives: PrimitivesOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the trainings, together with genotype and repeat.")] = 0,
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """One fitness evaluation here; the recipe is the run's where there is one, else the paper's."""
    from hpcnas.representation.codec import genotype_to_json
    from hpcnas.training.fitness.evaluator import repeat_seed
    from hpcnas.training.fitness.evaluators import load_evaluator

    folder = RunFolder.from_option(run)
    found, _ = resolve_genotype(genotype, folder)
    use_own_primitives(found, primitives, folder)
    recipe = _recipe(folder, run, option_layer(given))
    check_at_least("--seed", seed, 0)
    if recipe.fitness == "train" and download:
        from hpcnas.training.data.prepare import prepare

        prepare(recipe.dataset, recipe.data, download=True, image_px=recipe.image_px)
    evaluator = load_evaluator(recipe, device=device)
    # As a worker draws them: with the run's seed an evaluation here repeats the one of the search.
    seeds = {repeat: repeat_seed(seed, genotype_to_json(found), repeat) for repeat in range(recipe.repeats)}
    results = _evaluate_showing_progress(evaluator, found, seeds)
    typer.echo(json.dumps(_results_json(results, recipe)) if as_json else _results_text(results, recipe))


def _recipe(folder: RunFolder, run: str | None, layer: dict[str, Any]) -> "RecipeConfig":
    from hpcnas.config import OF_THE_DATA, RecipeConfig, RunConfig
    from hpcnas.config_file import read_config

    base = RunConfig()
    # A run that was named must be there. The default folder may hold none: then it is the paper's recipe.
    if run is not None:
        folder.require()
    if folder.config.is_file():
        base = RunConfig.from_dict(read_config(folder.config))
    given = layer.get("recipe", {})
    if "dataset" in given or "image_px" in given:
        none = {key: getattr(RecipeConfig(), key) for key in OF_THE_DATA}  # those of the run are of its own data set
        # Images are named to be trained on, though the run's own fitness may look at none.
        given = {"image_px": 0, "fitness": "train"} | given | none
    return RunConfig.from_dict({"recipe": given}, base).recipe


def _evaluate_showing_progress(evaluator: Any, genotype: Any, seeds: dict[int, int]) -> "list[Fitness]":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # On stderr, so that --json stays clean; nothing is drawn where that is no terminal.
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"repeat 1 of {len(seeds)}", total=1.0)
        results: list[Fitness] = []
        for result in evaluator.evaluate(genotype, seeds, progress=lambda share: bar.update(task, completed=share)):
            results.append(result)
            bar.update(task, description=f"repeat {min(len(results) + 1, len(seeds))} of {len(seeds)}")
    return results


def _results_json(results: "list[Fitness]", recipe: "RecipeConfig") -> dict[str, Any]:
    accuracies = [result.accuracy for result in results]
    return {
        "fitness": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracies": accuracies,
        "seeds": [result.seed for result in results],
        "seconds": sum(result.seconds for result in results),
        "device": results[0].device,
        "dataset": recipe.dataset if recipe.fitness == "train" else None,
        "fitness_by": recipe.fitness,
        "train_steps": recipe.train_steps if recipe.fitness == "train" else None,
    }


def _results_text(results: "list[Fitness]", recipe: "RecipeConfig") -> str:
    values = _results_json(results, recipe)
    how = f"{recipe.train_steps} steps on {recipe.dataset}" if recipe.fitness == "train" else recipe.fitness
    spread = f" ± {100 * values['std']:.2f}" if values["std"] is not None else ""
    lines = [f"repeat {r.repeat + 1}: {100 * r.accuracy:.2f} % in {r.seconds:.1f} s" for r in results]
    return "\n".join(
        [*lines, f"fitness {100 * values['fitness']:.2f}{spread} % (n = {len(results)}), {how}, {values['device'] or 'here'}"]
    )


def _counts_json(counts: "NetworkCounts") -> dict[str, Any]:
    return {
        "model": counts.model,
        "channels": counts.channels,
        "cells": counts.cells,
        "trainable": counts.trainable,
        "all_variables": counts.all_variables,
        "macs": counts.macs,
        "output_widths": list(counts.output_widths),
    }


def _counts_text(counts: "NetworkCounts") -> str:
    widths = ", ".join(map(str, counts.output_widths))
    return (
        f"{counts.model} model, c0 = {counts.channels}, N = {counts.cells}\n"
        f"trainable parameters  {counts.trainable:>16,}\n"
        f"all variables         {counts.all_variables:>16,}\n"
        f"multiply-adds         {counts.macs:>16,}\n"
        f"cells emit            {widths} channels"
    )
