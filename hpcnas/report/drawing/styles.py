"""The look of an operation in every drawing and chart: its colour, its line, and the short name on its edges.

Colours are apart in the eyes of the colour-blind, lines in black and white; the short name says it once more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hpcnas.representation.primitives import AVGPOOL3X3, CONV1X1, DEPTHWISE3X3, IDENTITY, MAXPOOL3X3, SEPARABLE3X3

_LONGEST_CODE = 4  # letters that fit between two nodes


@dataclass(frozen=True, slots=True)
class Style:
    """The look of one operation.

    Attributes:
        code: what stands on its edges.
        dashes: lengths of dash, gap, dash, ... in widths of the line; () for a solid line.
        width: of the line, in points.
        dot_style: the nearest line that Graphviz has.
    """

    code: str
    colour: str
    dashes: tuple[float, ...]
    width: float
    dot_style: str
    dot_width: float


INK = "#1a1a1a"
DEAD_INK = "#666666"
MOTIF = Style("", INK, (), 1.6, "solid", 1.5)
DEAD = Style("", "#999999", (1, 1.6), 1.0, "dotted", 1)

# Five colours of Okabe and Ito, and a grey.
_KNOWN = {
    IDENTITY: Style("id", "#5f5f5f", (), 0.9, "solid", 1),
    CONV1X1: Style("1x1", "#d55e00", (4.5, 1.2), 1.9, "dashed", 2),
    DEPTHWISE3X3: Style("dw", "#56b4e9", (2, 1), 2.2, "dashed", 3.5),
    SEPARABLE3X3: Style("sep", "#0072b2", (), 2.6, "solid", 3.5),
    MAXPOOL3X3: Style("max", "#009e73", (1, 0.9), 2.0, "dotted", 3.5),
    AVGPOOL3X3: Style("avg", "#cc79a7", (3.6, 1, 1, 1), 2.0, "dotted", 2),
}
# For operations of somebody's own, in the order of their names; the code is made of the name.
_OTHERS = (
    Style("", "#e69f00", (4, 1, 1, 1, 1, 1), 2.0, "solid", 5),
    Style("", "#6a0dad", (3, 1, 3, 1, 1, 1), 1.8, "dashed", 5),
    Style("", "#a00000", (1, 2.2), 2.0, "dotted", 5),
    Style("", "#101060", (6, 2.5), 1.2, "dashed", 1),
)


def operation_styles(operations: Iterable[str], pool: Iterable[str] = ()) -> dict[str, Style]:
    """The style of each operation by its name, the paper's primitives first, then the others by name.

    A known primitive looks the same in every figure. With more than four others, their colours begin anew.

    Args:
        pool: all operations of the search space, so that one of somebody's own looks the same in all figures of a run.
    """
    names = set(operations)
    styles = {name: style for name, style in _KNOWN.items() if name in names}
    taken = {style.code for style in _KNOWN.values()}
    for index, name in enumerate(sorted(names.union(pool) - set(_KNOWN))):
        look = _OTHERS[index % len(_OTHERS)]
        code = _code(name, taken)
        taken.add(code)
        styles[name] = Style(code, look.colour, look.dashes, look.width, look.dot_style, look.dot_width)
    return {name: style for name, style in styles.items() if name in names}


def _code(name: str, taken: set[str]) -> str:
    """The name's beginning, or its first letters and a number if another operation has that code."""
    if name[:_LONGEST_CODE] not in taken:
        return name[:_LONGEST_CODE]
    numbered = (f"{name[:2]}{number}" for number in range(2, len(taken) + 3))
    return next(code for code in numbered if code not in taken)
