"""The lineage of a genotype: the chain of mutations from its first ancestor."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from hpcnas.records import Individual
from hpcnas.report.quoting import dot_quoted

if TYPE_CHECKING:
    from hpcnas.report.own_matplotlib import Figure

_ROW_INCHES = 0.26


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One individual of a lineage.

    Attributes:
        mutation: what made it of its parent, "" for a random genotype.
        fitness: None while it has none.
        gain: its fitness less its parent's; None where one of them is missing.
        is_same_network: whether it builds its parent's network, the mutation being silent.
    """

    id: int
    step: int
    mutation: str
    fitness: float | None
    gain: float | None
    is_same_network: bool


def lineage(individual_id: int, individual_of: Callable[[int], Individual]) -> list[Ancestor]:
    """The ancestors of an individual, the first one first, itself last.

    Args:
        individual_of: such as Population.individual.
    Raises:
        KeyError: there is no such individual.
    """
    chain = [individual_of(individual_id)]
    while (parent_id := chain[-1].parent_id) is not None:
        chain.append(individual_of(parent_id))
    chain.reverse()
    parents = (None, *chain[:-1])
    return [_ancestor(individual, parent) for individual, parent in zip(chain, parents, strict=True)]


def _ancestor(individual: Individual, parent: Individual | None) -> Ancestor:
    fitness, before = individual.fitness, parent.fitness if parent else None
    gain = None if fitness is None or before is None else fitness - before
    # The digest is of the network: a mutation of dead edges, or back to the same operation, leaves it.
    is_same = parent is not None and parent.digest == individual.digest
    return Ancestor(individual.id, individual.step, individual.mutation, fitness, gain, is_same)


def lineage_text(chain: Sequence[Ancestor]) -> str:
    """A line for each ancestor: id, fitness, gain, mutation."""
    id_width = max(2, *(len(str(ancestor.id)) for ancestor in chain))
    lines = [f"{'id':>{id_width}}  {'fitness':>8}  {'gain':>8}  mutation"]
    lines += [
        f"{ancestor.id:>{id_width}}  {_fitness(ancestor):>8}  {_gain(ancestor):>8}  {_what(ancestor)}" for ancestor in chain
    ]
    return "\n".join(lines) + "\n"


def lineage_json(chain: Sequence[Ancestor]) -> str:
    """A list of objects with the attributes of Ancestor."""
    return json.dumps([asdict(ancestor) for ancestor in chain], indent=2) + "\n"


def lineage_dot(chain: Sequence[Ancestor]) -> str:
    """A digraph of the ancestors, mutations on its edges, in the DOT language."""
    lines = ["digraph lineage {", "  node [shape=box, style=rounded];"]
    lines += [f'  i{ancestor.id} [label="{ancestor.id}\\n{_fitness(ancestor)}"];' for ancestor in chain]
    for parent, child in pairwise(chain):
        lines.append(f"  i{parent.id} -> i{child.id} [label={dot_quoted(_what(child))}];")
    return "\n".join([*lines, "}"]) + "\n"


def lineage_image(chain: Sequence[Ancestor], ending: str) -> bytes:
    """Mutations in words on the left, the fitness they led to on the right; `ending` is svg, png or pdf."""
    from hpcnas.report.own_matplotlib import own_settings  # matplotlib takes half a second

    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with own_settings(svg_fonttype="none", pdf_fonttype=42):
        figure = _figure(chain)
        dpi = min(150, 16_000 / figure.get_figheight())
        figure.savefig(buffer, format=ending, dpi=dpi, metadata=undated.get(ending))
    return buffer.getvalue()


def _figure(chain: Sequence[Ancestor]) -> "Figure":
    from hpcnas.report.own_matplotlib import Figure

    height = 1.1 + _ROW_INCHES * len(chain)
    figure = Figure(figsize=(9, height), facecolor="white")
    axes = figure.add_axes((0.58, 0.6 / height, 0.39, 1 - 0.85 / height))
    rows = range(len(chain))
    known = [(100 * ancestor.fitness, row) for row, ancestor in zip(rows, chain, strict=True) if ancestor.fitness is not None]
    axes.plot([fitness for fitness, _ in known], [row for _, row in known], "-o", color="0.15", markersize=4, linewidth=1)
    axes.set_ylim(len(chain) - 0.5, -0.5)
    labels = [f"{_what(ancestor)}  {ancestor.id:>6}" for ancestor in chain]
    axes.set_yticks(list(rows), labels, fontsize=8, family="monospace")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.85", linewidth=0.6)
    axes.set_xlabel("fitness (%)", fontsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure


def _what(ancestor: Ancestor) -> str:
    silent = " (same network)" if ancestor.is_same_network else ""
    return (ancestor.mutation or "random genotype") + silent


def _fitness(ancestor: Ancestor) -> str:
    return "-" if ancestor.fitness is None else f"{100 * ancestor.fitness:.2f} %"


def _gain(ancestor: Ancestor) -> str:
    return "-" if ancestor.gain is None else f"{100 * ancestor.gain:+.2f} %"
