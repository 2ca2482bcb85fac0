"""Charts as inline SVG for the page: they take the page's colours, print, and carry the data for hovering.

One SVG per panel, so that panels stand side by side on a desk and below each other on a phone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from hpcnas.report.charts.chart import AxesPanel, Series
from hpcnas.report.drawing.styles import operation_styles

WIDTH, HEIGHT = 460, 320  # px of the view box
RIGHT, TOP, BOTTOM = 12, 12, 46
NAME, DIGIT = 26, 7.2  # px of the y axis' name, which stands upright, and of a figure of its numbers
STYLES = 6  # classes s0..s5 of page.css, each with its colour, line and marker; runs beyond them share
MOST_POINTS = 8000  # of a series on the page; more are thinned evenly

# Markers as relative paths, so that a print in grey can be read and 7,000 of them stay small.
MARKERS = ("h0", "m-2-2l4 4m0-4l-4 4", "m0-3l3 5h-6z", "m-2-2h4v4h-4z", "m-3 0h6m-3-3v6", "m0-3l3 3l-3 3l-3-3z")


@dataclass(frozen=True, slots=True)
class _Axes:
    x: tuple[float, float]
    y: tuple[float, float]
    y_ticks: tuple[float, ...]
    left: float  # px: so far that the widest number has room beside the axis' name

    def px(self, value: float) -> float:
        """The place of an x in the view box."""
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - self.left - RIGHT)

    def py(self, value: float) -> float:
        """The place of a y in the view box, which counts from the top."""
        return HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def panel_svg(panel: AxesPanel, runs: Mapping[str, int]) -> str:
    """The panel as one `<svg>` element; colours and line styles come from the classes s0, s1, ... of the page.

    Args:
        runs: the place of each run by its label, which marks the series of a run.
    """
    axes = _axes(panel)
    label = escape(f"{panel.title}: {panel.y_label} against {panel.x_label}; use the arrow keys to read the values", quote=True)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" aria-label="{label}">', _grid(panel, axes)]
    for index, series in enumerate(panel.series):
        mark = "" if (run := run_of(series, runs)) is None else f' data-run="{run}"'
        parts.append(f"<g{mark}>{_series(panel, index, _place(series, index, runs), axes)}</g>")
    parts.append('<g class="cursor" visibility="hidden"><circle r="5"/></g></svg>')
    return "".join(parts)


def run_of(series: Series, runs: Mapping[str, int]) -> int | None:
    """The place of the run that a series is about."""
    return runs.get(series.run or series.label)


def _place(series: Series, index: int, runs: Mapping[str, int]) -> int:
    """Which look it gets: that of its run, the same in every figure; else that of its place in the panel."""
    run = run_of(series, runs)
    return (index if run is None else run) % STYLES


def panel_data(panel: AxesPanel, runs: Mapping[str, int]) -> dict[str, object]:
    """The data for hovering: the geometry in view box units, and the points (thinned when there are very many)."""
    axes = _axes(panel)
    points = [
        {
            "label": series.label,
            "run": run_of(series, runs),
            "x": [round_off(x) for x in thinned(series.x)],
            "y": [round_off(y) for y in thinned(series.y)],
            **({"ids": thinned(series.ids)} if series.ids else {}),
        }
        for series in panel.series
    ]
    box = [axes.left, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM]
    names = {"xLabel": panel.x_label, "yLabel": panel.y_label, "categories": list(panel.categories)}
    return {"box": box, "x": list(axes.x), "y": list(axes.y), "series": points, **names}


def thinned(values: Sequence[float]) -> Sequence[float]:
    """Every k-th value, so that at most MOST_POINTS are left, the last one included."""
    step = -(-len(values) // MOST_POINTS)
    if step <= 1:
        return values
    return [*values[:-1:step], values[-1]]


def round_off(value: float) -> float | int:
    """Six significant digits: more than a screen shows."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def _axes(panel: AxesPanel) -> _Axes:
    xs = [x for series in panel.series for x in (series.x[:1] + series.x[-1:])]
    if panel.series and not panel.categories:
        xs += [min(series.x) for series in panel.series if series.x] + [max(series.x) for series in panel.series if series.x]
    ys = [y for series in panel.series for y in (*series.y, *series.low, *series.high)]
    if panel.categories:
        x_range = (-0.5, len(panel.categories) - 0.5)
    else:
        x_range = _padded(min(xs, default=0.0), max(xs, default=1.0), 0.02)
    low, high = _padded(min(ys, default=0.0), max(ys, default=1.0), 0.05)
    if panel.from_zero:
        low = 0.0
    if panel.y_max is not None:
        high = panel.y_max * 1.03
    y_ticks = ticks(low, high, least_step=1.0 if panel.is_counted else 0.0)
    left = NAME + 6 + DIGIT * max((len(f"{value:,.6g}") for value in y_ticks), default=1)
    return _Axes(x_range, (low, high), tuple(y_ticks), left)


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    # A single point, or equal ones, have no extent: without a margin the scale would divide by zero.
    margin = (high - low) * share or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, most: int = 6, least_step: float = 0.0) -> list[float]:
    """At most about `most` round numbers (1, 2 or 5 times a power of ten, and at least `least_step` apart) in [low, high]."""
    rough = max((high - low) / most, least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    # Multiples of the step, not sums, which drift; 1e-9 keeps an end that rounding puts outside.
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _grid(panel: AxesPanel, axes: _Axes) -> str:
    left, bottom, right = axes.left, HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in axes.y_ticks:
        y = axes.py(value)
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right}"/>')
        parts.append(f'<text class="y" x="{left - 6:.1f}" y="{y + 4:.1f}">{value:,.6g}</text>')
    x_ticks = enumerate(panel.categories) if panel.categories else [(value, f"{value:,.6g}") for value in ticks(*axes.x)]
    for x, text in x_ticks:
        place = f'x="{axes.px(x):.1f}" y="{bottom + 16}"'
        parts.append(f'<text class="x" {place}>{escape(text[:14])}</text>')
    parts.append(f'<path class="axis" d="M{left:.1f} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<text class="name" x="{(left + right) / 2:.1f}" y="{HEIGHT - 10}">{escape(panel.x_label)}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<text class="name" transform="translate(14 {middle}) rotate(-90)">{escape(panel.y_label)}</text>')
    return "".join(parts)


def _look(panel: AxesPanel, index: int, place: int) -> str:
    """The class of a look, or the style of the series' operation as drawings have it; page.css reads both."""
    operation = panel.series[index].operation
    if not operation:
        return f's{place}"'
    style = operation_styles(series.operation for series in panel.series if series.operation)[operation]
    dashes = " ".join(f"{part * style.width:.2f}" for part in style.dashes) or "none"
    return f'op" style="--o:{style.colour};stroke-width:{style.width:.2f};stroke-dasharray:{dashes}"'


def _series(panel: AxesPanel, index: int, place: int, axes: _Axes) -> str:
    series, kind = panel.series[index], f"s{place}"
    x, y = [axes.px(value) for value in thinned(series.x)], [axes.py(value) for value in thinned(series.y)]
    if series.style == "bars":
        return _bars(x, y, kind, index, len(panel.series), axes)
    if series.style == "points":
        marker = MARKERS[place]
        few = " few" if len(x) < 500 else ""
        return (
            f'<path class="points {kind}{few}" d="{"".join(f"M{a:.1f} {b:.1f}{marker}" for a, b in zip(x, y, strict=True))}"/>'
        )
    if not x:
        return ""
    if series.style == "steps":
        rest = "".join(f"H{a:.1f}V{b:.1f}" for a, b in zip(x[1:], y[1:], strict=True))
        return f'<path class="line {_look(panel, index, place)} d="M{x[0]:.1f} {y[0]:.1f}{rest}"/>'
    pairs = list(zip(x, series.low, series.high, strict=False))
    bars = "".join(f"M{a:.1f} {axes.py(low):.1f}V{axes.py(high):.1f}" for a, low, high in pairs)
    dots = "".join(f"M{a:.1f} {b:.1f}{MARKERS[place]}" for a, b in zip(x, y, strict=True))
    line = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    paths = (("line", f"M{line}"), ("error", bars), ("points few", dots))
    return "".join(f'<path class="{look} {kind}" d="{path}"/>' for look, path in paths)


def _bars(x: Sequence[float], y: Sequence[float], kind: str, index: int, total: int, axes: _Axes) -> str:
    slot = 0.8 * (axes.px(1) - axes.px(0)) / total
    zero, width = axes.py(0), max(1.0, slot - 2)
    left = (index - 0.5 * total) * slot
    places = [(a + left, b, max(0.0, zero - b)) for a, b in zip(x, y, strict=True)]
    return "".join(
        f'<rect class="bar {kind}" x="{a:.1f}" y="{b:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        for a, b, height in places
    )


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A label, a small picture of its series' look, and the run that they are about; "" where they are of several."""

    label: str
    swatch: str
    run: str


def legend_entries(panels: Sequence[AxesPanel], runs: Mapping[str, int]) -> list[LegendEntry]:
    """One for each label of the panels' series, whichever panels have it."""
    uses: dict[str, list[tuple[AxesPanel, int]]] = {}
    for panel in panels:
        for index, series in enumerate(panel.series):
            uses.setdefault(series.label, []).append((panel, index))
    entries = []
    for label, places in uses.items():
        same = [panel.series[index] for panel, index in places]
        about = {one.run or one.label for one in same}
        swatch = _swatch(*places[0], _place(same[0], places[0][1], runs), {one.style for one in same})
        entries.append(LegendEntry(label, swatch, about.pop() if len(about) == 1 else ""))
    return entries


def _swatch(panel: AxesPanel, index: int, place: int, styles: set[str]) -> str:
    kind = f"s{place}"
    begin = '<svg class="swatch" viewBox="0 0 30 12" aria-hidden="true">'
    if "bars" in styles:
        return f'{begin}<rect class="bar {kind}" x="6" width="18" height="12"/></svg>'
    line = f'<path class="line {_look(panel, index, place)} d="M0 6H30"/>' if styles & {"line", "steps"} else ""
    marker = f'<path class="points few {kind}" d="M15 6{MARKERS[place]}"/>' if styles & {"line", "points"} else ""
    return f"{begin}{line}{marker}</svg>"
