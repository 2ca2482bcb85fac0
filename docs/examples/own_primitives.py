"""Two operations of your own beside the paper's six: a 5x5 convolution, and a 3x3 convolution with holes.

Start a search with them from the folder that holds this file:

    hpcnas head --preset smoke --cluster local --primitives own_primitives --run runs/own

Each factory is called with the channels that come in and those that go out, and returns a module that keeps height and width.
"""

from torch import nn

from hpcnas import PAPER_PRIMITIVES, Primitive


def convolution(c_in: int, c_out: int, kernel: int, dilation: int) -> nn.Module:
    """A convolution followed by batch normalisation and ReLU, as the paper's are."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
    )


def conv5x5(c_in: int, c_out: int) -> nn.Module:
    """A 5x5 convolution."""
    return convolution(c_in, c_out, kernel=5, dilation=1)


def dilated3x3(c_in: int, c_out: int) -> nn.Module:
    """A 3x3 convolution that sees 5x5 pixels."""
    return convolution(c_in, c_out, kernel=3, dilation=2)


def count_dilated3x3(c_in: int, c_out: int) -> tuple[int, int, int]:
    """Trainable parameters, running statistics, and multiply-adds for one pixel."""
    weights = 9 * c_in * c_out
    return weights + 2 * c_out, 2 * c_out, weights


# The operations of level 1, in order; without the first line they are instead of the paper's.
PRIMITIVES = [
    *PAPER_PRIMITIVES,
    Primitive("5x5", emits="C", make=conv5x5),  # counted by looking at the module
    Primitive("dilated3x3", emits="C", make=dilated3x3, counts=count_dilated3x3),
]
