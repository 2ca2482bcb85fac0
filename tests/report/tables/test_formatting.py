import statistics

import pytest

from hpcnas.report.tables.formatting import Spread, TopErrors, duration, short_count, short_hours


def test_a_spread_has_the_sample_standard_deviation():
    """n - 1, as the paper's tables have it."""
    values = [0.91, 0.93, 0.90, 0.94]
    spread = Spread.of(values)
    assert spread is not None
    assert spread.mean == pytest.approx(statistics.fmean(values))
    assert spread.std == pytest.approx(statistics.stdev(values))
    assert str(spread.scaled(100)) == "92.00 ± 1.83 (4)"


def test_one_value_has_no_spread_and_none_is_none():
    assert str(Spread.of([0.5])) == "0.50 (1)"
    assert Spread.of([]) is None


def test_an_unknown_top5_error_is_a_dash():
    assert str(TopErrors(21.04, None, 2)) == "21.0/- (2)"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (4394, "4,394"),
        (26_794, "27K"),
        (535_034, "535K"),
        (999_499, "999K"),
        (999_600, "1.0M"),
        (15_706_314, "15.7M"),
        (2.5e8, "250M"),
    ],
)
def test_parameters_are_written_as_papers_do(number, text):
    assert short_count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0.4 s"), (42, "42 s"), (200, "3 min 20 s"), (3599.6, "1 h 00 min"), (18_180, "5 h 03 min"), (129_600, "1 d 12 h")],
)
def test_durations_carry_into_the_next_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("hours", "text"), [(0.00421, "0.0042"), (0.5, "0.5"), (12.34, "12.3"), (7000, "7,000")])
def test_hours_keep_two_digits(hours, text):
    assert short_hours(hours) == text
