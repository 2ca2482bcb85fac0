"""Triton kernels of one training step of R networks of one genotype, together; imported only where Triton is.

Memory, all of it one-dimensional; R runs, B images, a value is what one operation writes, C channels wide:

    values   T      value v is [R][B H W][C] (NHWC for each run). A convolution writes z, before batch normalisation.
                    Every reader applies u = max(a z + b, 0) when it loads.
    grads    T      gradient of u of each value, of the same shape; blocks are shared over time
    marks    uint8  which of the nine taps a max pool took
    sums     int64  [channel base * R * 4], per run S, Q, S1, S2 of C channels: sums of z, z z, g, g (z - mean)
    coef     fp32   [channel base * R * 6], per run a, b, mean, 1/deviation, k1, k0 of C channels
    affine   fp32   [channel base * R * 2], per run gamma, beta; `affine_momenta` and `running` (mean, variance) likewise
    weights  fp32   [R][NP], of convolutions and classifier as torch lays them out; `momenta` likewise
    shadow   T      the same in T; the weights of products as [edge][N][C]: what an edge needs is one dense tile
    partial  fp32   gradients of weights, [chunk][R][size] for each module; `sgd` adds the chunks in order

A launch runs all tasks of one kind and width of one level: grid (tasks, chunks of pixels, R). A task is a row of eight
int64 numbers in `tasks`; what a task reads in turn are rows of `edges`. Offsets are numbers in these tables, so
no genotype is a constant of a kernel. Widths and tile sizes are the only compile-time numbers.

Synchronisation: launches run one after the other. Within a launch the programs of one task and run add to `sums` with
integer atomics. These are fixed point: addition commutes, so the bits are the same every time. Then each program counts
itself in `counters`. The last one reads all sums and writes the coefficients for later launches. No program
waits. Nothing depends on R but addresses: R runs together give the bits of each alone.

T is bf16, or fp32 in tests. `(p < pixels) | EVEN` costs nothing where EVEN, a compile-time truth, says that tiles fit.
"""
