"""3x3 pools of stride 1: the largest, or the mean of the pixels that are there; forward and backward."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import ROW, activate, finish_backward, mean_of, normalisation, rounded, run_number
from hpcnas.networks.gpu.kernels.windows import load_row, zeros3


# fmt: off
@triton.jit
def _better(best, mark, u, tap: tl.constexpr):
    """The larger, the first of equals, as torch takes it; NaN wins."""
    better = (u > best) | (u != u)
    return tl.where(better, u, best), tl.where(better, tap, mark)


@triton.jit
def _share(y, x, side):
    """One over how many pixels of the 3x3 window around (y, x) lie inside the image."""
    rows = 3.0 - tl.where(y <= 0, 1.0, 0.0) - tl.where(y >= side - 1, 1.0, 0.0)
    columns = 3.0 - tl.where(x <= 0, 1.0, 0.0) - tl.where(x >= side - 1, 1.0, 0.0)
    return 1.0 / (rows * columns)


@triton.jit(do_not_specialize=["runs"])
def pool_forward(
    values, marks, coef, tasks, batch, side, runs,
    C: tl.constexpr, BC: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr, IS_MAX: tl.constexpr, EVAL: tl.constexpr,
):
    """The largest u of the window around each pixel and a mark, which tap it was; or the mean over the window's pixels.

    A program owns BLOCK columns of pixels of one task and goes down them, as in depthwise_forward. No sums: a pool is not
    normalised, so nobody has to be waited for.

    Task: z offset read, channel base, offset written, offset of the marks.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    pixels = batch * side * side
    source = values + tl.multiple_of(tl.load(row), 64) + run * pixels * C
    to = values + tl.multiple_of(tl.load(row + 2), 64) + run * pixels * C
    mark_to = marks + tl.multiple_of(tl.load(row + 3), 64) + run * pixels * C
    c = tl.arange(0, BC)
    cm = c < C
    a, b, floor = normalisation(coef, tl.load(row + 1), run, runs, c, cm, C)
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    qm = (column < batch * side) | EVEN
    om = qm[:, None] & cm[None, :]
    x = column % side
    start = (column // side * side * side + x) * C
    pad: tl.constexpr = float("-inf") if IS_MAX else 0.0
    t0 = tl.full([BLOCK, BC], pad, tl.float32)
    t1 = tl.full([BLOCK, BC], pad, tl.float32)
    t2 = tl.full([BLOCK, BC], pad, tl.float32)
    m0, m1, m2 = load_row(source, start, 0, x, side, side, qm, c, cm, C, a, b, floor, pad)
    for y in range(side):
        b0, b1, b2 = load_row(source, start, y + 1, x, side, side, qm, c, cm, C, a, b, floor, pad)
        at = (start + y * side * C)[:, None] + c[None, :]
        if IS_MAX:
            best, mark = _better(t0, tl.zeros([BLOCK, BC], tl.int32), t1, 1)
            best, mark = _better(best, mark, t2, 2)
            best, mark = _better(best, mark, m0, 3)
            best, mark = _better(best, mark, m1, 4)
            best, mark = _better(best, mark, m2, 5)
            best, mark = _better(best, mark, b0, 6)
            best, mark = _better(best, mark, b1, 7)
            best, mark = _better(best, mark, b2, 8)
            if not EVAL:
                tl.store(mark_to + at, mark.to(tl.uint8), mask=om)
        else:
            best = (t0 + t1 + t2 + m0 + m1 + m2 + b0 + b1 + b2) * _share(y, x, side)[:, None]
        tl.store(to + at, rounded(best, T), mask=om)
        t0, t1, t2 = m0, m1, m2
        m0, m1, m2 = b0, b1, b2


@triton.jit
def _pooled(grads, marks, start, y, x, shift: tl.constexpr, side, qm, c, cm, C: tl.constexpr, IS_MAX: tl.constexpr):
    """Gradient and mark of the pool's pixels (y, x + shift); for a mean the gradient's share, and no marks."""
    there = qm & (x + shift >= 0) & (x + shift < side) & (y >= 0) & (y < side)
    at = (start + (y * side + shift) * C)[:, None] + c[None, :]
    mask = there[:, None] & cm[None, :]
    g = tl.load(grads + at, mask=mask, other=0.0).to(tl.float32)
    if IS_MAX:
        return g, tl.load(marks + at, mask=mask, other=255)
    else:
        return g * _share(y, x + shift, side)[:, None], tl.full([1, 1], 0, tl.uint8)


@triton.jit(do_not_specialize=["runs"])
def pool_backward(
    values, grads, marks, sums, coef, counters, tasks, batch, side, runs,
    C: tl.constexpr, BC: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr, IS_MAX: tl.constexpr,
):
    """du of a pixel: the gradients of those windows around it that took it (largest), or its share of all of them (mean).

    The window whose middle lies at (i - 1, j - 1) from here sees this pixel as its tap 8 - (3 i + j). A program owns BLOCK
    columns of one value and goes down them; S1 and S2 as in product_backward.

    Task: z offset, gradient offset, channel base, gradient offset of the pool, offset of its marks, flags.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    pixels = batch * side * side
    z_in = tl.multiple_of(tl.load(row), 64) + run * pixels * C
    g_in = tl.multiple_of(tl.load(row + 1), 64) + run * pixels * C
    ch = tl.load(row + 2)
    source = grads + tl.multiple_of(tl.load(row + 3), 64) + run * pixels * C
    mark_from = marks + tl.multiple_of(tl.load(row + 4), 64) + run * pixels * C
    flags = tl.load(row + 5)
    c = tl.arange(0, BC)
    cm = c < C
    a, b, floor = normalisation(coef, ch, run, runs, c, cm, C)
    mean = mean_of(coef, ch, run, runs, c, cm, C)
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    qm = (column < batch * side) | EVEN
    im = qm[:, None] & cm[None, :]
    x = column % side
    start = (column // side * side * side + x) * C
    s1 = tl.zeros([BLOCK, BC], tl.float32)
    s2 = tl.zeros([BLOCK, BC], tl.float32)
    t0, t1, t2 = zeros3(BLOCK, BC)
    m0, k0 = _pooled(source, mark_from, start, 0, x, -1, side, qm, c, cm, C, IS_MAX)
    m1, k1 = _pooled(source, mark_from, start, 0, x, 0, side, qm, c, cm, C, IS_MAX)
    m2, k2 = _pooled(source, mark_from, start, 0, x, 1, side, qm, c, cm, C, IS_MAX)
    # Marks of the row before, whose gradients are 0 at first. They must not start as k0, k1, k2. The compiler passes the loop
    # once dry, and takes a variable for unchanged if it ends with the tensor that it had before. It would keep the first marks.
    none = tl.full([BLOCK if IS_MAX else 1, BC if IS_MAX else 1], 255, tl.uint8)
    j0, j1, j2 = none, none, none
    for y in range(side):
        b0, l0 = _pooled(source, mark_from, start, y + 1, x, -1, side, qm, c, cm, C, IS_MAX)
        b1, l1 = _pooled(source, mark_from, start, y + 1, x, 0, side, qm, c, cm, C, IS_MAX)
        b2, l2 = _pooled(source, mark_from, start, y + 1, x, 1, side, qm, c, cm, C, IS_MAX)
        at = (start + y * side * C)[:, None] + c[None, :]
        du = tl.load(grads + g_in + at, mask=im & ((flags & 1) != 0), other=0.0).to(tl.float32)
        if IS_MAX:
            du += tl.where(j0 == 8, t0, 0.0) + tl.where(j1 == 7, t1, 0.0) + tl.where(j2 == 6, t2, 0.0)
            du += tl.where(k0 == 5, m0, 0.0) + tl.where(k1 == 4, m1, 0.0) + tl.where(k2 == 3, m2, 0.0)
            du += tl.where(l0 == 2, b0, 0.0) + tl.where(l1 == 1, b1, 0.0) + tl.where(l2 == 0, b2, 0.0)
        else:
            du += t0 + t1 + t2 + m0 + m1 + m2 + b0 + b1 + b2
        kept = rounded(du, T)
        tl.store(grads + g_in + at, kept, mask=im)
        if flags > 1:
            z = tl.load(values + z_in + at, mask=im, other=0.0).to(tl.float32)
            is_live = (activate(z, a[None, :], b[None, :], floor) > floor) & qm[:, None]
            live = tl.where(is_live, kept.to(tl.float32), 0.0)
            s1 += live
            s2 += live * (z - mean[None, :])
        t0, t1, t2 = m0, m1, m2
        m0, m1, m2 = b0, b1, b2
        j0, j1, j2 = k0, k1, k2
        k0, k1, k2 = l0, l1, l2
    if flags > 1:
        finish_backward(sums, coef, counters, ch, run, runs, c, cm, C, pixels, tl.sum(s1, 0), tl.sum(s2, 0))
# fmt: on
