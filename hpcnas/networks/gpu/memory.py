"""Places values, gradients and marks in memory: blocks are shared over time, by levels."""

from collections.abc import Mapping
from dataclasses import dataclass

from hpcnas.networks.gpu.structure import Structure
from hpcnas.networks.schedule import Memory


@dataclass(frozen=True, slots=True)
class Places:
    """Offset of each value's block and the size of all, in elements."""

    at: dict[int, int]
    size: int


def place_values(structure: Structure, elements: Mapping[int, int], training: bool) -> Places:
    """Values are kept for the backward pass; without one, a block is free again after the level of its last reader."""
    last = {
        v: max((structure.level[o] for s in structure.readers[v] for o, _, _ in s.outputs), default=0) for v in structure.values
    }
    last |= dict.fromkeys(structure.output, structure.top)
    if training:
        last = dict.fromkeys(structure.values, structure.top)
    return _place(elements, {v: structure.level[v] for v in structure.values}, last)


def place_gradients(structure: Structure, elements: Mapping[int, int]) -> Places:
    """A gradient lives from its first writer to the last level that reads it, its producer's inputs'."""
    first = {v: 0 if v in structure.output else structure.back[v] for v in structure.values}
    never = 1 + max(structure.back.values())  # the stem's weights, after all others
    last = {
        o: max((structure.back[i] for i in step.inputs if i), default=never)
        for step in structure.merged
        for o, _, _ in step.outputs
    }
    return _place(elements, first, last)


def place_marks(structure: Structure, elements: Mapping[int, int]) -> Places:
    """The marks of each max pool, by the value that it writes; all are kept."""
    pools = [step.outputs[0][0] for step in structure.merged if step.is_max]
    return _place(elements, dict.fromkeys(pools, 0), dict.fromkeys(pools, 1))


def _place(elements: Mapping[int, int], first: Mapping[int, int], last: Mapping[int, int]) -> Places:
    memory, at = Memory(), {}
    for level in range(max(last.values(), default=0) + 1):
        for v in first:
            if first[v] == level:
                at[v] = memory.take(elements[v])
        for v in first:
            if last[v] == level:
                memory.give_back(elements[v], at[v])
    return Places(at, memory.size)
