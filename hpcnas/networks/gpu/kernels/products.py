"""1x1 convolutions: forward, and the gradients of their inputs and weights."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import (
    ROW,
    activate,
    aligned,
    before_norm,
    finish_backward,
    finish_forward,
    gradient_coefficients,
    matmul,
    mean_of,
    normalisation,
    pinned,
    rounded,
    run_number,
)


# fmt: off
@triton.jit(do_not_specialize=["runs"])
def product_forward(
    values, sums, coef, affine, counters, shadow, tasks, edges, NP, pixels, tiles, runs,
    C: tl.constexpr, BC: tl.constexpr, N: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr, EVAL: tl.constexpr,
):
    """z[p, n] = sum over edges and c of u_edge[p, c] W_edge[n, c].

    A program computes `tiles` tiles of BLOCK pixels of one output. For each it loops over the parts of the concatenation
    that it reads, [BLOCK, C] x [C, N]. S and Q are summed elementwise, and over rows only at the end.

    Task: z offset, channel base, first edge, edges. Edge: z offset, channel base, offset of its [N][C] weights in shadow.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    out = tl.multiple_of(tl.load(row), 64) + run * pixels * N
    ch = tl.load(row + 1)
    first = tl.load(row + 2)
    last = first + tl.load(row + 3)
    c = tl.arange(0, BC)
    n = tl.arange(0, BN)
    cm, nm = c < C, n < N
    s = tl.zeros([BLOCK, BN], tl.float32)
    q = tl.zeros([BLOCK, BN], tl.float32)
    for tile in range(tiles):
        p = (chunk * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        pm = (p < pixels) | EVEN
        total = tl.zeros([BLOCK, BN], tl.float32)
        for e in range(first, last):
            edge = edges + e * ROW
            part = tl.multiple_of(tl.load(edge), 64) + run * pixels * C
            w = aligned(tl.load(edge + 2), C) + run * NP
            z = tl.load(values + part + p[:, None] * C + c[None, :], mask=pm[:, None] & cm[None, :], other=0.0)
            weight = tl.load(shadow + w + n[None, :] * C + c[:, None], mask=cm[:, None] & nm[None, :], other=0.0)
            a, b, floor = normalisation(coef, tl.load(edge + 1), run, runs, c, cm, C)
            u = activate(z.to(tl.float32), a[None, :], b[None, :], floor)
            total += matmul(rounded(u, T), weight)
        z_out = rounded(total, T)
        tl.store(values + out + p[:, None] * N + n[None, :], z_out, mask=pm[:, None] & nm[None, :])
        if not EVAL:
            kept = tl.where(pm[:, None], z_out.to(tl.float32), 0.0)  # what readers will see, rounded
            s += kept
            q += kept * kept
    if not EVAL:
        finish_forward(sums, coef, affine, counters, ch, run, runs, n, nm, N, pixels, tl.sum(s, 0), tl.sum(q, 0))


@triton.jit(do_not_specialize=["runs"])
def product_backward(
    values, grads, sums, coef, counters, shadow, partial, tasks, edges, NP, pixels, tiles, runs,
    C: tl.constexpr, BC: tl.constexpr, N: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):
    """du[p, c] = sum over edges and n of dz_edge[p, n] W_edge[n, c];  dW_edge[n, c] = sum over p of dz_edge[p, n] u[p, c].

    A program computes `tiles` tiles of BLOCK pixels of one value's gradient, over all products that read the value. It
    alone touches these pixels, so the edges add to the gradient in memory, in their order. Its sum for dW is its own chunk.

    Task: z offset, gradient offset, channel base, first edge, edges, flags (1: add to the gradient; 2: it is complete then).
    Edge: of the output z offset, gradient offset, channel base; offset of its [N][C] weights in shadow, partial offset, and
    the size of the module's weights.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    z_in = tl.multiple_of(tl.load(row), 64) + run * pixels * C
    g_in = tl.multiple_of(tl.load(row + 1), 64) + run * pixels * C
    ch = tl.load(row + 2)
    first = tl.load(row + 3)
    last = first + tl.load(row + 4)
    flags = tl.load(row + 5)
    c = tl.arange(0, BC)
    n = tl.arange(0, BN)
    cm, nm = c < C, n < N
    a_in, b_in, floor = normalisation(coef, ch, run, runs, c, cm, C)
    mean = mean_of(coef, ch, run, runs, c, cm, C)
    s1 = tl.zeros([BLOCK, BC], tl.float32)
    s2 = tl.zeros([BLOCK, BC], tl.float32)
    for e in range(first, last):
        edge = edges + e * ROW
        z_out = tl.multiple_of(tl.load(edge), 64) + run * pixels * N
        g_out = tl.multiple_of(tl.load(edge + 1), 64) + run * pixels * N
        w = aligned(tl.load(edge + 3), C) + run * NP
        size = aligned(tl.load(edge + 5), C)
        to = aligned(tl.load(edge + 4), C) + (chunk * runs + run) * size
        at = n[:, None] * C + c[None, :]
        weight = tl.load(shadow + w + at, mask=nm[:, None] & cm[None, :], other=0.0)
        a, b, k1, k0 = gradient_coefficients(coef, tl.load(edge + 2), run, runs, n, nm, N)
        dw = tl.zeros([BN, BC], tl.float32)
        add = (e > first) | ((flags & 1) != 0)
        for tile in range(tiles):
            p = (chunk * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
            pm = (p < pixels) | EVEN
            om = pm[:, None] & nm[None, :]
            im = pm[:, None] & cm[None, :]
            zo = tl.load(values + z_out + p[:, None] * N + n[None, :], mask=om, other=0.0).to(tl.float32)
            g = tl.load(grads + g_out + p[:, None] * N + n[None, :], mask=om, other=0.0).to(tl.float32)
            z = tl.load(values + z_in + p[:, None] * C + c[None, :], mask=im, other=0.0).to(tl.float32)
            dz = tl.where(pm[:, None], before_norm(g, zo, a[None, :], b[None, :], k1[None, :], k0[None, :]), 0.0)
            dz = pinned(rounded(dz, T))
            u = activate(z, a_in[None, :], b_in[None, :], floor)
            dw += matmul(tl.trans(dz), pinned(rounded(u, T)))
            du = matmul(dz, weight)
            if add:
                du += tl.load(grads + g_in + p[:, None] * C + c[None, :], mask=im, other=0.0).to(tl.float32)
            kept = rounded(du, T)
            tl.store(grads + g_in + p[:, None] * C + c[None, :], kept, mask=im)
            if (e == last - 1) & (flags > 1):
                live = tl.where((u > floor) & pm[:, None], kept.to(tl.float32), 0.0)
                s1 += live
                s2 += live * (z - mean[None, :])
        tl.store(partial + to + at, dw, mask=nm[:, None] & cm[None, :])
        tl.debug_barrier()  # the next edge reads the gradient that this one wrote
    if flags > 1:
        finish_backward(sums, coef, counters, ch, run, runs, c, cm, C, pixels, tl.sum(s1, 0), tl.sum(s2, 0))
# fmt: on
