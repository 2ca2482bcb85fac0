"""The three skeletons around the cell as plain data (paper section 4.1), shared by counts, reference and plan."""

from dataclasses import dataclass
from typing import Literal, get_args

from hpcnas.errors import check_at_least, check_one_of

Model = Literal["small", "cifar", "imagenet"]
Tail = Literal["none", "stride1", "stride2"]
MODELS, TAILS = get_args(Model), get_args(Tail)

DEFAULT_CHANNELS = {"small": 16, "cifar": 64, "imagenet": 64}  # c0, section 4.1
DEFAULT_CELLS = {"small": 1, "cifar": 2, "imagenet": 2}  # N, section 4.1
DEFAULT_CLASSES = {"small": 10, "cifar": 10, "imagenet": 1000}
IMAGE_PX = {"small": 32, "cifar": 32, "imagenet": 299}  # what a network is evaluated on


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 3x3 convolution with batch normalisation and ReLU, at the network's entry."""

    name: str
    c_in: int
    c_out: int
    stride: int


@dataclass(frozen=True, slots=True)
class Cell:
    """The genotype's cell, C = `channels` wide at its input."""

    name: str
    channels: int


@dataclass(frozen=True, slots=True)
class Separable:
    """The 3x3 separable convolution after a cell; it takes whatever width the cell emits."""

    name: str
    c_out: int
    stride: int


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A skeleton, layer by layer; global average pooling and a linear classifier follow.

    Attributes:
        image_px: height and width of an evaluation image.
    """

    model: str
    channels: int
    cells: int
    classes: int
    tail: str
    image_px: int
    layers: tuple[Convolution | Cell | Separable, ...]


def blueprint(
    model: str = "small",
    *,
    channels: int | None = None,
    cells: int | None = None,
    classes: int | None = None,
    in_channels: int = 3,
    tail: str = "none",
) -> Blueprint:
    """Lay out a skeleton; the arguments are those of `hpcnas.build_network`.

    Raises:
        UsageError: an unknown model or tail, or a number below 1.
    Source: Liu et al. 2018, section 4.1; the tail is a choice.
    """
    _check(model, tail, {"--channels": channels, "--cells": cells, "classes": classes, "in_channels": in_channels})
    c0 = channels or DEFAULT_CHANNELS[model]
    n = cells or DEFAULT_CELLS[model]
    stem: tuple[Convolution, ...]
    groups: tuple[int, ...]
    if model == "imagenet":
        stem = (
            Convolution("stem.0", in_channels, max(1, c0 // 2), 2),
            Convolution("stem.1", max(1, c0 // 2), c0, 2),
        )
        # Section 4.1: one cell in the first of four groups, N in the others.
        groups = (1, n, n, n)
    else:
        stem = (Convolution("stem.0", in_channels, c0, 1),)
        groups = (n, n, n)
    layers = (*stem, *_body(c0, groups, tail))
    return Blueprint(model, c0, n, classes or DEFAULT_CLASSES[model], tail, IMAGE_PX[model], layers)


def _body(c0: int, groups: tuple[int, ...], tail: str) -> list[Cell | Separable]:
    layers: list[Cell | Separable] = []
    width, index, last = c0, 0, sum(groups) - 1
    for size in groups:
        for place in range(size):
            layers.append(Cell(f"cells.{index}", width))
            ends_group = place == size - 1
            # The paper names no layer after the last cell, so this one is the tail and not the end of a group.
            if index == last:
                ends_group = tail == "stride2"
            if index < last or tail != "none":
                width = 2 * width if ends_group else width
                layers.append(Separable(f"between.{index}", width, 2 if ends_group else 1))
            index += 1
    return layers


def _check(model: str, tail: str, numbers: dict[str, int | None]) -> None:
    check_one_of("--model", model, MODELS)
    check_one_of("--tail", tail, TAILS)
    for option, value in numbers.items():
        if value is not None:
            check_at_least(option, value, 1)
