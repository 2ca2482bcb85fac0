"""The launches of a backward pass, in the order of the levels of the values whose gradients they make, and of the update.

A value's gradient is made when those of all its readers' outputs are complete. At most four launches in a row make it:
products, depthwise convolutions, means and max pools. The first writes, the others add, the last one sums S1 and S2 too.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hpcnas.networks.gpu.forward import HEAD_IMAGES, NAMES, head_pixels
from hpcnas.networks.gpu.kernels.depthwise_backward import depthwise_backward
from hpcnas.networks.gpu.kernels.head import classifier_backward, mean_backward
from hpcnas.networks.gpu.kernels.optimiser import sgd, update_norms
from hpcnas.networks.gpu.kernels.pools import pool_backward
from hpcnas.networks.gpu.kernels.products import product_backward
from hpcnas.networks.gpu.kernels.stem import stem_backward
from hpcnas.networks.gpu.launch import Block, Launch
from hpcnas.networks.gpu.shapes import Shape, shape_of
from hpcnas.networks.gpu.structure import power_of_2
from hpcnas.networks.schedule import Merged, OperationKind

if TYPE_CHECKING:
    from hpcnas.networks.gpu.layout import Layout

ADD, LAST = 1, 2  # flags of a task: the gradient is added to; it is complete then
CLASSIFIER = -1  # the classifier's number among the modules
WEIGHTS_BLOCK = 256  # weights of a program of sgd
CLASSIFIER_ELEMENTS = 1024  # images x classes of an inner tile: 64 x 128 spills 8 KB on sm_80

Reading = tuple[OperationKind, bool, int, int]  # kind, is max, stride, width written
Member = tuple[int, list[Merged], int]  # value, the operations that read it, flags


def classifier_launches(layout: "Layout") -> list[Launch]:
    """Gradients of the classifier's weights and of what it read: the first writers of those values' gradients."""
    structure, first = layout.structure, len(layout.tasks)
    F, BCLS = structure.features, power_of_2(structure.classes)
    layout.tasks.add(layout.partial_at(CLASSIFIER, 1, structure.classifier_size))
    own = {"BLOCK": max(16, CLASSIFIER_ELEMENTS // BCLS), "BF": 64, "BCLS": BCLS}
    weights = Launch("classifier_bwd", classifier_backward, (1, -(-F // 64)), first, own, [], [("partial", CLASSIFIER)])
    columns: dict[int, list[int]] = defaultdict(list)
    C, side = structure.widths[structure.output[0]], layout.sides[structure.output[0]]
    for place, v in enumerate(structure.output):
        columns[v].append(place * C)
    first = len(layout.tasks)
    reads: list[Block] = []
    for v, places in columns.items():
        flags = LAST if not structure.readers[v] and v in structure.module else 0
        layout.tasks.add(layout.value_at[v], layout.grad_at[v], structure.channel[v], len(layout.edges), len(places), flags)
        reads += [("value", v)] if flags else []
        for column in places:
            layout.edges.add(column)
    own = {"pixels": side * side, "C": C, "BC": power_of_2(C), "IMAGES": HEAD_IMAGES, "BHW": head_pixels(side), "BCLS": BCLS}
    programs = (len(columns), -(-layout.batch // HEAD_IMAGES))
    return [weights, Launch("mean_bwd", mean_backward, programs, first, own, reads, [("grad", v) for v in columns])]


def backward_launches(layout: "Layout") -> list[Launch]:
    """Gradients of all values, and of all weights but the classifier's."""
    structure = layout.structure
    groups: dict[tuple[int, Reading, int, int], list[Member]] = defaultdict(list)
    for v in structure.values:
        kinds: dict[Reading, list[Merged]] = defaultdict(list)
        for step in structure.readers[v]:
            kinds[step.kind, step.is_max, step.stride, structure.widths[step.outputs[0][0]]].append(step)
        for place, kind in enumerate(sorted(kinds)):
            flags = ADD if place or v in structure.output else 0
            flags |= LAST if place == len(kinds) - 1 and v in structure.module else 0
            groups[structure.back[v], kind, structure.widths[v], layout.sides[v]].append((v, kinds[kind], flags))
    return [_group(layout, *key, groups[key]) for key in sorted(groups)] + [_stem(layout)]


def update_launches(layout: "Layout") -> list[Launch]:
    """A step of SGD on all weights, of gamma and beta, and the running statistics."""
    structure, first = layout.structure, len(layout.tasks)
    segments = [(structure.weight[m], m, structure.weight_size[m]) for m in range(len(structure.modules))]
    segments.append((structure.classifier, CLASSIFIER, structure.classifier_size))
    for to, m, size in sorted(segments, key=lambda segment: -layout.partial[segment[1]][1]):  # those with most to add begin
        at, chunks = layout.partial[m]
        for i in range(0, size, WEIGHTS_BLOCK):
            layout.tasks.add(to, at, size, chunks, i, *structure.packing.get(m, (size, size, 1)))
    level = 2 + max(structure.back.values())
    reads: list[Block] = [("partial", m) for _, m, _ in segments]
    own: dict[str, Any] = {"BLOCK": WEIGHTS_BLOCK, "ROWS": 16}
    descend = Launch("sgd", sgd, (len(layout.tasks) - first, 1), first, own, reads, [], level)
    table, normalised = len(layout.tasks), structure.normalised
    for v in normalised:
        layout.tasks.add(structure.channel[v], structure.widths[v], layout.pixels(v))
    own = {"BC": power_of_2(max(structure.widths[v] for v in normalised)), "num_warps": 1}
    return [descend, Launch("norms", update_norms, (len(normalised), 1), table, own, [], [], level)]


def _group(layout: "Layout", level: int, reading: Reading, C: int, side: int, members: list[Member]) -> Launch:
    kind, is_max, stride, N = reading
    first = len(layout.tasks)
    rows = layout.batch * (
        side * side if kind is OperationKind.PRODUCT else side if kind is OperationKind.POOL else -(-side // 2)
    )
    shape = shape_of(f"{NAMES[kind]}_backward", C)
    if kind is OperationKind.PRODUCT:
        shape = shape.for_rows(rows, C)
    chunks = -(-rows // (shape.block * shape.tiles))
    own = _own(shape, C) | {"EVEN": rows % (shape.block * shape.tiles) == 0}
    if kind is OperationKind.PRODUCT:
        own |= {"pixels": rows, "tiles": shape.tiles, "N": N, "BN": power_of_2(N)}
    elif kind is OperationKind.DEPTHWISE:
        own |= {"side": side, "out_side": (side - 1) // stride + 1, "STRIDE": stride}
        own["EVEN"] = own["EVEN"] and side % 2 == 0
    else:
        own |= {"side": side, "IS_MAX": is_max}
    name, kernel = _KERNELS[kind, is_max]
    launch = Launch(name, kernel, (len(members), chunks), first, own, level=level)
    for member in members:
        _add_pool(layout, launch, *member) if kind is OperationKind.POOL else _add_convolutions(layout, launch, *member, chunks)
    launch.reads, launch.writes = list(dict.fromkeys(launch.reads)), list(dict.fromkeys(launch.writes))
    return launch


def _add_convolutions(layout: "Layout", launch: Launch, v: int, steps: list[Merged], flags: int, chunks: int) -> None:
    structure, first = layout.structure, len(layout.edges)
    launch.reads += [("value", v)] + ([("grad", v)] if flags & ADD else [])
    launch.writes.append(("grad", v))
    for step in steps:
        for o, m, channel in step.outputs:
            launch.reads += [("value", o), ("grad", o)]
            launch.writes.append(("partial", m))
            size = structure.weight_size[m]
            part, weight = layout.partial_at(m, chunks, size), structure.weight[m]
            if step.kind is OperationKind.DEPTHWISE:
                skips = [9 * channel]
            else:
                skips = [place * structure.widths[v] * structure.widths[o] for place, i in enumerate(step.inputs) if i == v]
            for skip in skips:
                gradient = layout.value_at[o], layout.grad_at[o], structure.channel[o]
                layout.edges.add(*gradient, weight + skip, part + skip, size)
    here = layout.value_at[v], layout.grad_at[v], structure.channel[v]
    layout.tasks.add(*here, first, len(layout.edges) - first, flags)


def _add_pool(layout: "Layout", launch: Launch, v: int, steps: list[Merged], flags: int) -> None:
    ((o, _, _),) = (output for step in steps for output in step.outputs)
    launch.reads += [("grad", o)] + ([("mark", o)] if steps[0].is_max else [])
    launch.reads += ([("grad", v)] if flags & ADD else []) + ([("value", v)] if flags & LAST else [])
    launch.writes.append(("grad", v))
    here = layout.value_at[v], layout.grad_at[v], layout.structure.channel[v]
    layout.tasks.add(*here, layout.grad_at[o], layout.mark_at.get(o, 0), flags)


def _stem(layout: "Layout") -> Launch:
    structure = layout.structure
    outputs = [output for step in structure.stems for output in step.outputs]
    o = outputs[0][0]
    N, side, channels = structure.widths[o], layout.sides[o], structure.in_channels
    columns = power_of_2(9 * channels)
    shape = shape_of("stem_backward", N).for_patches(columns)
    chunks = -(-layout.pixels(o) // (shape.block * shape.tiles))
    first = len(layout.tasks)
    for v, m, _ in outputs:
        part = layout.partial_at(m, chunks, structure.weight_size[m])
        layout.tasks.add(layout.value_at[v], layout.grad_at[v], structure.channel[v], part)
    own = {
        "side": side,
        "tiles": shape.tiles,
        "CHANNELS": channels,
        "BK": columns,
        "N": N,
        "BN": power_of_2(N),
    }
    own |= {"BLOCK": shape.block, "num_warps": shape.warps, "num_stages": shape.stages}
    level = 1 + max(structure.back.values())
    reads: list[Block] = [(space, v) for v, _, _ in outputs for space in ("value", "grad")]
    writes: list[Block] = [("partial", m) for _, m, _ in outputs]
    return Launch("stem_bwd", stem_backward, (len(outputs), chunks), first, own, reads, writes, level)


def _own(shape: Shape, C: int) -> dict[str, Any]:
    return {"BLOCK": shape.block, "num_warps": shape.warps, "num_stages": shape.stages, "C": C, "BC": power_of_2(C)}


_KERNELS = {
    (OperationKind.PRODUCT, False): ("product_bwd", product_backward),
    (OperationKind.DEPTHWISE, False): ("depthwise_bwd", depthwise_backward),
    (OperationKind.POOL, False): ("avgpool_bwd", pool_backward),
    (OperationKind.POOL, True): ("maxpool_bwd", pool_backward),
}
