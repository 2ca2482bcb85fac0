"""The search's own table: what each run searched, how far it came, what it found and what it cost."""

from collections.abc import Sequence

from hpcnas.config import RecipeConfig
from hpcnas.report.run_rows import RunRows
from hpcnas.report.table import Column, Kind, Row, Table

COLUMNS = (
    Column("run", "run"),
    Column("space", "space"),
    Column("search", "search"),
    Column("dataset", "data set"),
    Column("evaluated", "evaluated", Kind.COUNT),
    Column("steps", "of", Kind.COUNT),
    Column("failed", "failed", Kind.COUNT),
    Column("best", "best id", Kind.COUNT),
    Column("fitness", "fitness (%)", Kind.SPREAD),
    Column("parameters", "parameters", Kind.PARAMETERS),
    Column("gpu_hours", "GPU-hours", Kind.HOURS),
    Column("wall_seconds", "wall time", Kind.DURATION),
)

PAPER_STEPS = {"cifar": 80_000, "imagenet": 200_000}  # section 4.1, full size
NO_GPU = {"cpu", "synthetic"}  # devices of repeats that no GPU trained


def search_table(runs: Sequence[RunRows]) -> Table:
    """One row a run; fitness is that of the best genotype, mean ± sample standard deviation (n repeats)."""
    notes = ["fitness: validation accuracy of the best genotype's small model, mean ± standard deviation (repeats)."]
    return Table("runs", "Searches", COLUMNS, tuple(_row(run) for run in runs), (*notes, *run_notes(runs)))


def _row(run: RunRows) -> Row:
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
        }
    )


def run_notes(runs: Sequence[RunRows]) -> list[str]:
    """What a reader must know of single runs: fitness that nothing was trained for, hours that were no GPU's."""
    notes = [f"{run.name}: {run.fitness_note}." for run in runs if run.fitness_note]
    notes += [f"{run.name}: {note}." for run in runs for note in _shorter_than_the_paper(run)]
    without_gpu = [run.name for run in runs if run.devices and set(run.devices) <= NO_GPU]
    if without_gpu:
        notes.append(f"{', '.join(without_gpu)}: no GPU; GPU-hours are the workers' hours.")
    return notes


def _shorter_than_the_paper(run: RunRows) -> list[str]:
    """Trainings of fewer steps than the paper's: their numbers do not compare with the published ones."""
    notes, recipe, paper = [], run.config.recipe, RecipeConfig()
    if recipe.fitness == "train" and (recipe.train_steps, recipe.repeats) != (paper.train_steps, paper.repeats):
        notes.append(
            f"small models trained for {recipe.train_steps:,} steps, {recipe.repeats} times each "
            f"(the paper: {paper.train_steps:,}, {paper.repeats})"
        )
    for model, steps in PAPER_STEPS.items():
        trained = {final.details.get("settings", {}).get("steps", steps) for final in run.finals if final.model == model}
        if trained - {steps}:
            notes.append(
                f"{model} models trained for {' and '.join(f'{n:,}' for n in sorted(trained))} steps (the paper: {steps:,})"
            )
    return notes
