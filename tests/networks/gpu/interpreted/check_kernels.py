"""The kernels in Triton's interpreter against the float64 reference; started by test_kernels.py with TRITON_INTERPRET=1."""

import copy

import pytest
import torch

from hpcnas.networks.gpu import narrow
from hpcnas.networks.gpu.kernels.pools import pool_backward, pool_forward
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.steps import Steps
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
    odd = {"channels": 6, "batch": 3} if name == "smallest" else {}  # widths that fill no tile
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
    return Case(tiny("smallest"), runs=2, steps=3, batch=4, crop=3)


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


def test_a_run_that_diverges_shows_it_and_leaves_the_others_alone(pair, alone):
    broken = copy.deepcopy(pair)
    broken.states[1]["stem.0.conv.weight"][0, 0, 0, 0] = float("nan")
    steps, found = traced(broken, [0, 1], 1)
    losses = steps.layout.losses.mean(1)
    assert losses[0].isfinite()
    assert losses[1].isnan()
    assert are_same(alone[0][0][0], found[0][0])


def test_evaluation_with_running_statistics_equals_the_reference():
    case = Case(tiny("pool_of_pool"), batch=4, crop=2)
    state = case.states[0]
    generator = torch.Generator().manual_seed(5)
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
        elif name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    weights = case.steps_of([0], NO_UPDATE, 0.0).layout.weights
    side = case.data.images.shape[1]
    layout = Layout(
        weights, 4, side, ImageBytes(*(getattr(case.data, k) for k in ("images", "labels", "scale", "shift"))), None
    )
    layout.choice[0, 0] = torch.arange(4)
    for launch in layout.launches:
        launch()
    network = case.reference(0, torch.float64).eval()
    network.load_state_dict(state)
    case.choices[0, 0] = torch.stack([torch.arange(4), *torch.zeros(3, 4, dtype=torch.int64)])
    case.crop = side
    images, labels = case.images(0, 0, torch.float64)
    seen: list[torch.Tensor] = []
    network.classifier.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        hits = network(images).argmax(1) == labels
    assert error(layout.features[0].double(), seen[0]) < 2e-6
    assert torch.equal(layout.hits[0].bool(), hits)


def test_bf16_is_as_near_to_float64_as_torchs_own():
    """Of weights and images that rounding changes little: torch's own errors are 1 to 2 %, so that a tenth shows."""
    case = Case(tiny("smallest"), runs=3, steps=2, batch=4, crop=5, channels=8, dtype=torch.bfloat16)
    run, start = 2, case.states[2]
    steps = case.steps_of([run], DESCENT, RATE)
    steps.run()
    loss, right, buffers = gradients(case, run, torch.float64)
    _, torchs, _ = gradients(case, run, torch.float32, bf16=True)
    mine = stored(steps, 0, start, momenta=True)  # of the first step, so gradient and decay
    mine |= {name: mine[name] - DESCENT.decay * start[name] for name in right}
    assert abs(float(steps.layout.losses.mean()) - loss) < 0.005 * loss
    for statistic in ("mean", "var"):
        assert error(*(flat(tensors, [n for n in buffers if n.endswith(statistic)]) for tensors in (mine, buffers))) < 0.005
    for part in ("stem", "depthwise.conv", "pointwise.conv", "norm.weight", "norm.bias", "classifier", ""):
        names = [name for name in right if part in name]
        assert is_as_good_in_bf16(*(flat(tensors, names) for tensors in (mine, torchs, right))), part
    steps.run()
    exact, rough = (
        trained(case, run, DESCENT, RATE, dtype, bf16) for dtype, bf16 in ((torch.float64, False), (torch.float32, True))
    )
    moved = (flat(tensors, list(right)) - flat(start, list(right)) for tensors in (stored(steps, 0, start), rough, exact))
    assert is_as_good_in_bf16(*moved)


def is_as_good_in_bf16(found: torch.Tensor, torchs: torch.Tensor, right: torch.Tensor) -> bool:
    return error(found, right) <= 2 * error(torchs, right) + 0.01


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


def test_wide_values_are_cut_and_equal_the_reference(monkeypatch):
    """Widths of 6, 12 and 24, in slices of 3 and 4: stem, products, depthwise convolutions and classifier."""
    monkeypatch.setattr(narrow, "WIDEST", 4)
    monkeypatch.setattr(narrow, "NARROWEST", 2)
    case = Case(tiny("smallest"), batch=4, crop=3, channels=6)
    steps = case.steps_of([0], NO_UPDATE, rate=0.0)
    assert set(steps.layout.structure.widths[1:]) == {3, 4}
    check_one_step(case, steps)
