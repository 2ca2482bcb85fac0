import csv
import io
from dataclasses import replace

import pytest

from hpcnas.report.charts.cluster import BINS, failures_chart, noise_chart, throughput_chart, workers_chart
from hpcnas.report.charts.search import figure3, figure4
from hpcnas.report.page_board import failures
from hpcnas.report.tables.formatting import Spread
from hpcnas.report.views import AttemptView, WorkerSpan, best_so_far

START = 1_700_000_000.0


def test_figure3_has_fitness_best_and_size_of_every_step(make_rows):
    runs = [make_rows("a", steps=120), make_rows("b", steps=80, seed=1)]
    chart = figure3(runs)
    fitness, best, size = chart.panels
    assert [series.label for series in fitness.series] == ["a", "b"]
    assert fitness.series[0].x == tuple(range(1, 121))
    assert best.series[0].y == pytest.approx(
        [100 * max(row.fitness.mean for row in runs[0].evaluations[:k]) for k in range(1, 121)]
    )
    assert size.series[1].y[0] == runs[1].evaluations[0].parameters / 1000
    assert all("(" in panel.y_label for panel in chart.panels), "every axis has its unit"
    rows = list(csv.DictReader(io.StringIO(chart.csv())))
    assert len(rows) == 200
    assert float(rows[119]["best_percent"]) == pytest.approx(100 * runs[0].best.fitness.mean)


def test_figure4_compares_record_setters_with_the_first_genotype(make_rows, make_finals):
    """Gain of the full size = error of the first minus error of the record-setter; only where both are trained."""
    run = make_rows(steps=200)
    records = list(dict.fromkeys(best_so_far(run.evaluations)))
    finals = (*make_finals(records[0].id, (6.0, 6.2)), *make_finals(records[-1].id, (4.0, 4.4)))
    chart = figure4([make_rows(steps=200, finals=finals)])
    small, large = chart.panels[0].series
    assert small.y[0] == 0
    assert small.y[-1] == pytest.approx(100 * (records[-1].fitness.mean - records[0].fitness.mean))
    assert (small.x[-2], small.x[-1]) == (records[-1].id, 200), "the last record stands until the end"
    assert large.x == (records[0].id, records[-1].id)
    assert large.y == pytest.approx((0.0, 1.9))
    assert large.high[1] - large.y[1] == pytest.approx(0.2828, abs=1e-3)


def test_figure4_without_trainings_says_how_to_get_them(make_rows):
    assert "hpcnas final best-so-far" in figure4([make_rows()]).caption


def with_times(run, attempts, workers, ended):
    return replace(run, attempts=tuple(attempts), workers=tuple(workers), started=START, ended=START + ended)


def test_live_workers_are_counted_between_joining_and_leaving(make_rows):
    """Two of four quarters with one worker more: exact means per bin, whatever the bins."""
    workers = [WorkerSpan("a", "n", START, None), WorkerSpan("b", "n", START + 25, START + 75)]
    attempts = [AttemptView(1, "a", "n", START, START + 50, "evaluated"), AttemptView(2, "b", "n", START + 50, None, "")]
    chart = workers_chart([with_times(make_rows(), attempts, workers, 100)])
    rows = [tuple(map(float, row[1:])) for row in chart.records]
    assert len(rows) == BINS
    assert [row[1] for row in rows] == pytest.approx([1.0] * 30 + [2.0] * 60 + [1.0] * 30)
    assert sum(row[2] for row in rows) / BINS == pytest.approx(1.0)
    assert chart.panels[0].x_label == "time since the start (seconds)"
    assert chart.panels[0].series[0].x[-1] == 100, "the last bin is drawn to its end"


def test_throughput_counts_every_evaluation_once(make_rows):
    """Also those whose first attempt was lost."""
    run = make_rows(steps=200)
    rows = throughput_chart([run]).records
    width_hours = (rows[1][1] - rows[0][1]) / 3600
    assert sum(row[2] for row in rows) * width_hours == pytest.approx(200)


def test_failures_are_counted_by_cause_for_each_run(make_rows):
    runs = [make_rows("a", steps=400), make_rows("b", steps=400, seed=3)]
    counted = {(run, cause): attempts for run, cause, attempts in failures_chart(runs).records}
    for run in runs:
        for cause in ("crash", "oom"):
            assert counted[run.label, cause] == sum(row.outcome == cause for row in run.attempts)


def test_lost_and_preempted_attempts_are_no_failures(make_rows):
    """As in `hpcnas failures`; the caption names them."""
    run = make_rows(steps=400)
    chart = failures_chart([run])
    assert {cause for _, cause, _ in chart.records} == {"crash", "oom"}
    assert {row["cause"] for row in failures([run])} == {"crash", "oom"}
    neutral = sum(row.outcome in ("lost", "preempted") for row in run.attempts)
    assert neutral > 0
    assert f"{neutral} attempts lost or preempted, which are no failures" in chart.caption


def test_noise_leaves_out_genotypes_with_one_repeat(make_rows):
    run = make_rows(steps=20)
    single = replace(run.evaluations[0], fitness=Spread(0.5, None, 1))
    chart = noise_chart([replace(run, evaluations=(single, *run.evaluations[1:]))])
    assert len(chart.records) == 19


def test_runs_without_a_start_leave_their_charts_empty(make_rows):
    run = with_times(make_rows(steps=0), [], [], 0)
    charts = (
        figure3([run]),
        figure4([run]),
        workers_chart([run]),
        throughput_chart([run]),
        failures_chart([run]),
        noise_chart([run]),
    )
    assert all(chart.is_empty for chart in charts)
