"""A genotype as SVG, PDF and PNG, drawn by matplotlib where layout.py puts everything."""

import io
import textwrap
from collections.abc import Mapping

from hpcnas.report.drawing.content import Drawing, GraphPanel, Node
from hpcnas.report.drawing.layout import MARGIN, PAGE, Placed, Point, Route, arrange, routes
from hpcnas.report.drawing.styles import DEAD, DEAD_INK, INK, MOTIF, Style, operation_styles
from hpcnas.report.own_matplotlib import Axes, Curve, FancyBboxPatch, Figure, PathPatch, Polygon, own_settings

_DPI = 150
_WIDEST_IMAGE = 16_000  # dots; wider ones are more than most viewers open
_NOTE_LETTERS = 92  # on a line of the notes
_NOTE_LINE, _LEGEND_LINE = 0.16, 0.23
_LEGEND_COLUMNS = 3
_LINES, _LABELS, _BOXES, _HEADS = range(1, 5)  # what covers what


def drawing_svg(drawing: Drawing) -> str:
    """The drawing as an SVG document; the same drawing gives the same text."""
    return drawing_image(drawing, "svg").decode()


def drawing_image(drawing: Drawing, form: str) -> bytes:
    """The drawing as svg or pdf, in vectors, or png; the same drawing gives the same bytes.

    A png has 150 dots an inch, less where it would be wider or higher than 16,000 dots.
    """
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None, "Title": drawing.title}, "pdf": {"CreationDate": None, "Title": drawing.title}}
    with own_settings(svg_fonttype="none", pdf_fonttype=42):
        figure = _figure(drawing)
        figure.savefig(buffer, format=form, dpi=_dpi(figure), metadata=undated.get(form))
    return buffer.getvalue()


def _dpi(figure: Figure) -> float:
    return float(min(_DPI, _WIDEST_IMAGE / max(figure.get_size_inches())))


def _figure(drawing: Drawing) -> Figure:
    styles = operation_styles(drawing.operations, drawing.pool)
    notes = [line for note in drawing.notes for line in textwrap.wrap(note, _NOTE_LETTERS)]
    legend = _legend_entries(drawing, styles)
    under = 0.14 + _NOTE_LINE * len(notes) + _LEGEND_LINE * -(-len(legend) // _LEGEND_COLUMNS) + 0.22
    placed = arrange(drawing.panels, lambda panel: [_text(panel, edge.label, styles) for edge in panel.edges])
    width = max(PAGE, *(box.left + box.width + MARGIN for box in placed))
    height = under + max(box.bottom + box.height for box in placed) + 0.42
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(-under, height - under))
    axes.set_axis_off()
    axes.text(MARGIN, height - under - 0.28, drawing.title, fontsize=11.5, weight="bold", color=INK)
    for box in placed:
        _draw_panel(axes, box, styles)
    _draw_legend(axes, legend, -0.3)
    for index, note in enumerate(reversed(notes)):
        axes.text(MARGIN, 0.1 - under + _NOTE_LINE * index, note, fontsize=8, color=INK)
    return figure


def _text(panel: GraphPanel, label: str, styles: Mapping[str, Style]) -> str:
    return label if panel.has_motifs else styles[label].code


def _draw_panel(axes: Axes, box: Placed, styles: Mapping[str, Style]) -> None:
    axes.text(box.left, box.bottom + box.height - 0.13, box.panel.title, fontsize=10, weight="bold", color=INK)
    for index, node in enumerate(box.panel.nodes):
        _draw_node(axes, box, index, node)
    for route in routes(box):
        style = MOTIF if box.panel.has_motifs else styles[route.edge.label]
        _draw_edge(axes, route, style if route.edge.is_live else DEAD, _text(box.panel, route.edge.label, styles))


def _draw_node(axes: Axes, box: Placed, index: int, node: Node) -> None:
    x, y = box.at(box.centre(index), 0)
    width, height = (box.across, box.box) if box.is_upright else (box.box, box.across)
    is_end = index in (0, len(box.panel.nodes) - 1)
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor="0.9" if is_end else "white",
            edgecolor=INK if node.is_live else DEAD.colour,
            linestyle="-" if node.is_live else ":",
            linewidth=1.1,
            zorder=_BOXES,
        )
    )
    text = f"{node.number}\n{node.width}" if node.width else str(node.number)
    colour = INK if node.is_live else DEAD_INK
    size = 8 if node.width else 9
    axes.text(x, y, text, ha="center", va="center", fontsize=size, linespacing=1.0, color=colour, zorder=_HEADS)


def _draw_edge(axes: Axes, route: Route, style: Style, text: str) -> None:
    axes.add_patch(PathPatch(_curve(route.line), fill=False, zorder=_LINES, **_pen(style)))
    axes.add_patch(Polygon(route.head, closed=True, facecolor=style.colour, edgecolor="none", zorder=_HEADS))
    colour = DEAD_INK if style is DEAD else INK
    if route.is_beside:
        axes.text(*route.label, text, ha="left", va="center", fontsize=9, color=colour, zorder=_LABELS)
        return
    # The label of an arc lies on the line itself; beside a straight line it needs no ground.
    white = {"boxstyle": "round,pad=0.08", "facecolor": "white", "edgecolor": "none"} if len(route.line) > 2 else None
    axes.text(*route.label, text, ha="center", va="center", fontsize=9, color=colour, zorder=_LABELS, bbox=white)


def _curve(points: tuple[Point, ...]) -> Curve:
    codes = [Curve.MOVETO, Curve.LINETO] if len(points) == 2 else [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3]
    return Curve(points, codes)


def _pen(style: Style) -> dict[str, object]:
    return {
        "color": style.colour,
        "linestyle": (0, style.dashes) if style.dashes else "-",
        "linewidth": style.width,
        "capstyle": "butt",
    }


def _legend_entries(drawing: Drawing, styles: Mapping[str, Style]) -> list[tuple[Style, str]]:
    """The look and the words of each line of the legend; motifs share one, as their edges have their names."""
    entries = [(style, name if style.code == name else f"{style.code}: {name}") for name, style in styles.items()]
    if any(panel.has_motifs and panel.edges for panel in drawing.panels):
        entries.append((MOTIF, "motif of that name"))
    if not all(edge.is_live for panel in drawing.panels for edge in panel.edges):
        entries.append((DEAD, "dead"))
    return entries


def _draw_legend(axes: Axes, entries: list[tuple[Style, str]], top: float) -> None:
    column = (PAGE - 2 * MARGIN) / _LEGEND_COLUMNS
    for index, (style, words) in enumerate(entries):
        x = MARGIN + column * (index % _LEGEND_COLUMNS)
        y = top - _LEGEND_LINE * (index // _LEGEND_COLUMNS)
        axes.add_patch(PathPatch(_curve(((x, y), (x + 0.42, y))), fill=False, **_pen(style)))
        axes.text(x + 0.5, y, words, va="center", fontsize=9, color=INK)
