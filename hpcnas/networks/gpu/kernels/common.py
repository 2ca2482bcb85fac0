"""Parts of all kernels: normalisation when a value is loaded, sums when it is written, and hints to the compiler."""

import os

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
EPS = tl.constexpr(1e-5)  # operations.BN_EPS
# Fixed point: |sum of z z| < 5e11 and |sum of g| < 8e6 fit; beyond, z itself carries inf or NaN on to the loss.
FORWARD_SCALE = tl.constexpr(2.0**24)
BACKWARD_SCALE = tl.constexpr(2.0**40)
ROW = tl.constexpr(8)  # numbers of a task, and of an edge


@triton.jit
def run_number():
    """Which run this program is of; 64 bits wide, since all runs together may have more numbers than 32 bits count."""
    return tl.program_id(2).to(tl.int64)


@triton.jit
def normalisation(coef, ch, run, runs, c, mask, C: tl.constexpr):
    """a, b and floor of u = max(a z + b, floor), [C] each; a value that is not normalised (ch < 0) gets 1, 0, -inf."""
    here = mask & (ch >= 0)
    at = ch * runs * 6 + run * 6 * C + c
    a = tl.load(coef + at, mask=here, other=1.0)
    b = tl.load(coef + at + C, mask=here, other=0.0)
    return a, b, tl.where(ch < 0, float("-inf"), 0.0)


@triton.jit
def mean_of(coef, ch, run, runs, c, mask, C: tl.constexpr):
    """The batch's mean of z, [C]; 0 for a value that is not normalised."""
    return tl.load(coef + ch * runs * 6 + run * 6 * C + 2 * C + c, mask=mask & (ch >= 0), other=0.0)


@triton.jit
def gradient_coefficients(coef, ch, run, runs, c, mask, C: tl.constexpr):
    """a, b, k1, k0, [C] each, for `before_norm`."""
    at = ch * runs * 6 + run * 6 * C + c
    a = tl.load(coef + at, mask=mask, other=0.0)
    b = tl.load(coef + at + C, mask=mask, other=0.0)
    return a, b, tl.load(coef + at + 4 * C, mask=mask, other=0.0), tl.load(coef + at + 5 * C, mask=mask, other=0.0)


@triton.jit
def activate(z, a, b, floor):
    """u = max(a z + b, floor). NaN stays NaN: a diverged network must not look alive."""
    return tl.maximum(z * a + b, floor, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def before_norm(g, z, a, b, k1, k0):
    """The gradient of z: a g' + k1 z + k0, with g' = g where a z + b > 0, else 0."""
    return tl.where(z * a + b > 0, g, 0.0) * a + (z * k1 + k0)


@triton.jit
def _add(sums, x, y, at, mask, C: tl.constexpr, scale: tl.constexpr):
    # Relaxed: integers may be added in any order, and `_is_last` orders all of it before the program that reads the sums.
    tl.atomic_add(sums + at, (x * scale).to(tl.int64), mask=mask, sem="relaxed")
    tl.atomic_add(sums + at + C, (y * scale).to(tl.int64), mask=mask, sem="relaxed")


@triton.jit
def _is_last(counters, ch, run, runs):
    """Whether this program is the last of its task and run to get here; its sums and those of all others are then visible."""
    tl.debug_barrier()
    counter = counters + ch * runs + run
    last = tl.atomic_add(counter, 1, sem="acq_rel") == tl.num_programs(1) - 1
    if last:
        # For the next step: nothing else sets the counters to 0.
        tl.store(counter, 0)
    return last


@triton.jit
def finish_forward(sums, coef, affine, counters, ch, run, runs, c, mask, C: tl.constexpr, count, s, q):
    """Add to S and Q; the last program writes mean, 1/deviation, a = gamma / deviation and b = beta - mean a."""
    at = ch * runs * 4 + run * 4 * C + c
    _add(sums, s, q, at, mask, C, FORWARD_SCALE)
    if _is_last(counters, ch, run, runs):
        unit = (1.0 / FORWARD_SCALE) / count.to(tl.float64)
        # .cg reads the second-level cache, in which other programs' atomics are. In float64, since squares cancel below.
        mean = tl.load(sums + at, mask=mask, other=0, cache_modifier=".cg").to(tl.float64) * unit
        square = tl.load(sums + at + C, mask=mask, other=0, cache_modifier=".cg").to(tl.float64) * unit
        inverse = 1.0 / tl.sqrt(tl.maximum((square - mean * mean).to(tl.float32), 0.0) + EPS)
        gamma = tl.load(affine + ch * runs * 2 + run * 2 * C + c, mask=mask, other=0.0)
        beta = tl.load(affine + ch * runs * 2 + run * 2 * C + C + c, mask=mask, other=0.0)
        a = gamma * inverse
        to = coef + ch * runs * 6 + run * 6 * C + c
        tl.store(to, a, mask=mask)
        tl.store(to + C, beta - mean.to(tl.float32) * a, mask=mask)
        tl.store(to + 2 * C, mean.to(tl.float32), mask=mask)
        tl.store(to + 3 * C, inverse, mask=mask)


@triton.jit
def finish_backward(sums, coef, counters, ch, run, runs, c, mask, C: tl.constexpr, count, s1, s2):
    """Add to S1 and S2; the last program writes k1 = -a S2 / (n deviation^2) and k0 = -a S1 / n - mean k1."""
    at = ch * runs * 4 + run * 4 * C + 2 * C + c
    _add(sums, s1, s2, at, mask, C, BACKWARD_SCALE)
    if _is_last(counters, ch, run, runs):
        unit = (1.0 / BACKWARD_SCALE) / count.to(tl.float64)
        m1 = (tl.load(sums + at, mask=mask, other=0, cache_modifier=".cg").to(tl.float64) * unit).to(tl.float32)
        m2 = (tl.load(sums + at + C, mask=mask, other=0, cache_modifier=".cg").to(tl.float64) * unit).to(tl.float32)
        to = coef + ch * runs * 6 + run * 6 * C + c
        a = tl.load(to, mask=mask, other=0.0)
        mean = tl.load(to + 2 * C, mask=mask, other=0.0)
        inverse = tl.load(to + 3 * C, mask=mask, other=0.0)
        k1 = -a * m2 * inverse * inverse
        tl.store(to + 4 * C, k1, mask=mask)
        tl.store(to + 5 * C, -a * m1 - mean * k1, mask=mask)


@triton.jit
def rounded(x, T: tl.constexpr):
    """x in T, to the nearest even; Triton's interpreter cuts bits off instead, so there the half is added before."""
    if INTERPRETED and T == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        x = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    return x.to(T)


@triton.jit
def pinned(x):
    """x, computed once: else the compiler computes a dot's operand again for every layout that some dot needs.

    Without it product_backward has 144 FFMA in its loop instead of the 40 that its formulas need (16 channels, sm_90).
    """
    if INTERPRETED or x.dtype == tl.float32:
        return x
    else:
        return tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [x], dtype=x.dtype, is_pure=False, pack=2)


@triton.jit
def matmul(x, y):
    """x y with fp32 sums; the interpreter's tl.dot of bf16 would multiply the bit patterns."""
    if INTERPRETED or x.dtype == tl.float32:
        return tl.dot(x.to(tl.float32), y.to(tl.float32), input_precision="ieee")
    else:
        return tl.dot(x, y)


@triton.jit
def aligned(x, C: tl.constexpr):
    """Offsets of rows of C channels, so that loads are as wide as can be."""
    if C % 16 == 0:
        return tl.multiple_of(x, 16)
    else:
        return x
