"""Fitness against the parameters of the small model, with the front of what no other genotype beats in both."""

from collections.abc import Sequence

from hpcnas.report.charts.chart import AxesPanel, Chart, Scalar, Series
from hpcnas.report.front import front
from hpcnas.report.views import Evaluation, RunRows


def front_chart(runs: Sequence[RunRows]) -> Chart:
    """All evaluated genotypes of each run by parameters and fitness, and each run's front."""
    series = [one for run in runs if run.evaluations for one in (_all(run), _front(run))]
    panel = AxesPanel("Accuracy against size", "parameters of the small model (thousands)", "fitness (%)", tuple(series))
    fields = ("run", "id", "parameters", "fitness_percent", "is_on_front")
    records = tuple(record for run in runs for record in _records(run))
    counts = "; ".join(f"{run.label}: {len(front_of(run)):,} of {len(run.evaluations):,} genotypes" for run in runs)
    caption = (
        "Validation accuracy against the parameters of the small model. On the front are the genotypes "
        f"that no other one beats in both (hpcnas final front trains them at full size). {counts}."
    )
    return Chart("front", "Accuracy against size", caption, (panel,), fields, records)


def front_of(run: RunRows) -> list[Evaluation]:
    """The run's front, by ascending parameters."""
    return front(run.evaluations, lambda row: row.parameters, lambda row: row.fitness.mean)


def _all(run: RunRows) -> Series:
    rows = sorted(run.evaluations, key=lambda row: row.parameters)
    return Series(run.label, *_points(rows), "points", ids=_ids(rows))


def _front(run: RunRows) -> Series:
    rows = front_of(run)
    return Series(f"{run.label}: front", *_points(rows), "steps", run=run.label, ids=_ids(rows))


def _points(rows: Sequence[Evaluation]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(row.parameters / 1000 for row in rows), tuple(100 * row.fitness.mean for row in rows)


def _ids(rows: Sequence[Evaluation]) -> tuple[int, ...]:
    return tuple(row.id for row in rows)


def _records(run: RunRows) -> list[tuple[Scalar, ...]]:
    on_front = {row.id for row in front_of(run)}
    return [(run.label, row.id, row.parameters, 100 * row.fitness.mean, int(row.id in on_front)) for row in run.evaluations]
