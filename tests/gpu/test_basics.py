"""The plain engine on a GPU: the same answers as on a CPU, captured or not, in either precision.

One command: python -m pytest tests/gpu
"""

from dataclasses import replace

import pytest
import torch

from hpcnas.config import RecipeConfig
from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.records import FailureKind
from hpcnas.representation.presets import PUBLISHED
from hpcnas.training.data.augment import crop_and_flip, draw_choices
from hpcnas.training.data.datasets import Dataset, Images
from hpcnas.training.fitness.cuda_graph import capture_step
from hpcnas.training.fitness.evaluator import EvaluationFailed
from hpcnas.training.fitness.loop import DeviceData, TrainingStep, make_optimizer
from hpcnas.training.fitness.repeats import RepeatsEngine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")]
RECIPE = RecipeConfig(train_steps=60, batch=64, channels=8, crop=24, repeats=1, learning_rate=0.02)


def noise(classes=2) -> Dataset:
    """Bright and dark images: learnt within a few steps."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(512) % classes
    images = torch.randint(0, 100, (512, 32, 32, 3), dtype=torch.uint8, generator=generator)
    images += (100 * labels[:, None, None, None]).to(torch.uint8)
    return Dataset("noise", classes, Images(images, labels), Images(images[:128], labels[:128]), (0.4,) * 3, (0.2,) * 3)


def cuda() -> torch.device:
    return torch.device("cuda")


def test_crops_equal_those_of_a_cpu():
    images = noise().train.images
    choice = next(draw_choices(512, 64, 1, 32, 24, seed=0))[0]
    assert torch.equal(crop_and_flip(images.cuda(), choice.cuda(), 24).cpu(), crop_and_flip(images, choice, 24))


def test_plan_equals_reference_in_float64():
    torch.manual_seed(0)
    reference = build_network(PUBLISHED, channels=4).double().cuda()
    planned = build_planned_network(PUBLISHED, channels=4).double().cuda()
    planned.load_state_dict(reference.state_dict())
    images = torch.randn(16, 3, 12, 12, dtype=torch.float64, device="cuda")
    outputs = [network(images) for network in (reference, planned)]
    assert (outputs[0] - outputs[1]).abs().max() < 1e-10
    for output in outputs:
        output.square().mean().backward()
    for p, q in zip(reference.parameters(), planned.parameters(), strict=True):
        assert (p.grad - q.grad).abs().max() < 1e-9 * max(1.0, float(p.grad.abs().max()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("graph", ["0", "1"])
def test_training_learns(precision, graph, monkeypatch):
    monkeypatch.setenv("HPCNAS_CUDA_GRAPH", graph)
    engine = RepeatsEngine(replace(RECIPE, precision=precision), noise(), cuda())
    (result,) = engine.evaluate(PUBLISHED, {0: 3}, progress=lambda share: None)
    assert result.accuracy > 0.95


def steps(captured: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    data = DeviceData.of(noise(), cuda())
    network = build_planned_network(PUBLISHED, channels=4, classes=2).to("cuda").to(memory_format=torch.channels_last)
    plain = TrainingStep(network, make_optimizer(network.parameters(), RECIPE, cuda()), data, "fp32", 24)
    step = plain
    for choice in next(draw_choices(512, 64, 5, 32, 24, seed=0)).cuda():
        if captured and step is plain:
            step = capture_step(plain, choice)
            assert step is not plain, "the capture fell back"
        step(choice)
    return [p.detach().clone() for p in network.parameters()]


def test_a_captured_step_changes_nothing():
    """Warm-up and capture leave no trace in weights, statistics or momentum."""
    for a, b in zip(steps(captured=False), steps(captured=True), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds no second CUDA device here")
@pytest.mark.parametrize("index", [1, 0])
def test_each_device_learns_whichever_is_the_current_one(index):
    """A graph captured on the current device instead would be empty: the weights would stay."""
    engine = RepeatsEngine(RECIPE, noise(), torch.device("cuda", index))
    (result,) = engine.evaluate(PUBLISHED, {0: 3}, progress=lambda share: None)
    assert result.accuracy > 0.95


def test_a_step_does_not_wait_for_the_device(forbid_waiting):
    data = DeviceData.of(noise(), cuda())
    network = build_planned_network(PUBLISHED, channels=4, classes=2).to("cuda")
    step = TrainingStep(network, make_optimizer(network.parameters(), RECIPE, cuda()), data, "fp32", 24)
    choices = next(draw_choices(512, 64, 3, 32, 24, seed=0)).cuda()
    step(choices[0])
    forbid_waiting()
    step(choices[1])


@pytest.mark.parametrize("graph", ["0", "1"])
def test_out_of_memory_is_a_finding(graph, limit_memory, monkeypatch):
    monkeypatch.setenv("HPCNAS_CUDA_GRAPH", graph)
    engine = RepeatsEngine(RECIPE, noise(), cuda())
    limit_memory(30e6)  # less than a step of 64 images keeps
    with pytest.raises(EvaluationFailed) as caught:
        list(engine.evaluate(PUBLISHED, {0: 3}, progress=lambda share: None))
    assert caught.value.kind is FailureKind.OUT_OF_MEMORY
