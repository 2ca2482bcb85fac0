"""Charts before they are drawn: panels of series, and the data that goes beside them as CSV.

matplotlib draws them for papers (plot.py), svg.py for the page; both read these values only.
"""

import csv
import io
from dataclasses import dataclass, field
from typing import Literal

from hpcnas.report.quoting import csv_cell

Style = Literal["line", "steps", "points", "bars"]
Scalar = str | int | float | None


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one run or kind; x ascending.

    Attributes:
        low, high: ends of the error bar of each point; empty where there are none.
        operation: the primitive whose colour and line in drawings the series takes; "" for those of its place.
        run: label of the run that it is about; "" where `label` is that.
        ids: of each point, the genotype that it stands for; empty where it stands for none.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: Style = "line"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    operation: str = ""
    run: str = ""
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AxesPanel:
    """One pair of axes.

    Attributes:
        x_label, y_label: with their units.
        categories: names of x = 0, 1, 2, ... when x counts kinds instead of measuring.
        y_max: the end of the y axis, where nature gives one, such as 100 %.
        from_zero: whether the y axis starts at 0.
        is_counted: whether y counts things, so that its axis has whole numbers alone.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    from_zero: bool = False
    y_max: float | None = None
    is_counted: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(series.x for series in self.series)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure: `name` is its file name, `caption` says what is seen and how many measurements it rests on."""

    name: str
    title: str
    caption: str
    panels: tuple[AxesPanel, ...]
    fields: tuple[str, ...]
    records: tuple[tuple[Scalar, ...], ...] = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether no panel has anything to draw."""
        return all(panel.is_empty for panel in self.panels)

    def csv(self) -> str:
        """The data behind the chart, one record a line; None is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.fields)
        writer.writerows([csv_cell(value) for value in record] for record in self.records)
        return text.getvalue()
