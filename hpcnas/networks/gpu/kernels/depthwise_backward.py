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
)
from hpcnas.networks.gpu.kernels.windows import load_taps, zeros3


# fmt: off
@triton.jit
def _gradient(
    values, grads, z_out, g_out, start, y, x, shift: tl.constexpr, STRIDE: tl.constexpr, out_side, qm, c, cm, C: tl.constexpr, a, b, k1, k0,
):
    xx = x + shift
    there = qm & (xx >= 0) & (xx < out_side * STRIDE) & (y >= 0) & (y < out_side * STRIDE)
    if STRIDE > 1:
        there = there & (xx % STRIDE == 0) & (y % STRIDE == 0)
    at = (start + ((y // STRIDE) * out_side + xx // STRIDE) * C)[:, None] + c[None, :]
    mask = there[:, None] & cm[None, :]
    z = tl.load(values + z_out + at, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(grads + g_out + at, mask=mask, other=0.0).to(tl.float32)
    return tl.where(there[:, None], before_norm(g, z, a[None, :], b[None, :], k1[None, :], k0[None, :]), 0.0)


@triton.jit
def gradient_row(values, grads, z_out, g_out, start, y, x, STRIDE: tl.constexpr, out_side, qm, c, cm, C: tl.constexpr, a, b, k1, k0):
    """dz of the outputs that lie at input pixels (y, x - 1), (y, x) and (y, x + 1), [BLOCK, C] each; 0 where there is none."""
    return (
        _gradient(values, grads, z_out, g_out, start, y, x, -1, STRIDE, out_side, qm, c, cm, C, a, b, k1, k0),
        _gradient(values, grads, z_out, g_out, start, y, x, 0, STRIDE, out_side, qm, c, cm, C, a, b, k1, k0),
        _gradient(values, grads, z_out, g_out, start, y, x, 1, STRIDE, out_side, qm, c, cm, C, a, b, k1, k0),
    )


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

    Only outputs count that exist: whole quotients inside the image. A program owns BLOCK columns of input pixels of one
    value, goes down them once for each edge, and keeps three rows of dz; its sums for dw are its own chunk.

    Task and edge: as in product_backward, with the weights (of the first channel's nine taps) in `weights`.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), tl.program_id(2)
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
    column = chunk * BLOCK + tl.arange(0, BLOCK)
    qm = (column < batch * side) | EVEN
    im = qm[:, None] & cm[None, :]
    image = column // side
    x = column % side
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
        t0, t1, t2 = zeros3(BLOCK, BC)
        m0, m1, m2 = gradient_row(values, grads, z_out, g_out, out_start, 0, x, STRIDE, out_side, qm, c, cm, C, a, b, k1, k0)
        for y in range(side):
            b0, b1, b2 = gradient_row(values, grads, z_out, g_out, out_start, y + 1, x, STRIDE, out_side, qm, c, cm, C, a, b, k1, k0)
            at = (start + y * side * C)[:, None] + c[None, :]
            z = tl.load(values + z_in + at, mask=im, other=0.0).to(tl.float32)
            du = tl.load(grads + g_in + at, mask=im & add, other=0.0).to(tl.float32)
            u = tl.where(qm[:, None], activate(z, a_in[None, :], b_in[None, :], floor), 0.0)
            du += t0 * f8 + t1 * f7 + t2 * f6 + m0 * f5 + m1 * f4 + m2 * f3 + b0 * f2 + b1 * f1 + b2 * f0
            w8 += t0 * u
            w7 += t1 * u
            w6 += t2 * u
            w5 += m0 * u
            w4 += m1 * u
            w3 += m2 * u
            w2 += b0 * u
            w1 += b1 * u
            w0 += b2 * u
            kept = rounded(du, T)
            tl.store(grads + g_in + at, kept, mask=im)
            if (e == last - 1) & (flags > 1):
                live = tl.where((u > floor) & qm[:, None], kept.to(tl.float32), 0.0)
                s1 += live
                s2 += live * (z - mean[None, :])
            t0, t1, t2 = m0, m1, m2
            m0, m1, m2 = b0, b1, b2
        _store_taps(to, w0, w1, w2, w3, w4, w5, w6, w7, w8, cm)
        tl.debug_barrier()  # the next edge reads the gradient that this one wrote
    if flags > 1:
        finish_backward(sums, coef, counters, ch, run, runs, c, cm, C, pixels, tl.sum(s1, 0), tl.sum(s2, 0))
# fmt: on
