"""Charts as inline SVG for the page: they take the page's colours, print, and carry the data for hovering.

One SVG per panel, so that panels stand side by side on a desk and below each other on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from hpcnas.report.charts.chart import AxesPanel, Series

WIDTH, HEIGHT = 460, 320  # px of the view box
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 46
STYLES = 6  # classes s0..s5 of page.css, each with its colour, line and marker
MOST_POINTS = 8000  # of a series on the page; more are thinned evenly

# Markers as relative paths, so that a print in grey can be read and 7,000 of them stay small.
MARKERS = ("h0", "m-2-2l4 4m0-4l-4 4", "m0-3l3 5h-6z", "m-2-2h4v4h-4z", "m-3 0h6m-3-3v6", "m0-3l3 3l-3 3l-3-3z")


@dataclass(frozen=True, slots=True)
class _Axes:
    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, value: float) -> float:
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def panel_svg(panel: AxesPanel) -> str:
    """The panel as one `<svg>` element; colours and line styles come from the classes s0, s1, ... of the page."""
    axes = _axes(panel)
    label = escape(f"{panel.title}: {panel.y_label} against {panel.x_label}; use the arrow keys to read the values", quote=True)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" aria-label="{label}">', _grid(panel, axes)]
    parts += [_series(series, index, len(panel.series), axes) for index, series in enumerate(panel.series)]
    parts.append('<g class="cursor" visibility="hidden"><circle r="5"/></g></svg>')
    return "".join(parts)


def panel_data(panel: AxesPanel) -> dict[str, object]:
    """The data for hovering: the geometry in view box units, and the points (thinned when there are very many)."""
    axes = _axes(panel)
    points = [
        {"label": series.label, "x": [round_off(x) for x in thinned(series.x)], "y": [round_off(y) for y in thinned(series.y)]}
        for series in panel.series
    ]
    box = [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM]
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
    return _Axes(x_range, (low, high))


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    margin = (high - low) * share or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, most: int = 6, least_step: float = 0.0) -> list[float]:
    """At most about `most` round numbers (1, 2 or 5 times a power of ten, and at least `least_step` apart) in [low, high]."""
    rough = max((high - low) / most, least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _grid(panel: AxesPanel, axes: _Axes) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in ticks(*axes.y, least_step=1.0 if panel.is_counted else 0.0):
        y = axes.py(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{value:,.6g}</text>')
    x_ticks = enumerate(panel.categories) if panel.categories else [(value, f"{value:,.6g}") for value in ticks(*axes.x)]
    for x, text in x_ticks:
        place = f'x="{axes.px(x):.1f}" y="{bottom + 16}"'
        parts.append(f'<text class="x" {place}>{escape(text[:14])}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<text class="name" x="{(LEFT + right) / 2}" y="{HEIGHT - 10}">{escape(panel.x_label)}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<text class="name" transform="translate(14 {middle}) rotate(-90)">{escape(panel.y_label)}</text>')
    return "".join(parts)


def _series(series: Series, index: int, total: int, axes: _Axes) -> str:
    kind = f"s{index % STYLES}"
    x, y = [axes.px(value) for value in thinned(series.x)], [axes.py(value) for value in thinned(series.y)]
    if series.style == "bars":
        return _bars(x, y, kind, index, total, axes)
    if series.style == "points":
        marker = MARKERS[index % len(MARKERS)]
        few = " few" if len(x) < 500 else ""
        return (
            f'<path class="points {kind}{few}" d="{"".join(f"M{a:.1f} {b:.1f}{marker}" for a, b in zip(x, y, strict=True))}"/>'
        )
    if not x:
        return ""
    if series.style == "steps":
        rest = "".join(f"H{a:.1f}V{b:.1f}" for a, b in zip(x[1:], y[1:], strict=True))
        return f'<path class="line {kind}" d="M{x[0]:.1f} {y[0]:.1f}{rest}"/>'
    pairs = list(zip(x, series.low, series.high, strict=False))
    bars = "".join(f"M{a:.1f} {axes.py(low):.1f}V{axes.py(high):.1f}" for a, low, high in pairs)
    dots = "".join(f"M{a:.1f} {b:.1f}{MARKERS[index % len(MARKERS)]}" for a, b in zip(x, y, strict=True))
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


def legend_swatch(index: int, styles: set[str]) -> str:
    """A small picture of a series' look, for the legend."""
    kind = f"s{index % STYLES}"
    begin = '<svg class="swatch" viewBox="0 0 30 12" aria-hidden="true">'
    if "bars" in styles:
        return f'{begin}<rect class="bar {kind}" x="6" width="18" height="12"/></svg>'
    line = f'<path class="line {kind}" d="M0 6H30"/>' if styles & {"line", "steps"} else ""
    marker = (
        f'<path class="points few {kind}" d="M15 6{MARKERS[index % len(MARKERS)]}"/>' if styles & {"line", "points"} else ""
    )
    return f"{begin}{line}{marker}</svg>"
