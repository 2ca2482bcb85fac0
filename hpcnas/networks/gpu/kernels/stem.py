"""The stem's 3x3 convolution, straight from the bytes of the data set: crop, flip and standardisation happen in registers."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import (
    ROW,
    before_norm,
    finish_forward,
    gradient_coefficients,
    matmul,
    pinned,
    rounded,
    run_number,
)


# fmt: off
@triton.jit
def _patches(images, choice, scale, shift, run, batch, image_side, side, p, pm, k, CHANNELS: tl.constexpr):
    """[pixels, 9 channels]: the windows around pixels p of the cropped, flipped, standardised images; k = channel * 9 + tap."""
    channel = k // 9
    tap = k % 9
    km = k < 9 * CHANNELS
    image = p // (side * side)
    at = choice + run * 4 * batch + image
    which = tl.load(at, mask=pm, other=0)
    top = tl.load(at + batch, mask=pm, other=0)
    left = tl.load(at + 2 * batch, mask=pm, other=0)
    flip = tl.load(at + 3 * batch, mask=pm, other=0)
    y = (p // side % side)[:, None] + (tap // 3 - 1)[None, :]
    x = (p % side)[:, None] + (tap % 3 - 1)[None, :]
    inside = pm[:, None] & km[None, :] & (y >= 0) & (y < side) & (x >= 0) & (x < side)
    # After the look at the border: the padding lies around the flipped crop, not in the image.
    x = tl.where(flip[:, None] > 0, side - 1 - x, x)
    pixel = ((which.to(tl.int64) * image_side + top)[:, None] + y) * image_side + left[:, None] + x
    raw = tl.load(images + pixel * CHANNELS + channel[None, :], mask=inside, other=0).to(tl.float32)
    standard = raw * tl.load(scale + channel, mask=km, other=0.0)[None, :] + tl.load(shift + channel, mask=km, other=0.0)[None, :]
    return tl.where(inside, standard, 0.0)


@triton.jit(do_not_specialize=["runs"])
def stem_forward(
    values, sums, coef, affine, counters, weights, images, choice, scale, shift, tasks, NP, batch, image_side, side, tiles, runs,
    CHANNELS: tl.constexpr, BK: tl.constexpr, N: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr, EVAL: tl.constexpr,
):
    """z[p, n] = sum over k of patches[p, k] W[n, k], the patches made here from bytes.

    A program computes `tiles` tiles of BLOCK pixels of one run. Task: z offset, channel base, weight offset.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), tl.program_id(2)
    T = values.dtype.element_ty
    k = tl.arange(0, BK)
    n = tl.arange(0, BN)
    nm = n < N
    pixels = batch * side * side
    out = tl.multiple_of(tl.load(row), 64) + run_number() * pixels * N
    w = weights + run * NP + tl.load(row + 2) + n[None, :] * (9 * CHANNELS) + k[:, None]
    weight = tl.load(w, mask=(k < 9 * CHANNELS)[:, None] & nm[None, :], other=0.0)
    s = tl.zeros([BN], tl.float32)
    q = tl.zeros([BN], tl.float32)
    for tile in range(tiles):
        p = (chunk * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        pm = p < pixels
        x = _patches(images, choice, scale, shift, run, batch, image_side, side, p, pm, k, CHANNELS)
        z = rounded(matmul(rounded(x, T), rounded(weight, T)), T)
        tl.store(values + out + p[:, None] * N + n[None, :], z, mask=pm[:, None] & nm[None, :])
        if not EVAL:
            kept = tl.where(pm[:, None], z.to(tl.float32), 0.0)
            s += tl.sum(kept, 0)
            q += tl.sum(kept * kept, 0)
    if not EVAL:
        finish_forward(sums, coef, affine, counters, tl.load(row + 1), run, runs, n, nm, N, pixels, s, q)


@triton.jit(do_not_specialize=["runs"])
def stem_backward(
    values, grads, coef, partial, images, choice, scale, shift, tasks, batch, image_side, side, tiles, runs,
    CHANNELS: tl.constexpr, BK: tl.constexpr, N: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr,
):
    """dW[n, k] = sum over p of dz[p, n] patches[p, k]; the gradient of images is not needed.

    A program sums `tiles` tiles of BLOCK pixels of one run into its own chunk. Task: z offset, gradient offset, channel
    base, partial offset.
    """
    row = tasks + tl.program_id(0) * ROW
    chunk, run = tl.program_id(1), tl.program_id(2)
    T = values.dtype.element_ty
    k = tl.arange(0, BK)
    n = tl.arange(0, BN)
    nm = n < N
    pixels = batch * side * side
    z_out = tl.multiple_of(tl.load(row), 64) + run_number() * pixels * N
    g_out = tl.multiple_of(tl.load(row + 1), 64) + run_number() * pixels * N
    a, b, k1, k0 = gradient_coefficients(coef, tl.load(row + 2), run, runs, n, nm, N)
    dw = tl.zeros([BN, BK], tl.float32)
    for tile in range(tiles):
        p = (chunk * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        pm = p < pixels
        om = pm[:, None] & nm[None, :]
        x = _patches(images, choice, scale, shift, run, batch, image_side, side, p, pm, k, CHANNELS)
        at = p[:, None] * N + n[None, :]
        z = tl.load(values + z_out + at, mask=om, other=0.0).to(tl.float32)
        g = tl.load(grads + g_out + at, mask=om, other=0.0).to(tl.float32)
        dz = tl.where(pm[:, None], before_norm(g, z, a[None, :], b[None, :], k1[None, :], k0[None, :]), 0.0)
        dw += matmul(tl.trans(pinned(rounded(dz, T))), pinned(rounded(x, T)))
    to = partial + tl.load(row + 3) + (chunk * runs + run) * N * 9 * CHANNELS
    tl.store(to + n[:, None] * (9 * CHANNELS) + k[None, :], dw, mask=nm[:, None] & (k < 9 * CHANNELS)[None, :])
# fmt: on
