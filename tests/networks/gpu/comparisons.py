"""Comparisons of the kernels with the reference that hold in the interpreter and on a device."""

from typing import Any

import torch
from torch import Tensor

from hpcnas.networks.gpu.layout import Descent, Layout
from hpcnas.networks.gpu.weights import EngineWeights
from tests.networks.gpu.material import Case, error, flat, gradients, stored, trained

DESCENT, RATE = Descent(0.9, 3e-4), 0.05
FOR_BF16: dict[str, Any] = {
    **{"runs": 7, "steps": 2, "batch": 4, "crop": 5, "channels": 8},
    "dtype": torch.bfloat16,
}
_RUN = 2  # of the seven the one that rounding changes least: torch errs by 0.6 to 3.5 %, so that a tenth shows


def faults_in_bf16(case: Case) -> list[str]:
    """What is further from float64 than twice torch's own bf16 on the same input: statistics, gradients, two steps.

    Args:
        case: the genotype `smallest` with `FOR_BF16`.
    """
    start = case.states[_RUN]
    steps = case.steps_of([_RUN], DESCENT, RATE)
    steps.run()
    loss, right, buffers = gradients(case, _RUN, torch.float64)
    _, torchs, _ = gradients(case, _RUN, torch.float32, bf16=True)
    mine = stored(steps, 0, start, momenta=True)  # of the first step, so gradient and decay
    mine |= {name: mine[name] - DESCENT.decay * start[name] for name in right}
    found = [] if abs(float(steps.layout.losses.mean()) - loss) < 0.005 * loss else ["loss"]
    for statistic in ("mean", "var"):
        names = [name for name in buffers if name.endswith(statistic)]
        found += [] if error(flat(mine, names), flat(buffers, names)) < 0.005 else [f"running {statistic}"]
    for part in ("stem", "depthwise.conv", "pointwise.conv", "norm.weight", "norm.bias", "classifier", ""):
        names = [name for name in right if part in name]
        is_good = _is_as_good(*(flat(tensors, names) for tensors in (mine, torchs, right)))
        found += [] if is_good else [f"gradients of {part or 'all'}"]
    steps.run()
    exact = trained(case, _RUN, DESCENT, RATE, torch.float64)
    rough = trained(case, _RUN, DESCENT, RATE, torch.float32, bf16=True)
    last = stored(steps, 0, start)
    moved = (flat(tensors, list(right)) - flat(start, list(right)) for tensors in (last, rough, exact))
    found += [] if _is_as_good(*moved) else ["weights after two steps"]
    weights = steps.layout.weights
    again = EngineWeights(weights.structure, 1, weights.device, weights.dtype)
    again.load(0, last)
    return found + ([] if torch.equal(weights.shadow, again.shadow) else ["weights in bf16"])


def _is_as_good(found: Tensor, torchs: Tensor, right: Tensor) -> bool:
    return error(found, right) <= 2 * error(torchs, right) + 0.01


def evaluated(case: Case) -> tuple[float, Tensor, Tensor]:
    """Evaluate whole images with drawn running statistics; the features' error, and the hits, mine and the reference's."""
    state = case.states[0]
    generator = torch.Generator().manual_seed(5)
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
        elif name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    weights = case.steps_of([0], DESCENT, 0.0).layout.weights
    side = case.data.images.shape[1]
    layout = Layout(weights, case.batch, side, case.data, None)
    layout.choice[0, 0] = torch.arange(case.batch)
    for launch in layout.launches:
        launch()
    network = case.reference(0, torch.float64).eval()
    network.load_state_dict(state)
    case.choices[0, 0] = torch.stack([torch.arange(case.batch), *torch.zeros(3, case.batch, dtype=torch.int64)])
    case.crop = side
    images, labels = case.images(0, 0, torch.float64)
    seen: list[Tensor] = []
    network.classifier.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        hits = network(images).argmax(1) == labels
    return error(layout.features[0].cpu().double(), seen[0]), layout.hits[0].bool().cpu(), hits
