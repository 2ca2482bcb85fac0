"""The launches of a forward pass, in the order of the levels; what a task holds stands at its kernel."""

from collections import defaultdict
from typing import TYPE_CHECKING

from hpcnas.networks.gpu.kernels.depthwise_forward import depthwise_forward
from hpcnas.networks.gpu.kernels.head import classify, mean_forward
from hpcnas.networks.gpu.kernels.optimiser import running_coefficients
from hpcnas.networks.gpu.kernels.pools import pool_forward
from hpcnas.networks.gpu.kernels.products import product_forward
from hpcnas.networks.gpu.kernels.stem import stem_forward
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.shapes import shape_of
from hpcnas.networks.gpu.structure import power_of_2
from hpcnas.networks.schedule import Merged, OperationKind

if TYPE_CHECKING:
    from hpcnas.networks.gpu.layout import Layout

NAMES = {
    OperationKind.STEM: "stem",
    OperationKind.PRODUCT: "product",
    OperationKind.DEPTHWISE: "depthwise",
    OperationKind.POOL: "pool",
}
HEAD_IMAGES, HEAD_PIXELS = 2, 8  # of a program of the pooling, and of its inner tile: larger ones spill
CLASSIFIER_IMAGES = 16

# (level, kind, width read, width written, side read, side written, stride, is max): one launch each
Key = tuple[int, OperationKind, int, int, int, int, int, bool]
Output = tuple[int, int, int]  # value, module, its first channel there


def forward_launches(layout: "Layout") -> list[Launch]:
    """The launches of a forward pass: all tasks of one kind, width and level in one; an evaluation's coefficients before."""
    structure = layout.structure
    groups: dict[Key, list[tuple[Merged, Output]]] = defaultdict(list)
    for step in structure.merged:
        for output in step.outputs:
            o, i = output[0], step.inputs[0]
            widths, sides = (structure.widths[i], structure.widths[o]), (layout.sides[i], layout.sides[o])
            groups[structure.level[o], step.kind, *widths, *sides, step.stride, step.is_max].append((step, output))
    first = [] if layout.training else [_running(layout)]
    # Sorted by level first: a launch reads what the levels below it wrote.
    return first + [_group(layout, key, groups[key]) for key in sorted(groups)]


def head_launches(layout: "Layout") -> list[Launch]:
    """Global average pooling, classifier and loss."""
    structure, first = layout.structure, len(layout.tasks)
    C, side = structure.widths[structure.output[0]], layout.sides[structure.output[0]]
    for place, v in enumerate(structure.output):
        layout.tasks.add(layout.value_at[v], structure.channel[v], place * C)
    own = {"pixels": side * side, "C": C, "BC": power_of_2(C), "IMAGES": HEAD_IMAGES, "BHW": head_pixels(side)}
    programs = (len(structure.output), -(-layout.batch // HEAD_IMAGES))
    reads = [("value", v) for v in structure.output]
    mean = Launch("mean", mean_forward, programs, first, own, reads, [], structure.top)
    own = {"BLOCK": CLASSIFIER_IMAGES, "BF": 64, "BCLS": power_of_2(structure.classes), "EVAL": not layout.training}
    blocks = -(-layout.batch // CLASSIFIER_IMAGES)
    return [mean, Launch("classify", classify, (1, blocks), 0, own, [], [], structure.top + 1)]


def head_pixels(side: int) -> int:
    """Pixels that the pooling takes at a time: few, since a tile is images x pixels x channels."""
    return min(HEAD_PIXELS, power_of_2(side * side))


def _running(layout: "Layout") -> Launch:
    structure, first = layout.structure, len(layout.tasks)
    for v in structure.normalised:
        layout.tasks.add(structure.channel[v], structure.widths[v])
    widest = max(structure.widths[v] for v in structure.normalised)
    own = {"BC": power_of_2(widest), "num_warps": 1}
    return Launch("coefficients", running_coefficients, (len(structure.normalised), 1), first, own)


def _group(layout: "Layout", key: Key, members: list[tuple[Merged, Output]]) -> Launch:
    level, kind, C, N, side, out_side, stride, is_max = key
    first = len(layout.tasks)
    shape = shape_of(NAMES[kind], N if kind is OperationKind.STEM else C)
    columns = power_of_2(9 * layout.structure.in_channels)
    if kind is OperationKind.STEM:
        shape = shape.for_patches(columns)
    rows = layout.batch * out_side * (1 if kind in (OperationKind.DEPTHWISE, OperationKind.POOL) else out_side)
    per_program = shape.block * shape.tiles
    for step, output in members:
        _add_task(layout, step, output)
    own = {"BLOCK": shape.block, "num_warps": shape.warps, "num_stages": shape.stages, "EVAL": not layout.training}
    if kind is OperationKind.STEM:
        own |= {"side": out_side, "tiles": shape.tiles, "CHANNELS": layout.structure.in_channels, "BK": columns}
        own |= {"N": N, "BN": power_of_2(N)}
    else:
        own |= {"C": C, "BC": power_of_2(C), "EVEN": rows % per_program == 0}
    if kind is OperationKind.PRODUCT:
        own |= {"pixels": rows, "tiles": shape.tiles, "N": N, "BN": power_of_2(N)}
    elif kind is OperationKind.DEPTHWISE:
        own |= {"side": side, "out_side": out_side, "STRIDE": stride}
    elif kind is OperationKind.POOL:
        own |= {"side": side, "IS_MAX": is_max}
    name, kernel = _KERNELS[kind, is_max]
    reads = [("value", v) for v in dict.fromkeys(v for step, _ in members for v in step.inputs if v)]
    writes = [("value", output[0]) for _, output in members]
    if is_max and layout.training:
        writes += [("mark", output[0]) for _, output in members]
    return Launch(name, kernel, (len(members), -(-rows // per_program)), first, own, reads, writes, level)


def _add_task(layout: "Layout", step: Merged, output: Output) -> None:
    structure, at = layout.structure, layout.value_at
    o, m, channel = output
    i = step.inputs[0]
    if step.kind is OperationKind.STEM:
        layout.tasks.add(at[o], structure.channel[o], structure.weight[m])
    elif step.kind is OperationKind.PRODUCT:
        size = structure.widths[i] * structure.widths[o]
        layout.tasks.add(at[o], structure.channel[o], len(layout.edges), len(step.inputs))
        for place, v in enumerate(step.inputs):
            layout.edges.add(at[v], structure.channel[v], structure.weight[m] + place * size)
    elif step.kind is OperationKind.DEPTHWISE:
        layout.tasks.add(at[i], structure.channel[i], at[o], structure.channel[o], structure.weight[m] + 9 * channel)
    else:
        layout.tasks.add(at[i], structure.channel[i], at[o], layout.mark_at.get(o, 0))


_KERNELS = {
    (OperationKind.STEM, False): ("stem", stem_forward),
    (OperationKind.PRODUCT, False): ("product", product_forward),
    (OperationKind.DEPTHWISE, False): ("depthwise", depthwise_forward),
    (OperationKind.POOL, False): ("avgpool", pool_forward),
    (OperationKind.POOL, True): ("maxpool", pool_forward),
}
