"""Depthwise 3x3 convolutions, backward: gradients of their inputs and taps."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import (
    ROW,
    activate,
    before_norm,
    finish_backward,
    gradient_coefficients,
    mean_of,
    normalisation,
    rounded,
    run_number,
)
from hpcnas.networks.gpu.kernels.windows import load_taps, zeros3


# fmt: off
@triton.jit
def _exists(y, xx, STRIDE: tl.constexpr, out_side, qm):
    there = qm & (xx >= 0) & (xx < out_side * STRIDE) & (y >= 0) & (y < out_side * STRIDE)
    if STRIDE > 1:
        there = there & (xx % STRIDE == 0) & (y % STRIDE == 0)
    return there


@triton.jit
def _load(tensor, start, y, xx, STRIDE: tl.constexpr, out_side, qm, c, cm, C: tl.constexpr):
    at = (start + ((y // STRIDE) * out_side + xx // STRIDE) * C)[:, None] + c[None, :]
    return tl.load(tensor + at, mask=_exists(y, xx, STRIDE, out_side, qm)[:, None] & cm[None, :], other=0.0)


@triton.jit
def load_row_of(tensor, start, y, x, STRIDE: tl.constexpr, out_side, qm, c, cm, C: tl.constexpr):
    """Of the outputs that lie at input pixels (y, x - 1) to (y, x + 2), [BLOCK, C] each in T; 0 where there is none."""
    return (
        _load(tensor, start, y, x - 1, STRIDE, out_side, qm, c, cm, C),
        _load(tensor, start, y, x, STRIDE, out_side, qm, c, cm, C),
        _load(tensor, start, y, x + 1, STRIDE, out_side, qm, c, cm, C),
        _load(tensor, start, y, x + 2, STRIDE, out_side, qm, c, cm, C),
    )


@triton.jit
def _dz(g, z, y, xx, STRIDE: tl.constexpr, out_side, qm, a, b, k1, k0):
    """dz in fp32; 0 where there is no output."""
    dz = before_norm(g.to(tl.float32), z.to(tl.float32), a[None, :], b[None, :], k1[None, :], k0[None, :])
    return tl.where(_exists(y, xx, STRIDE, out_side, qm)[:, None], dz, 0.0)


@triton.jit
def gradient_row(g0, g1, g2, g3, z0, z1, z2, z3, y, x, STRIDE: tl.constexpr, out_side, qm, a, b, k1, k0):
    """dz of what `load_row_of` gave."""
    return (
        _dz(g0, z0, y, x - 1, STRIDE, out_side, qm, a, b, k1, k0),
        _dz(g1, z1, y, x, STRIDE, out_side, qm, a, b, k1, k0),
        _dz(g2, z2, y, x + 1, STRIDE, out_side, qm, a, b, k1, k0),
        _dz(g3, z3, y, x + 2, STRIDE, out_side, qm, a, b, k1, k0),
    )


@triton.jit
def zeros4(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Four tensors of zeros, each one of its own, see `windows.zeros3`."""
    t0, t1, t2 = zeros3(ROWS, COLUMNS)
    return t0, t1, t2, tl.zeros([ROWS, COLUMNS], tl.float32)


@triton.jit
def _store_taps(to, w0, w1, w2, w3, w4, w5, w6, w7, w8, mask):
    tl.store(to, tl.sum(w0, 0), mask=mask)
    tl.store(to + 1, tl.sum(w1, 0), mask=mask)
    tl.store(to + 2, tl.sum(w2, 0), mask=mask)
    tl.store(to + 3, tl.sum(w3, 0), mask=mask)
    tl.store(to + 4, tl.sum(w4, 0), mask=mask)
    tl.store(to + 5, tl.sum(w5, 0), mask=mask)
    tl.store(to + 6, tl.sum(w6, 0), mask=mask)
    tl.store(to + 7, tl.sum(w7, 0), mask=mask)
    tl.store(to + 8, tl.sum(w8, 0), mask=mask)


@triton.jit(do_not_specialize=["runs"])
def depthwise_backward(
    values, grads, sums, coef, counters, weights, partial, tasks, edges, NP, batch, side, out_side, runs,
    C: tl.constexpr, BC: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr, STRIDE: tl.constexpr,
):
    """du[y, x] = sum over taps (i, j) of w[i, j] dz[(y + 1 - i) / STRIDE, (x + 1 - j) / STRIDE];  dw[i, j] = sum of that dz u[y, x].

    Only outputs count that exist: whole quotients inside the image. A program owns BLOCK pairs of columns of input pixels
    of one value (left l and right r). It goes down them once for each edge, and keeps three rows of dz, four wide. So a dz is
    made twice; with single columns it is made three times. The row after the next one is loaded ahead. Sums for dw are its
    own chunk.

    Task and edge: as in product_backward, with the weights (of the first channel's nine taps) in `weights`.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    pixels = batch * side * side
    z_in = tl.multiple_of(tl.load(row), 64) + run * pixels * C
    g_in = tl.multiple_of(tl.load(row + 1), 64) + run * pixels * C
    ch = tl.load(row + 2)
    first = tl.load(row + 3)
    last = first + tl.load(row + 4)
    flags = tl.load(row + 5)
    c = tl.arange(0, BC)
    cm = c < C
    a_in, b_in, floor = normalisation(coef, ch, run, runs, c, cm, C)
    mean = mean_of(coef, ch, run, runs, c, cm, C)
    pairs = (side + 1) // 2
    pair = chunk * BLOCK + tl.arange(0, BLOCK)
    qm = (pair < batch * pairs) | EVEN
    image = pair // pairs
    x = pair % pairs * 2
    rm = (qm & (x + 1 < side)) | EVEN
    lm = qm[:, None] & cm[None, :]
    im = rm[:, None] & cm[None, :]
    start = (image * side * side + x) * C
    out_start = image * out_side * out_side * C
    s1 = tl.zeros([BLOCK, BC], tl.float32)
    s2 = tl.zeros([BLOCK, BC], tl.float32)
    for e in range(first, last):
        edge = edges + e * ROW
        z_out = tl.multiple_of(tl.load(edge), 64) + run * batch * out_side * out_side * C
        g_out = tl.multiple_of(tl.load(edge + 1), 64) + run * batch * out_side * out_side * C
        to = partial + tl.load(edge + 4) + (chunk * runs + run) * tl.load(edge + 5) + c * 9
        a, b, k1, k0 = gradient_coefficients(coef, tl.load(edge + 2), run, runs, c, cm, C)
        f0, f1, f2, f3, f4, f5, f6, f7, f8 = load_taps(weights + run * NP + tl.load(edge + 3) + c * 9, cm)
        w0, w1, w2 = zeros3(BLOCK, BC)
        w3, w4, w5 = zeros3(BLOCK, BC)
        w6, w7, w8 = zeros3(BLOCK, BC)
        add = (e > first) | ((flags & 1) != 0)
        # Rows y - 1 (t), y (m) and y + 1 (b) of dz.
        t0, t1, t2, t3 = zeros4(BLOCK, BC)
        z0, z1, z2, z3 = load_row_of(values + z_out, out_start, 0, x, STRIDE, out_side, qm, c, cm, C)
        g0, g1, g2, g3 = load_row_of(grads + g_out, out_start, 0, x, STRIDE, out_side, qm, c, cm, C)
        m0, m1, m2, m3 = gradient_row(g0, g1, g2, g3, z0, z1, z2, z3, 0, x, STRIDE, out_side, qm, a, b, k1, k0)
        z0, z1, z2, z3 = load_row_of(values + z_out, out_start, 1, x, STRIDE, out_side, qm, c, cm, C)
        g0, g1, g2, g3 = load_row_of(grads + g_out, out_start, 1, x, STRIDE, out_side, qm, c, cm, C)
        for y in range(side):
            b0, b1, b2, b3 = gradient_row(g0, g1, g2, g3, z0, z1, z2, z3, y + 1, x, STRIDE, out_side, qm, a, b, k1, k0)
            # Loaded ahead: they are wanted in the next turn.
            z0, z1, z2, z3 = load_row_of(values + z_out, out_start, y + 2, x, STRIDE, out_side, qm, c, cm, C)
            g0, g1, g2, g3 = load_row_of(grads + g_out, out_start, y + 2, x, STRIDE, out_side, qm, c, cm, C)
            at = (start + y * side * C)[:, None] + c[None, :]
            zl = tl.load(values + z_in + at, mask=lm, other=0.0).to(tl.float32)
            zr = tl.load(values + z_in + at + C, mask=im, other=0.0).to(tl.float32)
            dl = tl.load(grads + g_in + at, mask=lm & add, other=0.0).to(tl.float32)
            dr = tl.load(grads + g_in + at + C, mask=im & add, other=0.0).to(tl.float32)
            ul = tl.where(qm[:, None], activate(zl, a_in[None, :], b_in[None, :], floor), 0.0)
            ur = tl.where(rm[:, None], activate(zr, a_in[None, :], b_in[None, :], floor), 0.0)
            dl = dl + t0 * f8 + t1 * f7 + t2 * f6 + m0 * f5 + m1 * f4 + m2 * f3 + b0 * f2 + b1 * f1 + b2 * f0
            dr = dr + t1 * f8 + t2 * f7 + t3 * f6 + m1 * f5 + m2 * f4 + m3 * f3 + b1 * f2 + b2 * f1 + b3 * f0
            w8 = w8 + t0 * ul + t1 * ur
            w7 = w7 + t1 * ul + t2 * ur
            w6 = w6 + t2 * ul + t3 * ur
            w5 = w5 + m0 * ul + m1 * ur
            w4 = w4 + m1 * ul + m2 * ur
            w3 = w3 + m2 * ul + m3 * ur
            w2 = w2 + b0 * ul + b1 * ur
            w1 = w1 + b1 * ul + b2 * ur
            w0 = w0 + b2 * ul + b3 * ur
            kl = rounded(dl, T)
            kr = rounded(dr, T)
            tl.store(grads + g_in + at, kl, mask=lm)
            tl.store(grads + g_in + at + C, kr, mask=im)
            if (e == last - 1) & (flags > 1):
                ll = tl.where((ul > floor) & qm[:, None], kl.to(tl.float32), 0.0)
                lr = tl.where((ur > floor) & rm[:, None], kr.to(tl.float32), 0.0)
                s1 += ll + lr
                s2 += ll * (zl - mean[None, :]) + lr * (zr - mean[None, :])
            t0, t1, t2, t3 = m0, m1, m2, m3
            m0, m1, m2, m3 = b0, b1, b2, b3
        _store_taps(to, w0, w1, w2, w3, w4, w5, w6, w7, w8, cm)
        tl.debug_barrier()  # the next edge reads the gradient that this one wrote
    if flags > 1:
        finish_backward(sums, coef, counters, ch, run, runs, c, cm, C, pixels, tl.sum(s1, 0), tl.sum(s2, 0))
# fmt: on
