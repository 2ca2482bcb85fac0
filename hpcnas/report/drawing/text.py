"""A genotype as text: every node as what it concatenates, which is equation (1) of the paper."""

import textwrap
from collections.abc import Iterator

from hpcnas.report.drawing.content import Drawing, Edge, GraphPanel, Node


def drawing_text(drawing: Drawing, columns: int = 100) -> str:
    """The drawing in lines of at most `columns` characters; dead edges stand in brackets.

    A line "x3 = motif3(x1), motif3(x2)" reads: node 3 concatenates motif 3 of node 1 and motif 3 of node 2.
    """
    blocks = [drawing.title, *("\n".join(_panel_lines(panel, columns)) for panel in drawing.panels)]
    notes = [note.replace("Grey, dotted:", "In brackets:") for note in drawing.notes]
    return "\n\n".join([*blocks, "\n".join(notes)]) + "\n"


def _panel_lines(panel: GraphPanel, columns: int) -> Iterator[str]:
    yield panel.title
    width = max(len(_left(node)) for node in panel.nodes)
    for node in panel.nodes:
        left = _left(node).ljust(width)
        if node is panel.nodes[0]:
            yield f"  {left} = input"
            continue
        inputs = [_input(edge) for edge in panel.edges if edge.target == node.number]
        indent = " " * (width + 5)
        yield textwrap.fill(
            f"  {left} = {', '.join(inputs) or 'nothing'}", columns, subsequent_indent=indent, break_long_words=False
        )


def _left(node: Node) -> str:
    return f"x{node.number} ({node.width})" if node.width else f"x{node.number}"


def _input(edge: Edge) -> str:
    text = f"{edge.label}(x{edge.source})"
    return text if edge.is_live else f"[{text}]"
