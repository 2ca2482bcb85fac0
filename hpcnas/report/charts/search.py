"""Figures 3 and 4 of the paper for any number of runs (Liu et al. 2018, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hpcnas.report.charts.chart import AxesPanel, Chart, Scalar, Series
from hpcnas.report.tables.formatting import Spread
from hpcnas.report.views import Evaluation, RunRows, best_so_far, record_setters

STEP = "evolution step"


def figure3(runs: Sequence[RunRows]) -> Chart:
    """Fitness of each step's genotype, the best so far, and parameters of the small model, against the step."""
    panels = (
        AxesPanel("Fitness", STEP, "fitness (%)", tuple(_fitness(run) for run in runs)),
        AxesPanel("Best so far", STEP, "fitness (%)", tuple(_best(run) for run in runs)),
        AxesPanel("Size", STEP, "parameters (thousands)", tuple(_size(run) for run in runs), from_zero=True),
    )
    records = tuple(record for run in runs for record in _figure3_records(run))
    numbers = "; ".join(f"{run.label}: {len(run.evaluations):,} genotypes, {_repeats(run)} each" for run in runs)
    caption = (
        "Fitness of each step's genotype, the best so far, and the parameters of its small model. "
        f"The value of the best so far at the size of the initial population is random search's. {numbers}."
    )
    fields = ("run", "step", "fitness_percent", "std_percent", "repeats", "best_percent", "parameters")
    return Chart("figure3", "Figure 3. The search, step by step", caption, panels, fields, records)


def _fitness(run: RunRows) -> Series:
    return Series(
        run.label, _steps(run), tuple(100 * row.fitness.mean for row in run.evaluations), "points", ids=_ids(run.evaluations)
    )


def _best(run: RunRows) -> Series:
    rows = best_so_far(run.evaluations)
    return Series(run.label, _steps(run), tuple(100 * row.fitness.mean for row in rows), "steps", ids=_ids(rows))


def _size(run: RunRows) -> Series:
    return Series(
        run.label, _steps(run), tuple(row.parameters / 1000 for row in run.evaluations), "points", ids=_ids(run.evaluations)
    )


def _steps(run: RunRows) -> tuple[float, ...]:
    return tuple(row.id for row in run.evaluations)


def _ids(rows: Sequence[Evaluation]) -> tuple[int, ...]:
    return tuple(row.id for row in rows)


def _figure3_records(run: RunRows) -> list[tuple[Scalar, ...]]:
    return [
        (
            run.label,
            row.id,
            100 * row.fitness.mean,
            None if row.fitness.std is None else 100 * row.fitness.std,
            row.fitness.n,
            100 * best.fitness.mean,
            row.parameters,
        )
        for row, best in zip(run.evaluations, best_so_far(run.evaluations), strict=True)
    ]


def _repeats(run: RunRows) -> str:
    counts = {row.fitness.n for row in run.evaluations} or {run.config.recipe.repeats}
    low, high = min(counts), max(counts)
    return f"{low} repeat{'s' * (low != 1)}" if low == high else f"{low} to {high} repeats"


@dataclass(frozen=True, slots=True)
class Gain:
    """A record-setter against the first genotype, in percent of accuracy.

    Attributes:
        small: of the small model's fitness.
        full_size: of the full-size model's test accuracy, with the spread over its trainings; None where it or the first
            genotype was not trained at full size.
        channels: c0 of the full-size model; None without one.
    """

    step: int
    fitness: Spread
    small: float
    full_size: Spread | None
    channels: int | None


def figure4(runs: Sequence[RunRows]) -> Chart:
    """Gain in accuracy over the first random genotype, of the small model and of the full-size model."""
    gains = [(run, gains_of(run)) for run in runs]
    series: list[Series] = []
    for run, rows in gains:
        if not rows:
            continue
        steps = (*(row.step for row in rows), run.evaluations[-1].id)  # the last record stands until the end
        small = (*(row.small for row in rows), rows[-1].small)
        series.append(Series(f"{run.label}: small model", steps, small, "steps", run=run.label))
        large = [(row.step, row.full_size) for row in rows if row.full_size is not None]
        if large:
            series.append(_large_series(run, large))
    panel = AxesPanel("Gain in accuracy", STEP, "gain over the first genotype (% points)", tuple(series))
    fields = ("run", "step", "fitness_percent", "gain_small", "gain_full_size", "std_full_size", "trainings", "channels")
    records = tuple((run.label, *_gain_record(row)) for run, rows in gains for row in rows)
    return Chart("figure4", "Figure 4. Small model and full-size model", _figure4_caption(gains), (panel,), fields, records)


def gains_of(run: RunRows) -> list[Gain]:
    """One Gain per record-setter of the run, the first genotype (gain 0) included."""
    records = record_setters(run.evaluations)
    if not records:
        return []
    trained, channels = _trainings(run, records)
    origin = trained.get(records[0].digest)
    rows: list[Gain] = []
    for row in records:
        error = trained.get(row.digest)
        # Of errors, so a lower one is a gain; the bar is the spread of this genotype's trainings alone.
        gain = None if error is None or origin is None else Spread(origin.mean - error.mean, error.std, error.n)
        small = 100 * (row.fitness.mean - records[0].fitness.mean)
        rows.append(Gain(row.id, row.fitness.scaled(100), small, gain, channels if gain else None))
    return rows


def _trainings(run: RunRows, records: Sequence[Evaluation]) -> tuple[dict[str, Spread], int | None]:
    """By digest, the error over its trainings, and their c0: of the data set and width with the most trainings."""
    digests = {row.digest for row in records}
    finals = [final for final in run.finals if final.model == "cifar" and final.digest in digests]
    settings = [(final.dataset, final.channels) for final in finals]
    if not settings:
        return {}, None
    # Gains are differences, so all are of one data set and width. Sorted, so that a tie is always decided alike.
    dataset, channels = max(sorted(set(settings)), key=settings.count)
    errors: dict[str, list[float]] = {}
    for final in finals:
        if (final.dataset, final.channels) == (dataset, channels):
            errors.setdefault(final.digest, []).append(final.error_top1)
    return {digest: spread for digest, values in errors.items() if (spread := Spread.of(values))}, channels


def _large_series(run: RunRows, rows: Sequence[tuple[int, Spread]]) -> Series:
    return Series(
        f"{run.label}: full size",
        tuple(step for step, _ in rows),
        tuple(gain.mean for _, gain in rows),
        "line",
        tuple(gain.mean - (gain.std or 0.0) for _, gain in rows),
        tuple(gain.mean + (gain.std or 0.0) for _, gain in rows),
        run=run.label,
    )


def _gain_record(row: Gain) -> tuple[Scalar, ...]:
    large = row.full_size
    spread = (large.mean, large.std, large.n) if large else (None, None, 0)
    return (row.step, row.fitness.mean, row.small, *spread, row.channels)


def _figure4_caption(gains: Sequence[tuple[RunRows, list[Gain]]]) -> str:
    trainings = sum(row.full_size.n for _, rows in gains for row in rows if row.full_size)
    text = (
        "Gain in accuracy of the genotypes that were the best when they came, over the first random genotype. "
        "Small model: fitness. "
    )
    if not trainings:
        return text + "Full size: the first genotype and later ones are not trained yet (hpcnas final best-so-far)."
    return text + f"Full size: test accuracy, {trainings} trainings in all, bars of ± one standard deviation."
