"""A genotype as one readable Python file that needs torch alone.

The file has the pruned genotype and the skeleton as data. It has the reference network's modules under the same names, so
its state dict is the reference's (networks/skeletons.py).
"""

from importlib.resources import files

from hpcnas import __version__
from hpcnas.export.own_source import own_source
from hpcnas.networks.blueprint import Blueprint, Cell, Convolution, Separable
from hpcnas.networks.counts import NetworkCounts, count
from hpcnas.representation.canonical import digest
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import LiveMotif, live_levels, used_motifs

CELL = "cell"


def standalone_source(genotype: Genotype, plan: Blueprint, *, in_channels: int, file: str, title: str) -> str:
    """The text of the stand-alone model file.

    Args:
        plan: the skeleton that the weights were trained in.
        file: name under which the text will be saved, such as model.py; it is shown in the usage.
        title: first line of its docstring; quotes and backslashes in it are replaced.
    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
        UsageError: own primitives that the file cannot hold.
    """
    counts = count(
        genotype,
        plan.model,
        channels=plan.channels,
        cells=plan.cells,
        classes=plan.classes,
        in_channels=in_channels,
        tail=plan.tail,
    )
    # The module itself is the template, so that linters, types and tests check what people get.
    text = files("hpcnas.export").joinpath("model_file.py").read_text(encoding="utf-8")
    imports = text[text.index("import json") : text.index("# --- data ---")]
    modules = _part(text, "modules", "own")
    operations = _part(text, "operations")
    own = own_source(genotype, text) or _part(text, "own", "operations")
    docstring = _docstring(title, file, genotype, plan, counts, in_channels)
    return f"{docstring}\n{imports}{_data(genotype, plan, in_channels)}{modules}{own}{operations}"


def _part(text: str, name: str, until: str = "") -> str:
    """What stands in model_file.py below one mark, up to another or the end."""
    begin = text.index(mark := f"# --- {name} ---\n") + len(mark)
    return text[begin : text.index(f"# --- {until} ---\n") if until else len(text)]


def _docstring(title: str, file: str, genotype: Genotype, plan: Blueprint, counts: NetworkCounts, in_channels: int) -> str:
    # A quote would end the docstring, a backslash would escape in it.
    first_line = " ".join(title.replace("\\", "/").replace('"', "'").split())
    return f'''"""{first_line}

Written by hpcnas {__version__}; needs torch (2.0 or newer) and nothing else.

    python {file} [WEIGHTS]      prints the number of parameters and tries the network on one image
    from {file.removesuffix(".py")} import build_model
    model = build_model("weights.safetensors")      # or a .pt file; without weights it is freshly initialised

Genotype {digest(genotype)}
Model {plan.model}: c0 = {plan.channels}, N = {plan.cells}, {plan.classes} classes, tail {plan.tail}.
Input (B, {in_channels}, H, W), standardised per channel as in training; output logits (B, {plan.classes}).
Parameters: {counts.trainable:,} trainable, {counts.all_variables:,} with the running statistics of batch normalisation.

Parts of the genotype that cannot reach the output are left out, as hpcnas leaves them out.
"""
'''


def _data(genotype: Genotype, plan: Blueprint, in_channels: int) -> str:
    return f"""# The genotype: each motif is a list of edges (from node, to node, operation); the last level is the cell.
# A node concatenates what its edges bring, in ascending order of the nodes they come from.
LEVELS: Levels = {_levels_text(genotype)}
# The skeleton: (convolution, in, out, stride), (cell, channels), (separable, out, stride); pooling and a classifier follow.
LAYERS: list[Any] = {_list_text([_layer(layer) for layer in plan.layers])}
CLASSES = {plan.classes}
IMAGE = ({in_channels}, {plan.image_px}, {plan.image_px})
"""


def _layer(layer: Convolution | Cell | Separable) -> tuple[str | int, ...]:
    if isinstance(layer, Convolution):
        return "convolution", layer.c_in, layer.c_out, layer.stride
    if isinstance(layer, Cell):
        return "cell", layer.channels
    return "separable", layer.c_out, layer.stride


def _levels_text(genotype: Genotype) -> str:
    levels = live_levels(genotype)
    lines = ["["]
    for level, motifs in enumerate(levels, start=2):
        lines.append(f"    {{  # level {level}")
        for m in sorted(used_motifs(levels)[level - 2]):
            motif = motifs[m - 1]
            name = CELL if level == len(levels) + 1 else f"motif{m}"
            lines.append(f'        "{name}": {_motif_text(genotype, level, motif)},')
        lines.append("    },")
    return "\n".join([*lines, "]"])


def _motif_text(genotype: Genotype, level: int, motif: LiveMotif | None) -> str:
    edges = motif.edges if motif is not None else ()
    rows = [f"({j}, {i}, {_quoted(genotype.operation_name(level, k))})" for j, i, k in edges]
    body = ",\n            ".join(rows)
    return f"[\n            {body},\n        ]"


def _list_text(rows: list[tuple[str | int, ...]]) -> str:
    texts = ["(" + ", ".join(_quoted(value) if isinstance(value, str) else str(value) for value in row) + ")" for row in rows]
    return "[\n    " + ",\n    ".join(texts) + ",\n]"


def _quoted(text: str) -> str:
    return f'"{text}"'
