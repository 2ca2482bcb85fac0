"""A genotype as SVG and PNG, laid out here and drawn by matplotlib; readable in grey.

Nodes stand in a row, in topological order. Edges between neighbours are straight; the others are arcs, those over an
even number of nodes' distance above, odd ones below, the farther the higher, so that no two labels meet.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from hpcnas.report.drawing.content import Drawing, Edge, GraphPanel, Node
from hpcnas.report.own_matplotlib import Axes, Curve, FancyArrowPatch, FancyBboxPatch, Figure, own_settings

# All lengths in inches, so that letters keep their size however large the drawing grows.
_BOX = (0.56, 0.36)
_STEP = 1.5  # from node to node: a box and the longest label, depthwise3x3
_FIRST_RISE = 0.45
_RISE = 0.38  # from arc to arc: a label and some air
_STEEP_RISE = 0.65  # with many arcs: their feet stand close together, so they must part quickly
_GAP = 0.35
_TITLE = 0.3
_MARGIN = 0.25
_WIDEST_ROW = 3 * (3 * _STEP + _BOX[0]) + 2 * _GAP
_LIVE, _DEAD, _DEAD_TEXT = "0.1", "0.6", "0.4"
_LINES = {"identity": (0, (1, 0)), "maxpool3x3": (0, (5, 2)), "avgpool3x3": (0, (5, 2, 1, 2))}
_THICK = {"separable3x3": 2.2, "conv1x1": 1.5, "depthwise3x3": 1.5, "identity": 0.7}
_DPI = 150
_WIDEST_IMAGE = 16_000  # dots; wider ones are more than most viewers open


@dataclass(frozen=True, slots=True)
class _Placed:
    """A panel with its size and, once set, the place of its left lower corner."""

    panel: GraphPanel
    above: tuple[int, ...]  # distances of the arcs above, ascending; the index gives the height
    below: tuple[int, ...]
    left: float = 0.0
    bottom: float = 0.0

    @property
    def width(self) -> float:
        return (len(self.panel.nodes) - 1) * _STEP + _BOX[0]

    @property
    def height(self) -> float:
        return _TITLE + self.rise(self.above[-1:]) + _BOX[1] + self.rise(self.below[-1:]) + 0.2

    @property
    def line(self) -> float:
        """The height of the row of nodes."""
        return self.bottom + 0.2 + self.rise(self.below[-1:]) + _BOX[1] / 2

    def centre(self, index: int) -> float:
        return self.left + _BOX[0] / 2 + index * _STEP

    def rise(self, span: tuple[int, ...]) -> float:
        """How high the arc over one distance is; 0 for no arc."""
        if not span:
            return 0.0
        step = _RISE if len(self.above) <= 2 else _STEEP_RISE
        return _FIRST_RISE + step * (self.above if span[0] % 2 == 0 else self.below).index(span[0])


def drawing_svg(drawing: Drawing) -> str:
    """The drawing as an SVG document; the same drawing gives the same text."""
    buffer = io.StringIO()
    with own_settings(svg_fonttype="none"):
        _figure(drawing).savefig(buffer, format="svg", metadata={"Date": None, "Title": drawing.title})
    return buffer.getvalue()


def drawing_png(drawing: Drawing) -> bytes:
    """The drawing as a PNG image of 150 dots an inch, less where it would be wider than 16,000 dots."""
    buffer = io.BytesIO()
    with own_settings():
        figure = _figure(drawing)
        figure.savefig(buffer, format="png", dpi=_dpi(figure))
    return buffer.getvalue()


def _dpi(figure: Figure) -> float:
    return float(min(_DPI, _WIDEST_IMAGE / max(figure.get_size_inches())))


def _figure(drawing: Drawing) -> Figure:
    placed = _arrange([_measure(panel) for panel in drawing.panels])
    notes = "  ".join(drawing.notes)
    width = max(max(box.left + box.width for box in placed) + _MARGIN, 0.062 * len(notes) + 2 * _MARGIN)
    top = max(box.bottom + box.height for box in placed)
    height = top + 0.6
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    axes.text(_MARGIN, top + 0.35, drawing.title, fontsize=12, weight="bold")
    axes.text(_MARGIN, 0.12, notes, fontsize=8)
    for box in placed:
        _draw_panel(axes, box)
    return figure


def _measure(panel: GraphPanel) -> _Placed:
    place = {node.number: index for index, node in enumerate(panel.nodes)}
    spans = sorted({place[edge.target] - place[edge.source] for edge in panel.edges} - {1})
    return _Placed(panel, tuple(s for s in spans if s % 2 == 0), tuple(s for s in spans if s % 2))


def _arrange(panels: list[_Placed]) -> list[_Placed]:
    """Fill rows from the top: each panel beside the one before while there is room, the first (the cell) alone."""
    rows: list[list[_Placed]] = []
    for index, panel in enumerate(panels):
        used = sum(box.width + _GAP for box in rows[-1]) if rows else 0.0
        if index < 2 or used + panel.width > _WIDEST_ROW:
            rows.append([])
        rows[-1].append(panel)
    placed, bottom = [], 0.45
    for row in reversed(rows):
        tallest, left = max(box.height for box in row), _MARGIN
        for box in row:
            placed.append(_Placed(box.panel, box.above, box.below, left, bottom + tallest - box.height))
            left += box.width + _GAP
        bottom += tallest + 0.15
    return placed


def _draw_panel(axes: Axes, box: _Placed) -> None:
    place = {node.number: index for index, node in enumerate(box.panel.nodes)}
    axes.text(box.left, box.bottom + box.height - 0.18, box.panel.title, fontsize=9.5, weight="bold")
    for node in box.panel.nodes:
        _draw_node(axes, node, box.centre(place[node.number]), box.line, node in (box.panel.nodes[0], box.panel.nodes[-1]))
    ports = dict(_ports(box.panel.edges, place))
    for edge in box.panel.edges:
        _draw_edge(axes, box, edge, place, ports)


def _draw_node(axes: Axes, node: Node, x: float, y: float, is_end: bool) -> None:
    corner = (x - _BOX[0] / 2, y - _BOX[1] / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            *_BOX,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="0.88" if is_end else "white",
            edgecolor=_LIVE if node.is_live else _DEAD,
            linestyle="-" if node.is_live else ":",
            linewidth=1.2,
            zorder=3,
        )
    )
    text = f"{node.number}\n{node.width}" if node.width else str(node.number)
    axes.text(
        x, y, text, ha="center", va="center", fontsize=8, linespacing=1.1, color=_LIVE if node.is_live else _DEAD_TEXT, zorder=4
    )


def _ports(edges: tuple[Edge, ...], place: dict[int, int]) -> Iterator[tuple[tuple[Edge, int], float]]:
    """Where each arc leaves (side 1) and enters (side -1) its boxes, off the middle; farther arcs go nearer to the middle."""
    for parity in (0, 1):
        spans = ((edge, place[edge.target] - place[edge.source]) for edge in edges)
        arcs = [edge for edge, span in spans if span > 1 and span % 2 == parity]
        for side, end in ((1, "source"), (-1, "target")):
            for number in place:
                here = sorted(
                    (edge for edge in arcs if getattr(edge, end) == number),
                    key=lambda edge: place[edge.source] - place[edge.target],
                )
                for index, edge in enumerate(here):
                    yield (edge, side), side * (_BOX[0] / 2 - 0.05) * (index + 1) / (len(here) + 0.5)


def _draw_edge(axes: Axes, box: _Placed, edge: Edge, place: dict[int, int], ports: dict[tuple[Edge, int], float]) -> None:
    start, end = (box.centre(place[number]) for number in (edge.source, edge.target))
    span = place[edge.target] - place[edge.source]
    if span == 1:
        curve = Curve([(start + _BOX[0] / 2, box.line), (end - _BOX[0] / 2, box.line)])
        label = (start + end) / 2, box.line
    else:
        up = 1 if span % 2 == 0 else -1
        start, end, base, rise = (
            start + ports[edge, 1],
            end + ports[edge, -1],
            box.line + up * _BOX[1] / 2,
            up * box.rise((span,)),
        )
        curve = _arc(start, end, base, rise)
        label = (start + end) / 2, base + rise
    _draw_curve(axes, edge, curve)
    colour = _LIVE if edge.is_live else _DEAD_TEXT
    white = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    axes.text(*label, edge.label, ha="center", va="center", fontsize=7, color=colour, zorder=2, bbox=white)


def _draw_curve(axes: Axes, edge: Edge, curve: Curve) -> None:
    axes.add_patch(
        FancyArrowPatch(
            path=curve,
            arrowstyle="-|>,head_length=4,head_width=2",
            color=_LIVE if edge.is_live else _DEAD,
            linestyle=_LINES.get(edge.label, "-") if edge.is_live else ":",
            linewidth=_THICK.get(edge.label, 1.1) if edge.is_live else 1.0,
            zorder=1,
        )
    )


def _arc(start: float, end: float, base: float, rise: float) -> Curve:
    """A parabola from (start, base) over its middle at base + rise to (end, base).

    An ellipse is so flat on top that arcs of one height hide each other.
    """
    return Curve([(start, base), ((start + end) / 2, base + 2 * rise), (end, base)], [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3])
