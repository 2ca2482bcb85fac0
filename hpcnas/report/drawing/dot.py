"""A genotype in the DOT language, for people who lay it out with Graphviz themselves."""

from collections.abc import Iterator

from hpcnas.report.drawing.content import Drawing, Edge, GraphPanel
from hpcnas.report.quoting import dot_quoted


def drawing_dot(drawing: Drawing) -> str:
    """One digraph with a cluster for each panel; the dot program is not needed to write it."""
    lines = [
        "digraph genotype {",
        f"  label={dot_quoted(chr(10).join([drawing.title, *drawing.notes]))};",
        "  rankdir=LR;",
        '  node [shape=box, style=rounded, fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    for index, panel in enumerate(drawing.panels):
        lines += [f"  subgraph cluster_{index} {{", *(f"    {line}" for line in _panel_lines(panel, index)), "  }"]
    return "\n".join([*lines, "}"]) + "\n"


def _panel_lines(panel: GraphPanel, index: int) -> Iterator[str]:
    yield f"label={dot_quoted(panel.title)};"
    for node in panel.nodes:
        label = f"{node.number}\n{node.width}" if node.width else str(node.number)
        yield f"n{index}_{node.number} [label={dot_quoted(label)}{'' if node.is_live else ', style=dotted, fontcolor=gray40'}];"
    for edge in panel.edges:
        yield f"n{index}_{edge.source} -> n{index}_{edge.target} [label={dot_quoted(edge.label)}{_style(edge)}];"


def _style(edge: Edge) -> str:
    return "" if edge.is_live else ", style=dotted, color=gray40, fontcolor=gray40"
