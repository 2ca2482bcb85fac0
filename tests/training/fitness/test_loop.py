"""The recipe's loop: schedule, seeds, learning, and what it calls a finding about the genotype."""

from contextlib import contextmanager
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
import torch

from hpcnas.config import RecipeConfig
from hpcnas.errors import DataError, UsageError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.records import FailureKind
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import identity_chain
from hpcnas.representation.space import FLAT, HIERARCHICAL
from hpcnas.training.data.datasets import Dataset, Images
from hpcnas.training.fitness import cuda_graph, repeats
from hpcnas.training.fitness.evaluator import EvaluationFailed
from hpcnas.training.fitness.evaluators import load_evaluator
from hpcnas.training.fitness.loop import DeviceData, learning_rate_at, milestone_steps
from hpcnas.training.fitness.loop import train as train_network
from hpcnas.training.fitness.repeats import RepeatsEngine
from hpcnas.training.fitness.trained import choose_device, make_engine
from tests.compiler import need_kernels
from tests.networks.drawn_weights import draw_weights

CPU = torch.device("cpu")
RECIPE = RecipeConfig(train_steps=30, batch=32, channels=4, crop=10, repeats=2, learning_rate=0.05)
CHAIN = identity_chain(FLAT)


def halves(count=200, px=12) -> Dataset:
    """Two classes that differ in the bright half of the image; a flip leaves top and bottom alone."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 80, (count, px, px, 1), dtype=torch.uint8, generator=generator)
    for image, label in zip(images, labels, strict=True):
        image[: px // 2] += 150 * label.to(torch.uint8)
        image[px // 2 :] += 150 * (1 - label).to(torch.uint8)
    return Dataset("halves", 2, Images(images, labels), Images(images[:60], labels[:60]), (0.5,), (0.25,))


def train(recipe=RECIPE, genotype=CHAIN, seeds=None, progress=lambda share: None):
    return list(RepeatsEngine(recipe, halves(), CPU).evaluate(genotype, seeds or {0: 7}, progress=progress))


def test_milestones_are_the_papers_and_scale_with_the_steps():
    assert milestone_steps(RecipeConfig()) == (4000, 4500)
    assert milestone_steps(RecipeConfig(train_steps=100)) == (80, 90)
    rates = [learning_rate_at(RecipeConfig(), step) for step in (0, 3999, 4000, 4499, 4500, 4999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_training_learns():
    (result,) = train(replace(RECIPE, channels=16))  # with 4 channels one start in five learns more slowly
    assert result.accuracy > 0.95
    assert (result.repeat, result.seed, result.steps) == (0, 7, 30)
    assert result.seconds > 0


def test_a_repeat_is_its_seed():
    """Alone or after another, the same seed gives the same accuracy; other seeds other weights."""
    recipe = replace(RECIPE, train_steps=4)
    alone, (_, second) = train(recipe, seeds={3: 11}), train(recipe, seeds={0: 10, 1: 11})
    assert alone[0].accuracy == second.accuracy
    engine = RepeatsEngine(recipe, halves(), CPU)
    a, b, c = (engine._build(CHAIN, seed).classifier.weight for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    RepeatsEngine(RECIPE, halves(), CPU)._build(CHAIN, 1)
    assert torch.equal(torch.rand(1), expected)


def test_kernels_are_compiled_before_a_genotype_is_held(monkeypatch):
    """A worker makes its engine before its first claim; a compilation after it would count as training."""
    asked = []
    monkeypatch.setattr(repeats, "load_library", lambda: asked.append("compiled"))
    RepeatsEngine(RECIPE, halves(), CPU)
    assert asked == ["compiled"]


def test_progress_is_told_in_rising_shares_over_all_repeats():
    shares = []
    train(replace(RECIPE, train_steps=120), seeds={0: 1, 1: 2}, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) >= 6, "three times in each of the two trainings"


def test_what_progress_raises_ends_the_training():
    class Stop(Exception):
        pass

    def stop(share):
        raise Stop

    with pytest.raises(Stop):
        train(progress=stop)


def test_divergence_is_a_finding():
    with pytest.raises(EvaluationFailed, match="loss is") as caught:
        train(replace(RECIPE, learning_rate=1e30, train_steps=60))
    assert caught.value.kind is FailureKind.NOT_A_NUMBER


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),  # where a graph is made
        RuntimeError("CUDA driver error: out of memory"),  # of expandable segments, and of a card that others fill
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_lack_of_memory_is_a_finding(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(repeats, "train", fail)
    with pytest.raises(EvaluationFailed, match="memory") as caught:
        train()
    assert caught.value.kind is FailureKind.OUT_OF_MEMORY


def test_any_other_error_is_a_bug_and_goes_through(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(repeats, "train", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        train()


def test_a_genotype_without_a_path_cannot_be_built():
    with pytest.raises(EvaluationFailed, match="cannot be built") as caught:
        train(genotype=Genotype(((Motif(((0,),)),),)))
    assert caught.value.kind is FailureKind.BUILD


def test_images_are_standardised():
    data = DeviceData.of(halves(), CPU)
    out = data.standardised(halves().train.images)
    expected = (halves().train.images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    assert torch.allclose(out, expected, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_kernels_and_torch_operators_both_learn(monkeypatch):
    """In float32 rounding sends the two apart within steps, so what is compared is that both get there."""
    need_kernels()
    genotype = random_genotype(HIERARCHICAL, Random(4))
    recipe = replace(RECIPE, train_steps=40, learning_rate=0.02)  # 54 starts of 54 reach 1.0, by either
    planned = [r.accuracy for r in train(recipe, genotype, {0: 1, 1: 2})]
    monkeypatch.setattr("hpcnas.networks.cpu.body.load_library", lambda: None)
    plain = [r.accuracy for r in train(recipe, genotype, {0: 1, 1: 2})]
    assert min(*planned, *plain) > 0.75


@pytest.mark.parametrize("seed", [4, 7])  # of others 1e-15 on the reference's own weights grows to 1 within ten steps
def test_a_whole_training_of_the_plan_ends_where_the_references_does(seed):
    """In float64, where rounding stays small: the same accuracy, and the same logits within 1e-6 after 40 steps."""
    genotype, recipe = random_genotype(HIERARCHICAL, Random(seed)), replace(RECIPE, train_steps=40)
    single = DeviceData.of(halves(), CPU)
    data = DeviceData(single.train, single.validation, single.scale.double(), single.shift.double())
    networks = [
        build(genotype, "small", channels=4, classes=2, in_channels=1).double()
        for build in (build_network, build_planned_network)
    ]
    draw_weights(networks[0], 0)
    networks[1].load_state_dict(networks[0].state_dict())
    reference, plan = (train_network(network, data, recipe, seed, lambda share: None) for network in networks)
    assert plan == reference
    with torch.no_grad():
        theirs, ours = (network(data.standardised(data.validation.images)) for network in networks)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)
    assert ours.std() > 0.1


def test_options_that_do_not_go_with_the_data_are_refused():
    with pytest.raises(UsageError, match="--crop 40 is larger"):
        load_evaluator(RecipeConfig(dataset="digits", crop=40))
    with pytest.raises(UsageError, match="--batch 5000 is larger"):
        load_evaluator(RecipeConfig(dataset="digits", batch=5000))
    with pytest.raises(DataError, match="--download"):
        load_evaluator(RecipeConfig(dataset="cifar10", data="/nowhere"))


def test_devices_are_checked():
    assert choose_device("cpu") == CPU
    for name in ("abacus", "meta"):
        with pytest.raises(UsageError, match=f"--device {name}"):
            choose_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            choose_device("cuda")


def test_a_repeat_is_trained_with_its_device_as_the_current_one(monkeypatch):
    """A graph captured on another one would be empty, and replay no step."""
    current: list[torch.device] = []

    @contextmanager
    def on(device):
        current.append(device)
        yield
        current.clear()

    engine = RepeatsEngine(RECIPE, halves(), CPU)
    engine.device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "the second")
    monkeypatch.setattr(engine, "_build", lambda genotype, seed: None)
    monkeypatch.setattr(repeats, "train", lambda *arguments: float(current == [engine.device]))
    assert [fitness.accuracy for fitness in engine.evaluate(CHAIN, {0: 1}, progress=lambda share: None)] == [1.0]


def test_a_cpu_gets_the_plain_engine():
    assert isinstance(make_engine(RECIPE, halves(), CPU), RepeatsEngine)


def test_memory_that_runs_out_in_the_first_step_is_said_as_that_when_a_step_is_to_be_captured(monkeypatch):
    """The optimiser then has entries without momenta: torch makes them before it asks for memory."""
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def too_large(step, choice):
        assert optimizer.state[network.weight] == {}
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cuda_graph, "_captured", too_large)
    with pytest.raises(torch.OutOfMemoryError):
        cuda_graph.capture_step(SimpleNamespace(network=network, optimizer=optimizer), torch.zeros(4, 2))
