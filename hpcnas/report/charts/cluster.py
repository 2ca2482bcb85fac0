"""Charts of a cluster's use: workers there, workers busy, evaluations per hour, failures, noise."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

from hpcnas.population.rules import LOST, NEUTRAL_OUTCOMES, PREEMPTED
from hpcnas.report.charts.chart import AxesPanel, Chart, Scalar, Series
from hpcnas.report.views import Evaluation, RunRows

BINS = 120  # of the time axis: enough to see a break of 1 % of the run


def workers_chart(runs: Sequence[RunRows]) -> Chart:
    """Live workers, and the share of their time that they spent on a genotype, over the time of the run."""
    timed = [run for run in runs if run.seconds]
    unit, per_unit = time_unit(timed)
    live, busy, records = [], [], []
    for run in timed:
        rows = _worker_bins(run)
        x = [row[0] / per_unit for row in rows]
        # An attempt outlives its lost worker until the lease is expired, so a bin may be more than busy.
        shares = [100 * min(1.0, row[2] / row[1]) if row[1] > 0 else 0.0 for row in rows]
        live.append(_bin_steps(run, x, [row[1] for row in rows], per_unit))
        busy.append(_bin_steps(run, x, shares, per_unit))
        records += [(run.label, row[0], row[1], row[2]) for row in rows]
    axis = f"time since the start ({unit})"
    panels = (
        AxesPanel("Live workers", axis, "workers", tuple(live), from_zero=True, is_counted=True),
        AxesPanel("Utilisation", axis, "time spent on genotypes (%)", tuple(busy), from_zero=True, y_max=100),
    )
    caption = (
        f"Mean over each of {BINS} equal spans of the run. A worker is live from when it joins until it leaves or is lost."
    )
    return Chart("workers", "Workers", caption, panels, ("run", "seconds", "live_workers", "busy_workers"), tuple(records))


def _bin_steps(run: RunRows, x: Sequence[float], y: Sequence[float], per_unit: float) -> Series:
    """Values of bins that begin at x; the last one lasts until the end of the run."""
    return Series(run.label, (*x, (run.seconds or 0.0) / per_unit), (*y, y[-1]), "steps")


def _worker_bins(run: RunRows) -> list[tuple[float, float, float]]:
    """(seconds since the start, mean live workers, mean busy workers) per span of the run."""
    start, width = run.started, (run.seconds or 0.0) / BINS
    end = start + (run.seconds or 0.0)
    live = _occupancy([(span.joined, end if span.left is None else span.left) for span in run.workers], start, width)
    busy = _occupancy([(row.started, end if row.ended is None else row.ended) for row in run.attempts], start, width)
    return [(index * width, live[index], busy[index]) for index in range(BINS)]


def _occupancy(spans: Sequence[tuple[float, float]], start: float, width: float) -> list[float]:
    """The number of spans (from, until) that run on average during each of BINS bins of `width` seconds from `start`.

    Linear in spans and bins: the integral of a sum of steps, from the sorted ends.
    """
    edges = [start + index * width for index in range(BINS + 1)]
    begun, ended = _integral(sorted(a for a, _ in spans)), _integral(sorted(b for _, b in spans))
    totals = [_integral_at(begun, edge) - _integral_at(ended, edge) for edge in edges]
    return [max(0.0, later - earlier) / width for earlier, later in pairwise(totals)]


def _integral(times: Sequence[float]) -> tuple[Sequence[float], list[float]]:
    return times, [0.0, *accumulate(times)]


def _integral_at(integral: tuple[Sequence[float], list[float]], time: float) -> float:
    # The sum of (time - t) over the t before: the area under "how many have begun".
    times, sums = integral
    before = bisect_right(times, time)
    return before * time - sums[before]


def throughput_chart(runs: Sequence[RunRows]) -> Chart:
    """Evaluated genotypes per hour over the time of the run."""
    timed = [run for run in runs if run.seconds]
    unit, per_unit = time_unit(timed)
    series, records = [], []
    for run in timed:
        rows = _rates(run)
        series.append(_bin_steps(run, [row[0] / per_unit for row in rows], [row[1] for row in rows], per_unit))
        records += [(run.label, *row) for row in rows]
    panel = AxesPanel("Throughput", f"time since the start ({unit})", "evaluations per hour", tuple(series), from_zero=True)
    numbers = "; ".join(f"{run.label}: {len(run.evaluations):,} evaluations" for run in timed)
    caption = f"Evaluations finished in each of up to 40 equal spans, as a rate. {numbers}."
    return Chart(
        "throughput", "Evaluations per hour", caption, (panel,), ("run", "seconds", "evaluations_per_hour"), tuple(records)
    )


def _rates(run: RunRows) -> list[tuple[float, float]]:
    start, seconds = run.started, run.seconds or 0.0
    evaluated = {row.id for row in run.evaluations}
    # Attempts come by token, so the last one stands here: the one that made the genotype evaluated.
    last = {row.individual_id: row.ended for row in run.attempts if row.individual_id in evaluated and row.ended is not None}
    # Eight evaluations in each on average: with fewer, a rate shows chance.
    bins = max(4, min(40, len(last) // 8))
    width = seconds / bins
    finished = Counter(min(bins - 1, int((ended - start) / width)) for ended in last.values())
    return [(index * width, finished[index] * 3600 / width) for index in range(bins)]


def failures_chart(runs: Sequence[RunRows]) -> Chart:
    """Failed attempts by cause; lost and preempted ones are no failures."""
    counts = [(run, Counter(row.outcome for row in run.attempts if row.outcome not in NEUTRAL_OUTCOMES)) for run in runs]
    causes = [cause for cause, _ in sum((count for _, count in counts), Counter()).most_common()]
    series = tuple(
        Series(run.label, tuple(range(len(causes))), tuple(count[cause] for cause in causes), "bars")
        for run, count in counts
        if causes
    )
    panel = AxesPanel("Failed attempts", "cause", "attempts", series, categories=tuple(causes), from_zero=True, is_counted=True)
    records: list[tuple[Scalar, ...]] = [(run.label, cause, count[cause]) for run, count in counts for cause in causes]
    numbers = "; ".join(
        f"{run.label}: {sum(count.values()):,} of {len(run.attempts):,} attempts, {run.counts.failed} genotypes given up, "
        f"{sum(row.outcome in (LOST, PREEMPTED) for row in run.attempts):,} attempts lost or preempted, which are no failures"
        for run, count in counts
    )
    return Chart("failures", "Failures by cause", f"{numbers}.", (panel,), ("run", "cause", "attempts"), tuple(records))


def noise_chart(runs: Sequence[RunRows]) -> Chart:
    """Standard deviation between the repeats of a genotype against its fitness."""
    rows = [(run, [row for row in run.evaluations if row.fitness.std is not None]) for run in runs]
    series = tuple(
        Series(
            run.label,
            tuple(100 * row.fitness.mean for row in noisy),
            tuple(100 * (row.fitness.std or 0.0) for row in noisy),
            "points",
        )
        for run, noisy in ((run, sorted(noisy, key=lambda row: row.fitness.mean)) for run, noisy in rows)
        if noisy
    )
    panel = AxesPanel("Noise", "fitness (%)", "std between repeats (%)", series, from_zero=True)
    pooled = "; ".join(f"{run.label}: {_pooled(noisy):.2f} % over {len(noisy):,} genotypes" for run, noisy in rows if noisy)
    caption = f"Sample standard deviation between the repeats of each genotype. Pooled (root of the mean variance): {pooled}."
    records = tuple(
        (run.label, row.id, 100 * row.fitness.mean, 100 * (row.fitness.std or 0.0), row.fitness.n)
        for run, noisy in rows
        for row in noisy
    )
    fields = ("run", "individual", "fitness_percent", "std_percent", "repeats")
    return Chart(
        "noise", "Noise between repeats", caption if pooled else "No genotype has two repeats.", (panel,), fields, records
    )


def _pooled(rows: Sequence[Evaluation]) -> float:
    variances = [(row.fitness.std or 0.0) ** 2 for row in rows]
    return 100 * math.sqrt(sum(variances) / len(variances))


def time_unit(runs: Sequence[RunRows]) -> tuple[str, float]:
    """The unit for a time axis over these runs, and its seconds."""
    longest = max((run.seconds or 0.0 for run in runs), default=0.0)
    if longest < 300:
        return "seconds", 1.0
    return ("minutes", 60.0) if longest < 3 * 3600 else ("hours", 3600.0) if longest < 96 * 3600 else ("days", 86400.0)
