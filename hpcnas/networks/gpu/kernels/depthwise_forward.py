"""Depthwise 3x3 convolutions, forward."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import ROW, finish_forward, normalisation, rounded, run_number
from hpcnas.networks.gpu.kernels.windows import load_row, load_taps, zeros3


# fmt: off
@triton.jit(do_not_specialize=["runs"])
def depthwise_forward(
    values, sums, coef, affine, counters, weights, tasks, NP, batch, side, out_side, runs,
    C: tl.constexpr, BC: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr, STRIDE: tl.constexpr, EVAL: tl.constexpr,
):
    """z[y, x, c] = sum over taps (i, j) of w[c, i, j] u[y STRIDE + i - 1, x STRIDE + j - 1, c], with u = 0 outside.

    A program owns BLOCK columns of output pixels (image, x) of one task and goes down them. Two of the window's three rows
    are there from the step before. So a row is loaded and normalised three times, not nine.

    Task: z offset read, channel base, z offset written, channel base, weight offset (of the first channel's nine taps).
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    source = values + tl.multiple_of(tl.load(row), 64) + run * batch * side * side * C
    to = values + tl.multiple_of(tl.load(row + 2), 64) + run * batch * out_side * out_side * C
    ch = tl.load(row + 3)
    c = tl.arange(0, BC)
    cm = c < C
    a, b, floor = normalisation(coef, tl.load(row + 1), run, runs, c, cm, C)
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = load_taps(weights + run * NP + tl.load(row + 4) + c * 9, cm)
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    qm = (column < batch * out_side) | EVEN
    image = column // out_side
    x = column % out_side * STRIDE
    start = (image * side * side + x) * C
    out_start = (image * out_side * out_side + column % out_side) * C
    s = tl.zeros([BLOCK, BC], tl.float32)
    q = tl.zeros([BLOCK, BC], tl.float32)
    t0, t1, t2 = zeros3(BLOCK, BC)
    m0, m1, m2 = load_row(source, start, 0, x, side, side, qm, c, cm, C, a, b, floor, 0.0)
    for y_out in range(out_side):
        y = y_out * STRIDE
        b0, b1, b2 = load_row(source, start, y + 1, x, side, side, qm, c, cm, C, a, b, floor, 0.0)
        total = t0 * w0 + t1 * w1 + t2 * w2 + m0 * w3 + m1 * w4 + m2 * w5 + b0 * w6 + b1 * w7 + b2 * w8
        z = rounded(total, T)
        at = out_start + y_out * out_side * C
        tl.store(to + at[:, None] + c[None, :], z, mask=qm[:, None] & cm[None, :])
        if not EVAL:
            kept = tl.where(qm[:, None], z.to(tl.float32), 0.0)
            s += kept
            q += kept * kept
        if STRIDE == 1:
            t0, t1, t2 = m0, m1, m2
            m0, m1, m2 = b0, b1, b2
        else:
            t0, t1, t2 = b0, b1, b2
            m0, m1, m2 = load_row(source, start, y + 2, x, side, side, qm, c, cm, C, a, b, floor, 0.0)
    if not EVAL:
        pixels = batch * out_side * out_side
        finish_forward(sums, coef, affine, counters, ch, run, runs, c, cm, C, pixels, tl.sum(s, 0), tl.sum(q, 0))
# fmt: on
