"""The stand-alone model file, as a module: `standalone.py` replaces this text and the data below, and copies the rest.

It imports torch and the standard library alone, since it must run where hpcnas is not installed. It repeats networks/ in one
readable file. Its modules have the reference network's names, so the state dicts are the same; a test compares the outputs.
"""

import json
import struct
import sys
from typing import Any

import torch
from torch import Tensor, nn

Levels = list[dict[str, list[tuple[int, int, str]]]]

# --- data ---
LEVELS: Levels = [
    {  # level 2
        "motif1": [
            (1, 2, "identity"),
            (1, 3, "conv1x1"),
            (2, 3, "separable3x3"),
        ],
    },
    {  # level 3
        "cell": [
            (1, 2, "motif1"),
        ],
    },
]
LAYERS: list[Any] = [
    ("convolution", 3, 16, 1),
    ("cell", 16),
]
CLASSES = 10
IMAGE = (3, 32, 32)
# --- modules ---


class ConvBNReLU(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=1e-5, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.norm(self.conv(x))
        return y.relu()


class SeparableConv(nn.Module):
    """A 3x3 depthwise convolution, then a 1x1 convolution, BN and ReLU after each."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvBNReLU(c_in, c_in, 3, stride, groups=c_in)
        self.pointwise = ConvBNReLU(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


# --- own ---
OWN: dict[str, tuple[Any, str]] = {}  # a user's own primitives: the factory, and which width they emit
# --- operations ---


def make_primitive(name: str, c_in: int, C: int) -> tuple[nn.Module, int]:
    """The operation, (B, c_in, H, W) to (B, width, H, W), and that width; C is the width of the cell's input.

    Raises:
        ValueError: an unknown name.
    """
    if name == "identity":
        return nn.Identity(), c_in
    if name == "conv1x1":
        return ConvBNReLU(c_in, C, 1), C
    if name == "depthwise3x3":
        return ConvBNReLU(c_in, c_in, 3, groups=c_in), c_in
    if name == "separable3x3":
        return SeparableConv(c_in, C), C
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1), c_in
    if name == "avgpool3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), c_in
    if name in OWN:
        make, emits = OWN[name]
        width = C if emits == "C" else c_in
        return make(c_in, width), width
    raise ValueError(name)


class Graph(nn.Module):
    """A motif or the cell: every edge is an operation with weights of its own."""

    def __init__(self, level: int, name: str, c_in: int, C: int) -> None:
        super().__init__()
        self.inputs: dict[int, list[int]] = {}  # node -> the nodes that it concatenates
        self.edges = nn.ModuleDict()
        widths = {1: c_in}
        # In order of i, then j: the channels of a node follow its predecessors in ascending order.
        for j, i, operation in sorted(LEVELS[level][name], key=lambda edge: (edge[1], edge[0])):
            if level == 0:
                self.edges[f"{j}_{i}"], width = make_primitive(operation, widths[j], C)
            elif level == 1:
                self.edges[f"{j}_{i}"], width = MotifOperation(operation, widths[j], C), C
            else:
                graph = Graph(level - 1, operation, widths[j], C)
                self.edges[f"{j}_{i}"] = graph
                width = graph.width
            widths[i] = widths.get(i, 0) + width
            self.inputs.setdefault(i, []).append(j)
        self.sink = max(widths)
        self.width: int = widths[self.sink]

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, width, H, W)."""
        nodes = {1: x}
        for i, predecessors in self.inputs.items():
            features = [self.edges[f"{j}_{i}"](nodes[j]) for j in predecessors]
            nodes[i] = torch.cat(features, dim=1) if len(features) > 1 else features[0]
        return nodes[self.sink]


class MotifOperation(nn.Module):
    """A motif of primitives used as an operation: its graph, then a 1x1 convolution to C channels."""

    def __init__(self, name: str, c_in: int, C: int) -> None:
        super().__init__()
        self.graph = Graph(0, name, c_in, C)
        self.project = ConvBNReLU(self.graph.width, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, C, H, W)."""
        y: Tensor = self.project(self.graph(x))
        return y


class Model(nn.Module):
    """Stem, cells with separable convolutions between them, global average pooling, linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.cells, self.between = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.order: list[tuple[str, int]] = []
        width = 0
        for kind, *numbers in LAYERS:
            if kind == "convolution":
                c_in, width, stride = numbers
                self._append("stem", ConvBNReLU(c_in, width, 3, stride))
            elif kind == "cell":
                cell = Graph(len(LEVELS) - 1, "cell", numbers[0], numbers[0])
                self._append("cells", cell)
                width = cell.width
            else:
                c_out, stride = numbers
                self._append("between", SeparableConv(width, c_out, stride))
                width = c_out
        self.classifier = nn.Linear(width, CLASSES)
        self.apply(initialise)

    def _append(self, part: str, module: nn.Module) -> None:
        getattr(self, part).append(module)
        self.order.append((part, len(getattr(self, part)) - 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W), standardised, to logits (B, classes); any H and W."""
        x = images
        for part, index in self.order:
            x = getattr(self, part)[index](x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def initialise(module: nn.Module) -> None:
    """He et al. 2015 for convolutions; BN starts as torch starts it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        nn.init.zeros_(module.bias)


def read_safetensors(path: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file: 8 bytes of header length, a JSON header, then the numbers."""
    dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        # A copy, which is aligned: a slice may begin at an offset that its type cannot view.
        numbers = (
            torch.frombuffer(data, dtype=torch.uint8)[begin:end].clone() if end > begin else torch.empty(0, dtype=torch.uint8)
        )
        tensors[name] = numbers.view(dtypes[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def build_model(weights: str | None = None) -> Model:
    """The network; with the weights of a .safetensors or .pt file in evaluation mode, else freshly initialised."""
    model = Model()
    if weights is not None:
        path = str(weights)
        tensors = (
            read_safetensors(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
        )
        # Weights files have no counters of batches; an evaluation does not read them.
        counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
        model.load_state_dict({**counters, **tensors})
        model.eval()
    return model


def main() -> None:
    """Print the number of parameters and try one image; the argument is a weights file."""
    model = build_model(sys.argv[1] if len(sys.argv) > 1 else None).eval()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    with torch.no_grad():
        logits = model(torch.zeros(1, *IMAGE))
    print(f"one image of {tuple(IMAGE)} gives {tuple(logits.shape)}")


if __name__ == "__main__":
    main()
