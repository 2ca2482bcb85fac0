"""Charts as SVG, PDF and PNG by matplotlib, and their data as CSV beside them.

Runs differ by line style, marker and brightness as well as by colour, so that a print in grey can be read.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from hpcnas.report.charts.chart import AxesPanel, Chart, Series
from hpcnas.report.drawing.styles import operation_styles
from hpcnas.report.files import refuse_existing, write_file
from hpcnas.report.own_matplotlib import Artist, Axes, Figure, Line2D, MaxNLocator, Patch, own_settings

# Okabe and Ito's colours, ordered so that neighbours differ in brightness too.
COLOURS = ("#0072b2", "#e69f00", "#000000", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
Line = str | tuple[float, tuple[float, ...]]
LINES: tuple[Line, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "x", "^", "s", "+", "D", "v")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")
PANEL_INCHES = (4.2, 3.3)
DPI = 150


def save_charts(charts: Sequence[Chart], folder: Path, *, force: bool = False) -> list[Path]:
    """Write `<name>.svg`, `<name>.pdf`, `<name>.png` and `<name>.csv` of every chart that has data.

    Raises:
        UsageError: one of the files is there already and `force` is not given; then nothing is written.
    """
    drawn = [chart for chart in charts if not chart.is_empty]
    paths = [folder / f"{chart.name}.{ending}" for chart in drawn for ending in ("svg", "pdf", "png", "csv")]
    refuse_existing(paths, force=force)
    for chart in drawn:
        # Without a date and with a fixed salt, the same data gives the same file.
        with own_settings(svg_hashsalt=chart.name, pdf_fonttype=42):
            figure = draw(chart)
            write_file(folder / f"{chart.name}.svg", _rendered(figure, "svg", {"Date": None, "Title": chart.title}))
            write_file(folder / f"{chart.name}.pdf", _rendered(figure, "pdf", {"CreationDate": None, "Title": chart.title}))
            write_file(folder / f"{chart.name}.png", _rendered(figure, "png", {"Title": chart.title}))
        write_file(folder / f"{chart.name}.csv", chart.csv())
    return paths


def _rendered(figure: Figure, form: str, metadata: dict[str, str | None]) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format=form, dpi=DPI, metadata=metadata)
    return data.getvalue()


def draw(chart: Chart) -> Figure:
    """The chart as a matplotlib figure: its panels side by side, one legend below them."""
    panels = [panel for panel in chart.panels if not panel.is_empty]
    width, height = PANEL_INCHES
    legend_rows = _legend_rows(panels, width * len(panels))
    figure = Figure(figsize=(width * len(panels), height + 0.25 * legend_rows), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel)
    _legend(figure, panels)
    return figure


def _draw_panel(axes: Axes, panel: AxesPanel) -> None:
    for index in range(len(panel.series)):
        _draw_series(axes, panel, index)
    axes.set_title(panel.title, fontsize="medium")
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    if panel.y_max is not None:
        # A little more than the end, or a line along 100 % would be cut in half.
        axes.set_ylim(top=panel.y_max * 1.03)
    if panel.categories:
        axes.set_xticks(range(len(panel.categories)), panel.categories, rotation=30, ha="right")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if panel.is_counted:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_series(axes: Axes, panel: AxesPanel, index: int) -> None:
    series, total = panel.series[index], len(panel.series)
    colour, line, thickness = _look(panel, index)
    marker, hatch = MARKERS[index % len(MARKERS)], HATCHES[index % len(HATCHES)]
    if series.style == "bars":
        width = 0.8 / total
        x = [position - 0.4 + (index + 0.5) * width for position in series.x]
        axes.bar(x, series.y, width, label=series.label, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
    elif series.style == "points":
        many = len(series.x) > 2000  # as vectors they would make an SVG of megabytes
        size = 3 if many else 8 if len(series.x) > 300 else 16
        axes.scatter(
            series.x,
            series.y,
            size,
            label=series.label,
            color=colour,
            marker=marker,
            linewidths=0.8,
            alpha=0.75,
            rasterized=many,
        )
    elif series.style == "steps":
        axes.step(series.x, series.y, where="post", label=series.label, color=colour, linestyle=line, linewidth=thickness)
    else:
        drawn = axes.errorbar(series.x, series.y, _bars(series), label=series.label, color=colour, capsize=3, linewidth=1.4)
        drawn.lines[0].set(linestyle=line, marker=marker, markersize=5)


def _look(panel: AxesPanel, index: int) -> tuple[str, Line, float]:
    """Colour, line and its width in points: of the operation in drawings, else of the place among the series."""
    if name := panel.series[index].operation:
        style = operation_styles(series.operation for series in panel.series if series.operation)[name]
        return style.colour, (0, style.dashes) if style.dashes else "-", style.width
    return COLOURS[index % len(COLOURS)], LINES[index % len(LINES)], 1.6


def _bars(series: Series) -> list[list[float]] | None:
    if not series.low:
        return None
    below = [y - low for y, low in zip(series.y, series.low, strict=True)]
    return [below, [high - y for y, high in zip(series.y, series.high, strict=True)]]


def _legend_rows(panels: Sequence[AxesPanel], width: float) -> int:
    labels = _labels(panels)
    return -(-len(labels) // _legend_columns(labels, width))


def _legend_columns(labels: Sequence[str], width: float) -> int:
    longest = max(map(len, labels))
    return max(1, min(len(labels), int(width / (0.09 * longest + 0.7))))


def _labels(panels: Sequence[AxesPanel]) -> list[str]:
    return list(dict.fromkeys(series.label for panel in panels for series in panel.series))


def _legend(figure: Figure, panels: Sequence[AxesPanel]) -> None:
    labels = _labels(panels)
    columns = _legend_columns(labels, figure.get_size_inches()[0])
    handles = [_legend_handle(panels, label) for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small", handlelength=3)


def _legend_handle(panels: Sequence[AxesPanel], label: str) -> Artist:
    """Line style and marker of a label as the panels use them, both when one has points and another a line."""
    uses = [(panel, index) for panel in panels for index, series in enumerate(panel.series) if series.label == label]
    styles = {panel.series[index].style for panel, index in uses}
    colour, line, thickness = _look(*uses[0])
    index = uses[0][1]
    if styles == {"bars"}:
        return Patch(facecolor=colour, hatch=HATCHES[index % len(HATCHES)], edgecolor="white")
    handle = Line2D([], [], color=colour, markersize=5, linewidth=thickness)
    handle.set(linestyle=line if styles & {"line", "steps"} else "none")
    handle.set(marker=MARKERS[index % len(MARKERS)] if styles & {"line", "points"} else "none")
    return handle
