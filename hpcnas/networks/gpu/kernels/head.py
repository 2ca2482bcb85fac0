"""Global average pooling, the linear classifier and the loss: forward and backward."""

import triton
import triton.language as tl

from hpcnas.networks.gpu.kernels.common import ROW, activate, finish_backward, mean_of, normalisation, rounded, run_number


# fmt: off
@triton.jit(do_not_specialize=["runs"])
def mean_forward(
    values, coef, features, tasks, batch, pixels, F, runs,
    C: tl.constexpr, BC: tl.constexpr, IMAGES: tl.constexpr, BHW: tl.constexpr,
):
    """features[run, image, column + c] = mean of u over the pixels of one image.

    A program takes IMAGES images of one part of the concatenation. Task: z offset, channel base, column.
    """
    row = tasks + tl.program_id(0) * ROW
    block, run = tl.program_id(1), run_number()
    z_in = tl.multiple_of(tl.load(row), 64) + run * batch * pixels * C
    c = tl.arange(0, BC)
    cm = c < C
    a, b, floor = normalisation(coef, tl.load(row + 1), run, runs, c, cm, C)
    image = block * IMAGES + tl.arange(0, IMAGES)
    total = tl.zeros([IMAGES, BC], tl.float32)
    for start in range(0, pixels, BHW):
        pixel = start + tl.arange(0, BHW)
        mask = (image < batch)[:, None, None] & (pixel < pixels)[None, :, None]
        at = (image * pixels)[:, None, None] + pixel[None, :, None]
        z = tl.load(values + z_in + at * C + c[None, None, :], mask=mask & cm[None, None, :], other=0.0).to(tl.float32)
        total += tl.sum(tl.where(mask, activate(z, a[None, None, :], b[None, None, :], floor), 0.0), 1)
    at = (run * batch + image)[:, None] * F + tl.load(row + 2) + c[None, :]
    tl.store(features + at, total / pixels, mask=(image < batch)[:, None] & cm[None, :])


@triton.jit(do_not_specialize=["runs"])
def classify(
    features, weights, labels, choice, losses, dlogits, hits, NP, classifier, bias, batch, F, classes, runs,
    BLOCK: tl.constexpr, BF: tl.constexpr, BCLS: tl.constexpr, EVAL: tl.constexpr,
):
    """Logits x = W f + bias of BLOCK images, loss = log sum exp x - x[label], its gradient (softmax - one hot) / batch.

    With EVAL only whether the largest logit is the label's. A program takes BLOCK images of one run, all classes.
    """
    block, run = tl.program_id(1), run_number()
    image = block * BLOCK + tl.arange(0, BLOCK)
    im = image < batch
    k = tl.arange(0, BCLS)
    km = k < classes
    f = tl.arange(0, BF)
    logits = tl.zeros([BLOCK, BCLS], tl.float32)
    for start in range(0, F, BF):
        fm = start + f < F
        x = tl.load(features + (run * batch + image)[:, None] * F + start + f[None, :], mask=im[:, None] & fm[None, :], other=0.0)
        w = weights + run * NP + classifier + k[None, :] * F + start + f[:, None]
        logits += tl.dot(x, tl.load(w, mask=km[None, :] & fm[:, None], other=0.0), input_precision="ieee")
    logits += tl.load(weights + run * NP + bias + k, mask=km, other=0.0)[None, :]
    logits = tl.where(km[None, :], logits, float("-inf"))
    label = tl.load(labels + tl.load(choice + run * 4 * batch + image, mask=im, other=0), mask=im, other=0)
    if EVAL:
        tl.store(hits + run * batch + image, (tl.argmax(logits, 1) == label).to(tl.int32), mask=im)
    else:
        # The largest is taken off first: exp of a logit above 88 is infinite in float32.
        top = tl.max(logits, 1)
        e = tl.exp(logits - top[:, None])
        total = tl.sum(e, 1)
        is_label = k[None, :] == label[:, None]
        tl.store(losses + run * batch + image, tl.log(total) + top - tl.sum(tl.where(is_label, logits, 0.0), 1), mask=im)
        d = (e / total[:, None] - tl.where(is_label, 1.0, 0.0)) / batch
        tl.store(dlogits + (run * batch + image)[:, None] * BCLS + k[None, :], tl.where(km[None, :], d, 0.0), mask=im[:, None])


@triton.jit(do_not_specialize=["runs"])
def mean_backward(
    values, grads, sums, coef, counters, weights, dlogits, tasks, edges, NP, classifier, batch, pixels, F, classes, runs,
    C: tl.constexpr, BC: tl.constexpr, IMAGES: tl.constexpr, BHW: tl.constexpr, BCLS: tl.constexpr,
):
    """du[image, pixel, c] = sum over columns and classes of dlogits[image, k] W[k, column + c] / pixels: the first writer of du.

    A program takes IMAGES images of one value, which may stand at several columns of the concatenation. Task: z offset,
    gradient offset, channel base, first edge, edges, flags. Edge: column.
    """
    row = tasks + tl.program_id(0) * ROW
    block, run = tl.program_id(1), run_number()
    T = values.dtype.element_ty
    z_in = tl.multiple_of(tl.load(row), 64) + run * batch * pixels * C
    g_in = tl.multiple_of(tl.load(row + 1), 64) + run * batch * pixels * C
    ch = tl.load(row + 2)
    first = tl.load(row + 3)
    last = first + tl.load(row + 4)
    flags = tl.load(row + 5)
    c = tl.arange(0, BC)
    cm = c < C
    k = tl.arange(0, BCLS)
    a, b, floor = normalisation(coef, ch, run, runs, c, cm, C)
    mean = mean_of(coef, ch, run, runs, c, cm, C)
    image = block * IMAGES + tl.arange(0, IMAGES)
    im = image < batch
    dl = tl.load(dlogits + (run * batch + image)[:, None] * BCLS + k[None, :], mask=im[:, None], other=0.0)
    du = tl.zeros([IMAGES, BC], tl.float32)
    for e in range(first, last):
        column = tl.load(edges + e * ROW)
        for cls in range(classes):
            one = tl.sum(tl.where(k[None, :] == cls, dl, 0.0), 1)
            weight = tl.load(weights + run * NP + classifier + cls * F + column + c, mask=cm, other=0.0)
            du += one[:, None] * weight[None, :]
    kept = rounded(du / pixels, T)
    s1 = tl.zeros([BC], tl.float32)
    s2 = tl.zeros([BC], tl.float32)
    for start in range(0, pixels, BHW):
        pixel = start + tl.arange(0, BHW)
        mask = im[:, None, None] & (pixel < pixels)[None, :, None]
        at = ((image * pixels)[:, None, None] + pixel[None, :, None]) * C + c[None, None, :]
        full = mask & cm[None, None, :]
        tl.store(grads + g_in + at, tl.broadcast_to(kept[:, None, :], [IMAGES, BHW, BC]), mask=full)
        if flags > 1:
            z = tl.load(values + z_in + at, mask=full, other=0.0).to(tl.float32)
            is_live = (activate(z, a[None, None, :], b[None, None, :], floor) > floor) & mask
            live = tl.where(is_live, kept.to(tl.float32)[:, None, :], 0.0)
            s1 += tl.sum(tl.sum(live, 1), 0)
            s2 += tl.sum(tl.sum(live * (z - mean[None, None, :]), 1), 0)
    if flags > 1:
        finish_backward(sums, coef, counters, ch, run, runs, c, cm, C, batch * pixels, s1, s2)


@triton.jit(do_not_specialize=["runs"])
def classifier_backward(
    features, dlogits, partial, tasks, batch, F, classes, runs, BLOCK: tl.constexpr, BF: tl.constexpr, BCLS: tl.constexpr,
):
    """dW[k, f] = sum over images of dlogits[image, k] features[image, f], and dbias behind it.

    A program takes BF features of one run, all images; the first one the bias too. Task: partial offset.
    """
    block, run = tl.program_id(1), run_number()
    f = block * BF + tl.arange(0, BF)
    k = tl.arange(0, BCLS)
    dw = tl.zeros([BCLS, BF], tl.float32)
    bias = tl.zeros([BCLS], tl.float32)
    for start in range(0, batch, BLOCK):
        image = start + tl.arange(0, BLOCK)
        im = image < batch
        dl = tl.load(dlogits + (run * batch + image)[None, :] * BCLS + k[:, None], mask=im[None, :], other=0.0)
        x = tl.load(features + (run * batch + image)[:, None] * F + f[None, :], mask=im[:, None] & (f < F)[None, :], other=0.0)
        dw += tl.dot(dl, x, input_precision="ieee")
        bias += tl.sum(dl, 1)
    to = partial + tl.load(tasks) + run * classes * (F + 1)
    tl.store(to + k[:, None] * F + f[None, :], dw, mask=(k < classes)[:, None] & (f < F)[None, :])
    if block == 0:
        tl.store(to + classes * F + k, bias, mask=k < classes)
# fmt: on
