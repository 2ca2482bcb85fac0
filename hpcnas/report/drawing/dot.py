"""A genotype in the DOT language, for people who lay it out with Graphviz themselves."""

from collections.abc import Iterator, Mapping

from hpcnas.report.drawing.content import Drawing, Edge, GraphPanel
from hpcnas.report.drawing.styles import DEAD, DEAD_INK, MOTIF, Style, operation_styles
from hpcnas.report.quoting import dot_quoted


def drawing_dot(drawing: Drawing) -> str:
    """One digraph with a cluster for each panel and one for the legend; the dot program is not needed to write it."""
    styles = operation_styles(drawing.operations, drawing.pool)
    lines = [
        "digraph genotype {",
        # chr(10): before Python 3.12 no backslash may stand inside the braces of an f-string.
        f"  label={dot_quoted(chr(10).join([drawing.title, *drawing.notes]))};",
        "  rankdir=LR;",
        '  node [shape=box, style=rounded, fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    for index, panel in enumerate(drawing.panels):
        lines += _cluster(f"cluster_{index}", _panel_lines(panel, index, styles))
    if styles:
        lines += _cluster("cluster_legend", _legend_lines(styles))
    return "\n".join([*lines, "}"]) + "\n"


def _cluster(name: str, lines: Iterator[str]) -> list[str]:
    return [f"  subgraph {name} {{", *(f"    {line}" for line in lines), "  }"]


def _panel_lines(panel: GraphPanel, index: int, styles: Mapping[str, Style]) -> Iterator[str]:
    yield f"label={dot_quoted(panel.title)};"
    for node in panel.nodes:
        label = f"{node.number}\n{node.width}" if node.width else str(node.number)
        dead = "" if node.is_live else f', style=dotted, fontcolor="{DEAD_INK}"'
        yield f"n{index}_{node.number} [label={dot_quoted(label)}{dead}];"
    for edge in panel.edges:
        look = _edge_look(edge, MOTIF if panel.has_motifs else styles[edge.label])
        yield f"n{index}_{edge.source} -> n{index}_{edge.target} [label={dot_quoted(edge.label)}, {look}];"


def _legend_lines(styles: Mapping[str, Style]) -> Iterator[str]:
    """A line without nodes for each primitive, with its name at the end."""
    yield 'label="operations";'
    for index, (name, style) in enumerate(styles.items()):
        yield f'k{index} [shape=point, style=invis, label=""];'
        yield f"l{index} [shape=plaintext, label={dot_quoted(name)}];"
        yield f"k{index} -> l{index} [{_look(style)}];"


def _edge_look(edge: Edge, style: Style) -> str:
    return _look(style) if edge.is_live else f'{_look(DEAD)}, fontcolor="{DEAD_INK}"'


def _look(style: Style) -> str:
    return f'style={style.dot_style}, color="{style.colour}", penwidth={style.dot_width:g}'
