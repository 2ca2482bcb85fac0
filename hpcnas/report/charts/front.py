"""Fitness against the size of the small model, with the front of what no other genotype beats in both."""

from collections.abc import Callable, Mapping, Sequence

from hpcnas.report.charts.chart import AxesPanel, Chart, Scalar, Series
from hpcnas.report.front import front
from hpcnas.report.views import Evaluation, RunRows

Size = Callable[[Evaluation], float]


def front_chart(runs: Sequence[RunRows]) -> Chart:
    """All evaluated genotypes of each run by size and fitness, and each run's front: by parameters, and by multiply-adds."""
    macs = [(run, run.macs()) for run in runs]
    small = [(run, run.evaluations, _parameters) for run in runs]
    # Multiply-adds are unknown where the run's own primitives cannot be imported.
    cheap = [(run, [row for row in run.evaluations if row.id in counted], _macs(counted)) for run, counted in macs]
    panels = (
        _panel("By parameters", "parameters of the small model (thousands)", small),
        _panel("By multiply-adds", "MACs of the small model (millions)", cheap),
    )
    fields = ("run", "id", "parameters", "macs", "fitness_percent", "is_on_front", "is_on_front_by_macs")
    records = tuple(record for run, counted in macs for record in _records(run, counted))
    counts = "; ".join(f"{run.label}: {len(front_of(run)):,} of {len(run.evaluations):,} genotypes" for run in runs)
    caption = (
        "Fitness against the parameters and the multiply-adds of the small model. On the front are the genotypes "
        f"that no other one beats in both (hpcnas final front trains those by parameters at full size). {counts}."
    )
    return Chart("front", "Accuracy against size", caption, panels, fields, records)


def front_of(run: RunRows) -> list[Evaluation]:
    """The run's front, by ascending parameters."""
    return _front(run.evaluations, _parameters)


def _front(rows: Sequence[Evaluation], size: Size) -> list[Evaluation]:
    return front(rows, size, lambda row: row.fitness.mean)


def _parameters(row: Evaluation) -> float:
    return row.parameters / 1000


def _macs(counted: Mapping[int, int]) -> Size:
    return lambda row: counted[row.id] / 1e6


def _panel(title: str, x_label: str, runs: Sequence[tuple[RunRows, Sequence[Evaluation], Size]]) -> AxesPanel:
    series = []
    for run, rows, size in runs:
        if rows:
            series.append(_series(run.label, run, sorted(rows, key=size), size, is_front=False))
            series.append(_series(f"{run.label}: front", run, _front(rows, size), size, is_front=True))
    return AxesPanel(title, x_label, "fitness (%)", tuple(series))


def _series(label: str, run: RunRows, rows: Sequence[Evaluation], size: Size, *, is_front: bool) -> Series:
    x, y = tuple(map(size, rows)), tuple(100 * row.fitness.mean for row in rows)
    # A front is a staircase: between two of its sizes no genotype is known that is fitter than the smaller one.
    return Series(label, x, y, "steps" if is_front else "points", run=run.label, ids=tuple(row.id for row in rows))


def _records(run: RunRows, counted: Mapping[int, int]) -> list[tuple[Scalar, ...]]:
    known = [row for row in run.evaluations if row.id in counted]
    fronts = [{row.id for row in rows} for rows in (front_of(run), _front(known, _macs(counted)))]
    return [
        (
            run.label,
            row.id,
            row.parameters,
            counted.get(row.id),
            100 * row.fitness.mean,
            *(int(row.id in ids) for ids in fronts),
        )
        for row in run.evaluations
    ]
