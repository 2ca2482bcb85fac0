"""The kernels in Triton's interpreter against the float64 reference; started by test_kernels.py with TRITON_INTERPRET=1."""

import copy
from dataclasses import replace

import pytest
import torch

from hpcnas.networks.gpu import narrow
from hpcnas.networks.gpu.kernels.head import classify
from hpcnas.networks.gpu.kernels.pools import pool_backward, pool_forward
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.layout import Descent
from hpcnas.networks.gpu.steps import Steps
from tests.networks.gpu.comparisons import FOR_BF16, evaluated, faults_in_bf16
from tests.networks.gpu.interpreter import mend
from tests.networks.gpu.material import TINY, Case, error, flat, gradients, stored, tiny, trained

mend()
NO_UPDATE = Descent(0.0, 0.0)  # momenta are then the gradients
DESCENT, RATE = Descent(0.9, 3e-4), 0.05
# A tiny network can be ill-conditioned, so torch's own error in fp32 on the same input is the yardstick.
TIMES_TORCH, FLOOR = 8.0, 5e-6


def is_as_good(found: torch.Tensor, torchs: torch.Tensor, right: torch.Tensor) -> bool:
    return error(found, right) <= TIMES_TORCH * error(torchs, right) + FLOOR


def check_one_step(case: Case, steps: Steps) -> None:
    """Loss, all gradients and running statistics of a step without an update against the reference's."""
    steps.run()
    loss, right, buffers = gradients(case, 0, torch.float64)
    _, torchs, _ = gradients(case, 0, torch.float32)
    mine = stored(steps, 0, case.states[0], momenta=True)
    assert abs(float(steps.layout.losses.mean()) - loss) < 1e-5 * loss
    assert error(flat(mine, list(buffers)), flat(buffers, list(buffers))) < 2e-6
    assert is_as_good(*(flat(tensors, list(right)) for tensors in (mine, torchs, right)))


@pytest.mark.parametrize("name", TINY)
def test_loss_gradients_and_statistics_equal_the_reference(name):
    odd = {"channels": 6, "batch": 3, "in_channels": 5} if name == "smallest" else {}  # widths that fill no tile
    case = Case(tiny(name), crop=5, **odd)  # at 3 the last group normalises two pixels, which loses four digits in fp32
    check_one_step(case, case.steps_of([0], NO_UPDATE, rate=0.0))


Bits = list[dict[str, torch.Tensor]]  # of each run


def traced(case: Case, runs: list[int], count: int) -> tuple[Steps, list[Bits]]:
    """The first `count` steps of a training by the kernels, and what each step leaves."""
    steps = case.steps_of(runs, DESCENT, RATE)
    found = []
    for _ in range(count):
        steps.run()
        found.append([stored(steps, place, case.states[0]) for place in range(len(runs))])
    return steps, found


def are_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def pair() -> Case:
    """Two runs that differ in weights and images."""
    return Case(tiny("smallest"), runs=2, steps=3, batch=4)


@pytest.fixture(scope="module")
def alone(pair: Case) -> list[list[Bits]]:
    """What each step of each run leaves, trained alone; of the first run one step more."""
    return [traced(pair, [0], 3)[1], traced(pair, [1], 2)[1]]


def test_sgd_over_several_steps_equals_the_reference(pair, alone):
    right, torchs = (trained(pair, 0, DESCENT, RATE, dtype) for dtype in (torch.float64, torch.float32))
    names = [name for name in right if "tracked" not in name]
    assert is_as_good(*(flat(tensors, names) for tensors in (alone[0][2][0], torchs, right)))
    assert not torch.equal(flat(alone[0][2][0], names), flat(pair.states[0], names))


def test_runs_together_equal_each_alone_to_the_bit(pair, alone):
    _, together = traced(pair, [0, 1], 2)
    for step in range(2):
        assert all(are_same(alone[run][step][0], together[step][run]) for run in range(2))
    assert not torch.equal(together[1][0]["classifier.weight"], together[1][1]["classifier.weight"])


def test_steps_put_in_the_place_of_the_first_ones_go_on_to_the_bit(pair, alone):
    """As at each epoch of a full-size run: choices and rates are those of the new steps, and the count begins anew."""
    steps = pair.steps_of([0], DESCENT, 0.0)
    for step in range(2):
        steps.refill(pair.choices[step : step + 1, [0]], [RATE])
        steps.run()
    assert are_same(alone[0][1][0], stored(steps, 0, pair.states[0]))


def test_a_run_that_diverges_shows_it_and_leaves_the_others_alone(pair, alone):
    broken = copy.deepcopy(pair)
    broken.states[1]["stem.0.conv.weight"][0, 0, 0, 0] = float("nan")
    steps, found = traced(broken, [0, 1], 1)
    losses = steps.layout.losses.mean(1)
    assert losses[0].isfinite()
    assert losses[1].isnan()
    assert are_same(alone[0][0][0], found[0][0])


def test_sums_of_squares_up_to_the_size_that_is_promised_do_not_overflow():
    """|sum of z z| < 5e11, see kernels.common: a batch of 256 images of 24 px whose values are about 1800."""
    case = Case(tiny("smallest"))
    case.data = replace(case.data, scale=1e4 * case.data.scale, shift=1e4 * case.data.shift)
    steps = case.steps_of([0], NO_UPDATE, rate=0.0)
    begin, stem = steps.launches[:2]
    for launch in (begin, stem):
        launch()
    with torch.no_grad():
        z = case.reference(0, torch.float64).stem[0].conv(case.images(0, 0, torch.float64)[0]).transpose(0, 1).flatten(1)
    largest = float(z.square().sum(1).max())
    assert 1e10 < largest < 5e11
    _, _, mean, inverse, *_ = steps.layout.weights.coef[: 6 * len(z)].double().view(6, -1)
    torch.testing.assert_close(mean, z.mean(1), rtol=1e-5, atol=1.0)
    torch.testing.assert_close(inverse, 1 / z.std(1, correction=0), rtol=1e-5, atol=0.0)


def test_evaluation_with_running_statistics_equals_the_reference():
    error_of_features, hits, right_hits = evaluated(Case(tiny("pool_of_pool"), batch=4, crop=2))
    assert error_of_features < 2e-6
    assert torch.equal(hits, right_hits)


def test_bf16_is_as_near_to_float64_as_torchs_own():
    assert faults_in_bf16(Case(tiny("smallest"), **FOR_BF16)) == []


def pooled(z: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the kernels make of (B, side, side, C) values that nothing normalises: largest of each window, and gradient of z."""
    batch, side, _, C = z.shape
    block = -(-z.numel() // 64) * 64
    values, grads = (torch.zeros(2 * block) for _ in range(2))
    values[: z.numel()], grads[block : block + z.numel()] = z.flatten(), gradient.flatten()
    tasks = torch.tensor([[0, -1, block, 0, 0, 0, 0, 0], [0, 0, -1, block, 0, 0, 0, 0]])
    shared = {name: torch.zeros(64) for name in ("coef", "sums", "counters")}
    shared |= {"values": values, "grads": grads, "marks": torch.zeros(block, dtype=torch.uint8), "batch": batch, "runs": 1}
    own = {"side": side, "C": C, "BC": 16, "BLOCK": 8, "EVEN": False, "IS_MAX": True}
    for kernel, first, more in ((pool_forward, 0, {"EVAL": False}), (pool_backward, 1, {})):
        launch = Launch("", kernel, (1, -(-batch * side // 8)), first, own | more)
        launch.bind(shared | {"tasks": tasks}, 1)
        launch()
    return values[block : block + z.numel()].view(z.shape), grads[: z.numel()].view(z.shape)


@pytest.mark.parametrize("worst", [2.0, float("nan")])
def test_max_pools_take_the_first_of_equals_as_torch_does(worst):
    generator = torch.Generator().manual_seed(3)
    z = torch.randint(0, 3, (2, 5, 5, 4), generator=generator).float()
    z[1, 2, 3, 1] = worst
    gradient = torch.rand(z.shape, generator=generator)
    x = z.permute(0, 3, 1, 2).clone().requires_grad_()
    y = torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    y.backward(gradient.permute(0, 3, 1, 2))
    largest, found = pooled(z, gradient)
    assert x.grad is not None
    assert torch.equal(largest.nan_to_num(9.0), y.permute(0, 2, 3, 1).nan_to_num(9.0))
    torch.testing.assert_close(found, x.grad.permute(0, 2, 3, 1))


def test_a_loss_is_finite_whatever_the_size_of_the_logits():
    """exp of a logit above 88 is infinite in float32: a network whose weights grow must not look as if it had diverged."""
    generator = torch.Generator().manual_seed(4)
    F, classes, batch = 5, 3, 6
    features = 100 * torch.randn(batch, F, generator=generator)
    weight, bias = torch.randn(classes, F, generator=generator), torch.randn(classes, generator=generator)
    labels = torch.randint(0, classes, (batch,), generator=generator)
    logits = (features @ weight.T + bias).requires_grad_()
    assert logits.abs().max() > 200
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    loss.mean().backward()
    found = {"losses": torch.zeros(batch), "dlogits": torch.zeros(batch, 16), "hits": torch.zeros(batch, dtype=torch.int32)}
    shared = {"features": features, "weights": torch.cat([weight.flatten(), bias]), "labels": labels}
    shared |= {"choice": torch.arange(4 * batch, dtype=torch.int32), "NP": 0, "classifier": 0, "bias": classes * F}
    own = {"F": F, "classes": classes, "batch": batch, "BLOCK": 16, "BF": 64, "BCLS": 16, "EVAL": False}
    launch = Launch("", classify, (1, 1), 0, own)
    launch.bind(found | shared | {"runs": 1}, 1)
    launch()
    torch.testing.assert_close(found["losses"], loss.detach(), rtol=1e-5, atol=1e-4)
    assert logits.grad is not None
    torch.testing.assert_close(found["dlogits"][:, :classes], logits.grad, rtol=1e-4, atol=1e-6)


def test_wide_values_are_cut_and_equal_the_reference(monkeypatch):
    """Widths of 6, 12 and 24, in slices of 3 and 4: stem, products, depthwise convolutions and classifier."""
    monkeypatch.setattr(narrow, "WIDEST", 4)
    monkeypatch.setattr(narrow, "NARROWEST", 2)
    case = Case(tiny("smallest"), batch=4, channels=6)
    steps = case.steps_of([0], NO_UPDATE, rate=0.0)
    assert set(steps.layout.structure.widths[1:]) == {3, 4}
    check_one_step(case, steps)
