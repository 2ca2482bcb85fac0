"""Computes where everything of a drawing stands, in inches; nothing here draws.

The nodes of a panel stand in a line, in topological order: from left to right if they fit on the page, else from top
to bottom. Edges between neighbours are straight, the others are arcs. Arcs over an even number of nodes' distance are on
one side, odd ones on the other. The farther they reach, the higher they are, so no two labels meet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hpcnas.report.drawing.content import Edge, GraphPanel

Point = tuple[float, float]

PAGE = 6.0  # width of a figure: at 830 pixels letters of 9 points have 17, on a phone of 390 pixels 8
MARGIN = 0.2
TITLE = 0.26
HEAD = (0.11, 0.042)  # length and half the width of an arrowhead
_INSIDE = PAGE - 2 * MARGIN
CLEAR = 0.03  # from the tip of an arrowhead to its node
_LETTER = 0.088  # the width of one at most
_GAP = 0.2  # between panels
_HALF = (_INSIDE - _GAP) / 2
_RISE = {True: 0.206, False: 0.16}  # of an arc for each node's distance; in an upright panel the labels stand side by side
_ACROSS = {True: 0.58, False: 0.34}  # of a box, seen along the line of nodes; from top to bottom the labels stand beside it
_SLOT = 2 * HEAD[1] + 0.012  # of an arc's end at a box


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel, its measures and the place of its left lower corner.

    Attributes:
        is_upright: whether the nodes stand from top to bottom.
        box: length of a node's box along the line of nodes.
        step: from node to node.
    """

    panel: GraphPanel
    is_upright: bool
    box: float
    step: float
    left: float = 0.0
    bottom: float = 0.0

    @property
    def length(self) -> float:
        """Along the line of nodes."""
        return (len(self.panel.nodes) - 1) * self.step + self.box

    @property
    def across(self) -> float:
        """Of one box, at a right angle to the line of nodes."""
        return _ACROSS[self.is_upright]

    @property
    def extents(self) -> tuple[float, float]:
        """The reach of the drawing below (left of) and above (right of) the line of nodes."""
        half_label = 0.2 if self.is_upright else 0.09
        arcs = [(target - source, source) for source, target in _places(self.panel) if target - source > 1]
        reach = [[self.rise(*arc) + half_label for arc in arcs if arc[0] % 2 == parity] for parity in (1, 0)]
        below, above = (self.across / 2 + max(rises, default=0.0) for rises in reach)
        return below, above

    @property
    def width(self) -> float:
        """The length from the left edge to the right one."""
        return max(sum(self.extents) if self.is_upright else self.length, _LETTER * len(self.panel.title))

    @property
    def height(self) -> float:
        """The title included."""
        return TITLE + (self.length if self.is_upright else sum(self.extents))

    def rise(self, span: int, source: int) -> float:
        """The height of the arc over this distance above the boxes; `source` is the place of its first node.

        In proportion to the distance, so that arcs that meet in a node run side by side there. In an upright panel, which
        is the one of many arcs, later ones are flatter, so that arcs over one distance part from each other.
        """
        flatter = 1.1 - 0.3 * source / len(self.panel.nodes) if self.is_upright else 1.0
        return _RISE[self.is_upright] * span * flatter

    def at(self, along: float, away: float) -> Point:
        """The point `along` the line of nodes from its beginning, and `away` from it, upwards or to the right."""
        if self.is_upright:
            return self.left + self.extents[0] + away, self.bottom + self.length - along
        return self.left + along, self.bottom + self.extents[0] + away

    def centre(self, index: int) -> float:
        """The place of the index-th node along the line of nodes."""
        return self.box / 2 + index * self.step


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one edge: two points of a straight line or three of a parabola (Bezier), and where its label stands.

    Attributes:
        line: from the box of the source to the foot of the arrowhead.
        head: the corners of the arrowhead, its tip first.
        is_beside: whether the label stands to the right of `label`, not on it.
    """

    edge: Edge
    line: tuple[Point, ...]
    head: tuple[Point, Point, Point]
    label: Point
    is_beside: bool = False


def arrange(panels: tuple[GraphPanel, ...], texts: Callable[[GraphPanel], list[str]]) -> list[Placed]:
    """Fill rows from the top: each panel beside the one before while there is room, the first (the cell) alone.

    Args:
        texts: all labels of a panel's edges, as they are drawn.
    Returns:
        The panels in their order, the lowest row at height 0.
    """
    rows: list[list[Placed]] = []
    for index, measured in enumerate(_measured(panel, texts(panel)) for panel in panels):
        if not measured.is_upright:
            measured = replace(measured, step=_widest_step(measured, _INSIDE if index == 0 else _HALF))
        used = sum(box.width + _GAP for box in rows[-1]) if rows else 0.0
        if index < 2 or used + measured.width > _INSIDE + 1e-9:
            rows.append([])
        rows[-1].append(measured)
    placed: list[list[Placed]] = []
    bottom = 0.0
    for row in reversed(rows):
        tallest, left, spread = max(box.height for box in row), MARGIN, []
        for box in row:
            spread.append(replace(box, left=left, bottom=bottom + tallest - box.height))
            left += max(box.width + _GAP, _HALF + _GAP)
        placed.insert(0, spread)
        bottom += tallest + 0.16
    return [box for row in placed for box in row]


def _measured(panel: GraphPanel, texts: list[str]) -> Placed:
    longest = max(map(len, texts), default=0)
    wide = max(0.36, *(0.06 + 0.07 * len(node.width) for node in panel.nodes))
    slots = 0.08 + _SLOT * _most_ends(panel)
    box = max(wide, slots)
    flat = Placed(panel, False, box, box + max(0.35, _LETTER * longest + 0.08))
    if flat.width <= _INSIDE:
        return flat
    box = max(0.36, slots)
    return Placed(panel, True, box, box + 0.27)


def _widest_step(box: Placed, width: float) -> float:
    """The distance of nodes that makes the panel that wide; no longer than the eye takes them for one line."""
    return max(box.step, min(1.3, (width - box.box) / max(1, len(box.panel.nodes) - 1)))


def _places(panel: GraphPanel) -> list[tuple[int, int]]:
    """Of each edge, the places in the line of its source and its target."""
    place = {node.number: index for index, node in enumerate(panel.nodes)}
    return [(place[edge.source], place[edge.target]) for edge in panel.edges]


def _most_ends(panel: GraphPanel) -> int:
    """The most ends of arcs that meet on one side of a box."""
    ends = [(place, (b - a) % 2) for a, b in _places(panel) if b - a > 1 for place in (a, b)]
    return max(map(ends.count, set(ends)), default=0)


def routes(box: Placed) -> Iterator[Route]:
    """The way of every edge of the panel."""
    ports = _ports(box)
    for index, (edge, (source, target)) in enumerate(zip(box.panel.edges, _places(box.panel), strict=True)):
        if target - source == 1:
            yield _straight(box, edge, source)
        else:
            yield _arc(box, edge, (source, target), (ports[index, 1], ports[index, -1]))


def _ports(box: Placed) -> dict[tuple[int, int], float]:
    """The distance from the boxes' middles at which the index-th edge leaves (1) and enters (-1).

    On each side of a box every arc has a place of its own: those that enter first, then those that leave; of both the
    farther ones nearer to the middle, so that they do not cross.
    """
    sides: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for index, (a, b) in enumerate(_places(box.panel)):
        if b - a > 1:
            sides.setdefault((b, (b - a) % 2), []).append((-1, b - a, index))
            sides.setdefault((a, (b - a) % 2), []).append((1, a - b, index))
    ports = {}
    for ends in sides.values():
        slot = min((box.box - 0.08) / len(ends), 0.13)
        for place, (side, _, index) in enumerate(sorted(ends)):
            ports[index, side] = (place - (len(ends) - 1) / 2) * slot
    return ports


def _straight(box: Placed, edge: Edge, source: int) -> Route:
    begin, end = box.centre(source) + box.box / 2, box.centre(source + 1) - box.box / 2 - CLEAR
    foot = end - HEAD[0]
    head = (box.at(end, 0), box.at(foot, HEAD[1]), box.at(foot, -HEAD[1]))
    middle = (begin + end) / 2
    label = box.at(middle, 0.07) if box.is_upright else box.at(middle, 0.095)
    return Route(edge, (box.at(begin, 0), box.at(foot, 0)), head, label, box.is_upright)


def _arc(box: Placed, edge: Edge, places: tuple[int, int], ports: tuple[float, float]) -> Route:
    """A parabola from box to box; an ellipse is so flat on top that arcs of one height hide each other."""
    begin, end = (box.centre(place) + port for place, port in zip(places, ports, strict=True))
    span = places[1] - places[0]
    up = 1 if span % 2 == 0 else -1
    base, rise = up * box.across / 2, up * box.rise(span, places[0])
    first, control, tip = (begin, base), ((begin + end) / 2, base + 2 * rise), (end, base + up * CLEAR)
    dx, dy = tip[0] - control[0], tip[1] - control[1]
    length = (dx * dx + dy * dy) ** 0.5
    # The last `part` of the curve is about as long as the arrowhead: its speed at the end is twice the last leg.
    foot_control, foot = _cut(first, control, tip, HEAD[0] / (2 * length))
    away = (HEAD[1] * (foot[1] - tip[1]) / HEAD[0], HEAD[1] * (tip[0] - foot[0]) / HEAD[0])
    head = (tip, (foot[0] + away[0], foot[1] + away[1]), (foot[0] - away[0], foot[1] - away[1]))
    line = (first, foot_control, foot)
    a, b, c = (box.at(*point) for point in head)
    return Route(edge, tuple(box.at(*point) for point in line), (a, b, c), box.at((begin + end) / 2, base + rise))


def _cut(first: Point, control: Point, last: Point, part: float) -> tuple[Point, Point]:
    """The second and third point of the parabola without its last `part` (de Casteljau)."""

    def between(a: Point, b: Point) -> Point:
        return a[0] + (1 - part) * (b[0] - a[0]), a[1] + (1 - part) * (b[1] - a[1])

    leg = between(first, control)
    return leg, between(leg, between(control, last))
