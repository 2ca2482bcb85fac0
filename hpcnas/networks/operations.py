"""The primitives as modules (paper section 2.3): stride 1, same padding, convolutions followed by BN and ReLU."""

from torch import Tensor, nn

from hpcnas.networks.own_primitives import make_own, own_primitive
from hpcnas.representation.primitives import AVGPOOL3X3, CONV1X1, DEPTHWISE3X3, IDENTITY, MAXPOOL3X3, SEPARABLE3X3

BN_MOMENTUM = 0.1  # a choice, paper.md section 5
BN_EPS = 1e-5


class ConvBNReLU(nn.Module):
    """A convolution without bias, batch normalisation, ReLU.

    Args:
        kernel: 1 or 3 pixels; padding keeps the size, stride divides it (rounding up).
        groups: 1, or c_in for a depthwise convolution.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, ceil(H / stride), ceil(W / stride))."""
        return self.norm(self.conv(x)).relu()


class SeparableConv(nn.Module):
    """A 3x3 depthwise convolution, BN, ReLU, then a 1x1 convolution, BN, ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvBNReLU(c_in, c_in, 3, stride, groups=c_in)
        self.pointwise = ConvBNReLU(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, ceil(H / stride), ceil(W / stride))."""
        return self.pointwise(self.depthwise(x))


def make_primitive(name: str, c_in: int, C: int) -> tuple[nn.Module, int]:
    """Build one primitive.

    Args:
        name: one of representation.primitives.PRIMITIVES, or an own one of the module that this process uses.
        C: the cell's input width, which 1x1 and separable convolutions emit.
    Returns:
        The module, from (B, c_in, H, W) to (B, width, H, W), and that width.
    Raises:
        UsageError: an unknown name, or an own primitive that cannot be made.
    """
    if name == IDENTITY:
        return nn.Identity(), c_in
    if name == CONV1X1:
        return ConvBNReLU(c_in, C, 1), C
    if name == DEPTHWISE3X3:
        return ConvBNReLU(c_in, c_in, 3, groups=c_in), c_in
    if name == SEPARABLE3X3:
        return SeparableConv(c_in, C), C
    if name == MAXPOOL3X3:
        # torch pads with minus infinity, so the border never wins.
        return nn.MaxPool2d(3, stride=1, padding=1), c_in
    if name == AVGPOOL3X3:
        # count_include_pad is a choice; borders then keep the scale of the inside.
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), c_in
    primitive = own_primitive(name)
    return make_own(primitive, c_in, C), primitive.width(c_in, C)
