"""Writes a network graph down as numbers for engine.cpp: merged operations, and where each tensor lies in memory.

What is merged, see `schedule`. Gradients live only from their first writer to their producer's backward pass and
share memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpcnas.networks.graph import NetworkGraph
from hpcnas.networks.schedule import Memory, Merged, OperationKind, merge

_COEFFICIENTS = 6  # vectors of one number for each channel, see Coefficient in plan.h


@dataclass(frozen=True, slots=True)
class NativePlan:
    """The numbers that engine.cpp reads. They count elements, but `marks` counts bytes.

    Attributes:
        values: 8 numbers for each value, see Value in plan.h.
        code: the operations one after the other; `starts` says where each begins.
        arena: size of the memory for tensors, gradients and coefficients.
        marks: size of the memory for the arg max of max pools.
        features: channels that the classifier reads.
    """

    values: list[int]
    code: list[int]
    starts: list[int]
    arena: int
    marks: int
    features: int


def native_plan(graph: NetworkGraph, modules: Sequence[str], batch: int, height: int, wide: int, training: bool) -> NativePlan:
    """Lay `graph` out for images of one size.

    Args:
        modules: paths of the ConvBNReLU modules; their position is their number.
        training: whether a backward pass follows, so that tensors are kept.
    """
    return _Layout(graph, modules, batch, height, wide, training).plan()


class _Layout:
    def __init__(self, graph: NetworkGraph, modules: Sequence[str], batch: int, height: int, wide: int, training: bool) -> None:
        self.graph, self.batch, self.training = graph, batch, training
        self.number = {path: index for index, path in enumerate(modules)}
        self.merged = merge(graph, {(path, 0): index for path, index in self.number.items()})
        self.shape = {0: (height, wide)}
        self.normalised: dict[int, tuple[int, int]] = {}
        for step in self.merged:
            h, w = self.shape[step.inputs[0]]
            for value, module, channel in step.outputs:
                self.shape[value] = ((h - 1) // step.stride + 1, (w - 1) // step.stride + 1)
                if module >= 0:
                    self.normalised[value] = (module, channel)

    def plan(self) -> NativePlan:
        """All numbers of the plan."""
        memory = Memory()
        values = range(1, len(self.graph.widths))
        coefficients = {v: memory.take(_COEFFICIENTS * self.graph.widths[v]) for v in values}
        data = self._place_data(memory)
        gradient = self._place_gradients(memory) if self.training else dict.fromkeys(values, 0)
        code, starts, marks = self._code()
        rows = [0] * 8
        for v in values:
            module, channel = self.normalised.get(v, (-1, 0))
            rows += [data[v], gradient[v], self.graph.widths[v], *self.shape[v], coefficients[v], module, channel]
        features = sum(self.graph.widths[v] for v in self.graph.output)
        return NativePlan(rows, code, starts, memory.size, marks, features)

    def _size(self, v: int) -> int:
        h, w = self.shape[v]
        return self.batch * h * w * self.graph.widths[v]

    def _place_data(self, memory: Memory) -> dict[int, int]:
        """Kept for the backward pass; without one, memory is free again after the last reader."""
        last = {v: index for index, step in enumerate(self.merged) for v in step.inputs}
        last.update(dict.fromkeys(self.graph.output, len(self.merged)))
        place: dict[int, int] = {}
        for index, step in enumerate(self.merged):
            for value, _, _ in step.outputs:
                place[value] = memory.take(self._size(value))
            if not self.training:
                for v in set(step.inputs) - {0}:
                    if last[v] == index:
                        memory.give_back(self._size(v), place[v])
        return place

    def _place_gradients(self, memory: Memory) -> dict[int, int]:
        place = {v: memory.take(self._size(v)) for v in dict.fromkeys(self.graph.output)}
        for step in reversed(self.merged):
            for v in dict.fromkeys(step.inputs):
                if v and v not in place:
                    place[v] = memory.take(self._size(v))
            for value, _, _ in step.outputs:
                memory.give_back(self._size(value), place[value])
        return place

    def _code(self) -> tuple[list[int], list[int], int]:
        # The backward pass goes in reverse: the last reader of a value writes its gradient, those before add to it.
        final = {v: index for index, step in enumerate(self.merged) for v in step.inputs}
        final.update(dict.fromkeys(self.graph.output, len(self.merged)))
        code: list[int] = []
        starts, marks = [], 0
        for index, step in enumerate(self.merged):
            starts.append(len(code))
            adds = {v: int(final[v] != index) for v in step.inputs}
            if step.is_max:
                code += [OperationKind.POOL, step.inputs[0], adds[step.inputs[0]], step.outputs[0][0], marks]
                marks += self._size(step.inputs[0])
            else:
                code += self._step_code(step, adds)
        starts.append(len(code))
        columns = self._columns(self.graph.output)
        code += [OperationKind.MEAN, sum(self.graph.widths[v] for v in self.graph.output), len(columns)]
        code += [number for v, places in columns.items() for number in (v, len(places), *places)]
        return code, starts, marks

    def _step_code(self, step: Merged, adds: dict[int, int]) -> Iterator[int]:
        yield step.kind
        first = step.inputs[0]
        if step.kind == OperationKind.STEM:
            yield from (*step.outputs[0][:2], *self.shape[first], self.graph.widths[first], step.stride)
        elif step.kind == OperationKind.POOL:
            yield from (first, adds[first], step.outputs[0][0], -1)
        elif step.kind == OperationKind.DEPTHWISE:
            yield from (first, adds[first], step.stride, len(step.outputs))
            for output in step.outputs:
                yield from output
        else:
            columns = self._columns(step.inputs)
            yield from (sum(self.graph.widths[v] for v in step.inputs), len(columns))
            for v, places in columns.items():
                yield from (v, adds[v], len(places), *places)
            yield len(step.outputs)
            for value, module, _ in step.outputs:
                yield from (value, module)

    def _columns(self, wire: Sequence[int]) -> dict[int, list[int]]:
        """The columns of each value in a concatenation; a value may stand there more than once."""
        columns: dict[int, list[int]] = {}
        start = 0
        for v in wire:
            columns.setdefault(v, []).append(start)
            start += self.graph.widths[v]
        return columns
