"""The start and the end of a step: its choices and rate; SGD; running statistics; what an evaluation normalises with."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import BACKWARD_SCALE, EPS, FORWARD_SCALE, ROW, rounded, run_number


# fmt: off
@triton.jit
def begin_step(step, choices, rates, choice, rate, size, BLOCK: tl.constexpr):
    """Copy this step's choices and learning rate to where the other kernels look for them.

    choices is [steps][size], so a replayed graph needs nothing from the host. A program copies BLOCK numbers.
    """
    now = tl.load(step)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tl.store(choice + at, tl.load(choices + now * size + at, mask=at < size, other=0), mask=at < size)
    if tl.program_id(1) == 0:
        tl.store(rate, tl.load(rates + now))


@triton.jit(do_not_specialize=["runs"])
def sgd(
    weights, shadow, momenta, partial, tasks, rate, momentum, decay, NP, runs, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):
    """g = sum of the chunks' gradients in order; m = momentum m + g + decay w; w -= rate m; shadow = w in T.

    A program updates BLOCK weights of one run. A product's weights are [N][K] in `weights`. In partial and
    shadow they are [K / C][N][C], so that the tile of an edge is dense. Elsewhere K = C = size and N = 1.

    Task: weight offset, partial offset, size of the module, chunks, first weight, K, C, N.
    """
    row = tasks + tl.program_id(0) * ROW
    run = run_number()
    part = tl.load(row + 1)
    size = tl.load(row + 2)
    chunks = tl.load(row + 3)
    K = tl.load(row + 5).to(tl.int32)
    C = tl.load(row + 6).to(tl.int32)
    N = tl.load(row + 7).to(tl.int32)
    i = tl.load(row + 4).to(tl.int32) + tl.arange(0, BLOCK)  # where it lies in partial and shadow
    im = i < size
    j = (i // C) % N * K + i // (N * C) * C + i % C  # where it lies in `weights`
    g = tl.zeros([BLOCK], tl.float32)
    for start in range(0, chunks, ROWS):
        copy = start + tl.arange(0, ROWS)
        at = (copy[:, None] * runs + run) * size + i[None, :]
        g += tl.sum(tl.load(partial + part + at, mask=(copy < chunks)[:, None] & im[None, :], other=0.0), 0)
    base = run * NP + tl.load(row)
    w = tl.load(weights + base + j, mask=im, other=0.0)
    m = momentum * tl.load(momenta + base + j, mask=im, other=0.0) + g + decay * w
    w -= tl.load(rate) * m
    tl.store(momenta + base + j, m, mask=im)
    tl.store(weights + base + j, w, mask=im)
    tl.store(shadow + base + i, rounded(w, shadow.dtype.element_ty), mask=im)


@triton.jit
def _descend(affine, momenta, at, mask, gradient, rate, momentum, decay):
    old = tl.load(affine + at, mask=mask, other=0.0)
    m = momentum * tl.load(momenta + at, mask=mask, other=0.0) + gradient + decay * old
    tl.store(momenta + at, m, mask=mask)
    tl.store(affine + at, old - rate * m, mask=mask)


@triton.jit(do_not_specialize=["runs"])
def update_norms(sums, affine, running, affine_momenta, tasks, step, rate, momentum, decay, bn_momentum, runs, BC: tl.constexpr):
    """A step of gamma (gradient S2 / deviation) and beta (gradient S1), running statistics; zeroes the sums, counts the step.

    The running variance is the unbiased one, n / (n - 1) of the batch's. A program takes one value of one run.
    Task: channel base, width, pixels of a run.
    """
    row = tasks + tl.program_id(0) * ROW
    run = run_number()
    ch = tl.load(row)
    C = tl.load(row + 1)
    n = tl.load(row + 2).to(tl.float64)
    c = tl.arange(0, BC)
    cm = c < C
    at4 = ch * runs * 4 + run * 4 * C + c
    at2 = ch * runs * 2 + run * 2 * C + c
    unit = (1.0 / FORWARD_SCALE) / n
    mean = tl.load(sums + at4, mask=cm, other=0).to(tl.float64) * unit
    variance = tl.maximum(tl.load(sums + at4 + C, mask=cm, other=0).to(tl.float64) * unit - mean * mean, 0.0)
    inverse = 1.0 / tl.sqrt(variance.to(tl.float32) + EPS)
    s1 = (tl.load(sums + at4 + 2 * C, mask=cm, other=0).to(tl.float64) * (1.0 / BACKWARD_SCALE)).to(tl.float32)
    s2 = (tl.load(sums + at4 + 3 * C, mask=cm, other=0).to(tl.float64) * (1.0 / BACKWARD_SCALE)).to(tl.float32)
    old = tl.load(running + at2, mask=cm, other=0.0)
    tl.store(running + at2, old + bn_momentum * (mean.to(tl.float32) - old), mask=cm)
    old = tl.load(running + at2 + C, mask=cm, other=0.0)
    tl.store(running + at2 + C, old + bn_momentum * ((variance * n / (n - 1)).to(tl.float32) - old), mask=cm)
    lr = tl.load(rate)
    _descend(affine, affine_momenta, at2, cm, s2 * inverse, lr, momentum, decay)
    _descend(affine, affine_momenta, at2 + C, cm, s1, lr, momentum, decay)
    zero = tl.zeros([BC], tl.int64)
    tl.store(sums + at4, zero, mask=cm)
    tl.store(sums + at4 + C, zero, mask=cm)
    tl.store(sums + at4 + 2 * C, zero, mask=cm)
    tl.store(sums + at4 + 3 * C, zero, mask=cm)
    if (tl.program_id(0) == 0) & (run == 0):
        tl.store(step, tl.load(step) + 1)


@triton.jit(do_not_specialize=["runs"])
def running_coefficients(coef, affine, running, tasks, runs, BC: tl.constexpr):
    """For an evaluation: a = gamma / sqrt(running variance + eps), b = beta - running mean a.

    A program takes one value of one run. Task: channel base, width.
    """
    row = tasks + tl.program_id(0) * ROW
    run = run_number()
    ch = tl.load(row)
    C = tl.load(row + 1)
    c = tl.arange(0, BC)
    cm = c < C
    at = ch * runs * 2 + run * 2 * C + c
    a = tl.load(affine + at, mask=cm, other=0.0) / tl.sqrt(tl.load(running + at + C, mask=cm, other=1.0) + EPS)
    b = tl.load(affine + at + C, mask=cm, other=0.0) - tl.load(running + at, mask=cm, other=0.0) * a
    to = coef + ch * runs * 6 + run * 6 * C + c
    tl.store(to, a, mask=cm)
    tl.store(to + C, b, mask=cm)
# fmt: on
