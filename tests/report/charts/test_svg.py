"""The numbers beside an axis of the page's charts."""

import pytest

from hpcnas.report.charts.svg import ticks


@pytest.mark.parametrize(
    ("low", "high", "least_step", "expected"),
    [
        (0, 100, 0, [0, 20, 40, 60, 80, 100]),
        (0, 2.1, 0, [0, 0.5, 1, 1.5, 2]),
        (0, 2.1, 1, [0, 1, 2]),
        (-1.5, 4.2, 0, [-1, 0, 1, 2, 3, 4]),
    ],
)
def test_round_numbers_and_whole_ones_where_things_are_counted(low, high, least_step, expected):
    assert ticks(low, high, least_step=least_step) == pytest.approx(expected)
