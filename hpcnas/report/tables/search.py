"""The search's own table: what each run searched, how far it came, what it found and what it cost."""

from collections.abc import Sequence

from hpcnas.config import RecipeConfig, RunConfig, SearchConfig
from hpcnas.option import options_of, shown_default
from hpcnas.report.tables.table import Column, ColumnKind, Row, Table
from hpcnas.report.views import RunRows
from hpcnas.representation.space import SearchSpace

COLUMNS = (
    Column("run", "run"),
    Column("space", "space"),
    Column("search", "search"),
    Column("dataset", "data set"),
    Column("evaluated", "evaluated", ColumnKind.COUNT),
    Column("steps", "of", ColumnKind.COUNT),
    Column("failed", "failed", ColumnKind.COUNT),
    Column("best", "best id", ColumnKind.COUNT),
    Column("fitness", "fitness (%)", ColumnKind.SPREAD),
    Column("parameters", "parameters", ColumnKind.PARAMETERS),
    Column("gpu_hours", "GPU-hours", ColumnKind.HOURS),
    Column("wall_seconds", "wall time", ColumnKind.DURATION),
)

SHOWN = ("space", "search", "dataset", "steps")  # options that have a column of their own
SETTINGS, NOTE = Column("settings", "settings that differ"), Column("note", "note")

PAPER_STEPS = {"cifar": 80_000, "imagenet": 200_000}  # section 4.1, full size
NO_GPU = ("cpu", "synthetic")  # how the devices of repeats begin that no GPU trained


def search_table(runs: Sequence[RunRows]) -> Table:
    """One row a run; fitness is that of the best genotype, mean ± sample standard deviation (n repeats).

    Of several runs it says by which settings they differ, and of runs with a note what that is.
    """
    settings = different_settings([run.config for run in runs])
    columns = (*COLUMNS, *([SETTINGS] if any(settings) else []), *([NOTE] if any(run.config.note for run in runs) else []))
    rows = tuple(_row(run, differing) for run, differing in zip(runs, settings, strict=True))
    # A function of the user's own returns any number from 0 to 1; notes on single runs say what it was.
    fitness = "validation accuracy of the best genotype's small model" if _are_trained(runs) else "that of the best genotype"
    notes = [f"fitness: {fitness}, mean ± standard deviation (repeats)."]
    return Table("runs", "Searches", columns, rows, (*notes, *run_notes(runs)))


def _are_trained(runs: Sequence[RunRows]) -> bool:
    return not runs or any(run.config.recipe.fitness == "train" for run in runs)


def different_settings(configs: Sequence[RunConfig]) -> list[str]:
    """Of each configuration, the options of space, search and recipe that are not the same in all, with their values."""
    options = [_options(config) for config in configs]
    names = [name for name in (options[0] if options else ()) if len({one[name] for one in options}) > 1]
    return [", ".join(f"{name} {one[name]}" for name in names) for one in options]


def _options(config: RunConfig) -> dict[str, str]:
    sections: tuple[tuple[type, object], ...] = (
        (SearchSpace, config.space),
        (SearchConfig, config.search),
        (RecipeConfig, config.recipe),
    )
    shown = [(option, getattr(section, option.field)) for kind, section in sections for option in options_of(kind)]
    return {option.flag: shown_default(value) or "none" for option, value in shown if option.name not in SHOWN}


def _row(run: RunRows, settings: str) -> Row:
    best = run.best
    return Row(
        {
            "run": run.label,
            "space": run.config.space.kind,
            "search": run.config.search.algorithm,
            "dataset": run.config.recipe.dataset if run.config.recipe.fitness == "train" else None,
            "evaluated": run.counts.evaluated,
            "steps": run.config.search.steps,
            "failed": run.counts.failed,
            "best": best.id if best else None,
            "fitness": best.fitness.scaled(100) if best else None,
            "parameters": best.parameters if best else None,
            "gpu_hours": run.gpu_hours(),
            "wall_seconds": run.seconds,
            "settings": settings or None,
            "note": run.config.note or None,
        }
    )


def run_notes(runs: Sequence[RunRows], *, fitness: bool = True, full_size: Sequence[str] = ()) -> list[str]:
    """Notes on single runs that limit the comparison of their numbers.

    Args:
        fitness: whether the table shows the fitness and its cost.
        full_size: the full-size models that the table shows, cifar and imagenet.
    """
    notes = [f"{run.name}: {run.fitness_note}." for run in runs if run.fitness_note]
    notes += [
        f"{run.name}: not counted: {run.waiting} in its outbox, waiting for the next head." for run in runs if run.waiting
    ]
    notes += [f"{run.name}: {note}." for run in runs if fitness and (note := _short_search(run))]
    notes += [f"{run.name}: {note}." for run in runs if fitness and (note := _short_walk(run))]
    notes += [f"{run.name}: {run.reuse_note}." for run in runs if fitness and run.reuse_note]
    notes += [f"{run.name}: {note}." for model in full_size for run in runs if (note := _short_training(run, model))]
    without_gpu = [
        run.name for run in runs if fitness and run.devices and all(device.startswith(NO_GPU) for device in run.devices)
    ]
    if without_gpu:
        notes.append(f"{', '.join(without_gpu)}: no GPU; GPU-hours are the workers' hours.")
    return notes


def _short_search(run: RunRows) -> str:
    """Small models trained by another schedule than the paper's: their fitness does not compare with its."""
    recipe, paper = run.config.recipe, RecipeConfig()
    if recipe.fitness != "train" or (recipe.train_steps, recipe.repeats) == (paper.train_steps, paper.repeats):
        return ""
    times = f"{recipe.repeats} time{'s' * (recipe.repeats > 1)} each"
    return f"small models trained for {recipe.train_steps:,} steps, {times} (the paper: {paper.train_steps:,}, {paper.repeats})"


def _short_walk(run: RunRows) -> str:
    """Random genotypes that are nearer to the identity chain than the paper's: its random search is another."""
    mutations, paper = run.config.search.initial_mutations, SearchConfig().initial_mutations
    if mutations >= paper:
        return ""
    return f"random genotypes are identity chains after {mutations:,} mutations (the paper: {paper:,})"


def _short_training(run: RunRows, model: str) -> str:
    """Full-size models trained for another number of steps than the paper's."""
    paper = PAPER_STEPS[model]
    trained = {final.details.get("settings", {}).get("steps", paper) for final in run.finals if final.model == model}
    # Also if nothing is trained yet.
    if trained <= {paper}:
        return ""
    return f"{model} models trained for {' and '.join(f'{steps:,}' for steps in sorted(trained))} steps (the paper: {paper:,})"
