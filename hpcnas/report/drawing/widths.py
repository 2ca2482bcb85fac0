"""Channel widths as people write them: multiples of c, what enters the motif, and of C, what enters the cell."""

from dataclasses import dataclass

from hpcnas.networks.own_primitives import own_primitive
from hpcnas.representation.live import LiveMotif
from hpcnas.representation.primitives import CONV1X1, PRIMITIVES, SEPARABLE3X3


@dataclass(frozen=True, slots=True)
class Width:
    """motif x c + cell x C channels."""

    motif: int = 0
    cell: int = 0

    def __add__(self, other: "Width") -> "Width":
        return Width(self.motif + other.motif, self.cell + other.cell)

    def __str__(self) -> str:
        terms = [(self.motif, "c"), (self.cell, "C")]
        return "+".join(f"{n if n > 1 else ''}{unit}" for n, unit in terms if n)


_C = Width(cell=1)
Levels = tuple[tuple[LiveMotif | None, ...], ...]


def motif_widths(levels: Levels, level: int, m: int, primitives: tuple[str, ...] = PRIMITIVES) -> dict[int, Width]:
    """The width of every live node of a live motif; c = C in the cell.

    Args:
        levels: as `live_levels` gives them; motif m of `level` is not None.
    Source: Liu et al. 2018, section 2.3. 1x1 and separable convolutions emit C channels, all else keeps its
        width. Merging adds widths up, and a 1x1 to C follows each motif of level 2. Own
        primitives say what they emit.
    Raises:
        UsageError: an own primitive that is not known to this process.
    """
    is_cell = level == len(levels) + 1
    return _widths(levels, primitives, level, m, _C if is_cell else Width(motif=1))


def _widths(levels: Levels, primitives: tuple[str, ...], level: int, m: int, source: Width) -> dict[int, Width]:
    motif = levels[level - 2][m - 1]
    assert motif is not None, "a live edge carries a live motif"
    widths = {motif.nodes[0]: source}
    for j, i, k in motif.edges:
        widths[i] = widths.get(i, Width()) + _operation_width(levels, primitives, level - 1, k, widths[j])
    return widths


def _operation_width(levels: Levels, primitives: tuple[str, ...], level: int, k: int, source: Width) -> Width:
    if level == 1:
        return _C if _emits_C(primitives[k - 1]) else source
    if level == 2:
        return _C
    inner = _widths(levels, primitives, level, k, source)
    # Of a motif's live nodes the highest is its sink.
    return inner[max(inner)]


def _emits_C(name: str) -> bool:
    return name in (CONV1X1, SEPARABLE3X3) or (name not in PRIMITIVES and own_primitive(name).emits == "C")
