"""The 3x3 window that depthwise convolutions and pools share: a program walks down columns of pixels and keeps three rows."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import activate


# fmt: off
@triton.jit
def zeros3(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Three tensors of zeros, each one of its own; why that matters stands in pool_backward."""
    return tl.zeros([ROWS, COLUMNS], tl.float32), tl.zeros([ROWS, COLUMNS], tl.float32), tl.zeros([ROWS, COLUMNS], tl.float32)


@triton.jit
def load_taps(w, mask):
    """The nine weights of each channel, [1, C] each; w: pointers to the first of each channel."""
    return (
        tl.load(w, mask=mask, other=0.0)[None, :],
        tl.load(w + 1, mask=mask, other=0.0)[None, :],
        tl.load(w + 2, mask=mask, other=0.0)[None, :],
        tl.load(w + 3, mask=mask, other=0.0)[None, :],
        tl.load(w + 4, mask=mask, other=0.0)[None, :],
        tl.load(w + 5, mask=mask, other=0.0)[None, :],
        tl.load(w + 6, mask=mask, other=0.0)[None, :],
        tl.load(w + 7, mask=mask, other=0.0)[None, :],
        tl.load(w + 8, mask=mask, other=0.0)[None, :],
    )


@triton.jit
def _pixel(values, start, y, x, shift: tl.constexpr, height, wide, qm, c, cm, C: tl.constexpr, a, b, floor, pad: tl.constexpr):
    inside = qm & (x + shift >= 0) & (x + shift < wide) & (y >= 0) & (y < height)
    at = start + (y * wide + shift) * C
    z = tl.load(values + at[:, None] + c[None, :], mask=inside[:, None] & cm[None, :], other=0.0).to(tl.float32)
    return tl.where(inside[:, None], activate(z, a[None, :], b[None, :], floor), pad)


@triton.jit
def load_row(values, start, y, x, height, wide, qm, c, cm, C: tl.constexpr, a, b, floor, pad: tl.constexpr):
    """u of the pixels x - 1, x and x + 1 of row y, [BLOCK, C] each; `pad` outside the image.

    Args: start, offset of (image, row 0, x) of each column; qm, which columns there are.
    """
    return (
        _pixel(values, start, y, x, -1, height, wide, qm, c, cm, C, a, b, floor, pad),
        _pixel(values, start, y, x, 0, height, wide, qm, c, cm, C, a, b, floor, pad),
        _pixel(values, start, y, x, 1, height, wide, qm, c, cm, C, a, b, floor, pad),
    )
# fmt: on
