"""All repeats together on a device: the interpreter's checks once more, and what only a device shows.

One command: python -m pytest tests/gpu. The trainings of Fashion-MNIST take half an hour: -m "not nightly" leaves them out.
"""

from dataclasses import replace
from random import Random
from statistics import fmean, stdev

import pytest
import torch
from scipy.stats import kendalltau

from hpcnas.benchmarks.genotypes import load_genotypes
from hpcnas.config import RecipeConfig
from hpcnas.errors import DataError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.records import FailureKind
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.space import HIERARCHICAL
from hpcnas.training.data.datasets import Dataset, Images, load_dataset
from hpcnas.training.fitness.evaluator import EvaluationFailed
from hpcnas.training.fitness.repeats import RepeatsEngine

pytest.importorskip("triton")

from hpcnas.networks.gpu.layout import Descent
from hpcnas.networks.gpu.steps import Steps
from hpcnas.training.fitness.together import TogetherEngine
from tests.networks.gpu.comparisons import FOR_BF16, evaluated, faults_in_bf16
from tests.networks.gpu.material import TINY, Case, error, flat, gradients, stored, tiny

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")]
CUDA = torch.device("cuda")
BENCH = load_genotypes()
GENOTYPES = {name: tiny(name) for name in TINY} | {name: BENCH[name] for name in ("random5", "published", "sparse")}
DESCENT = Descent(0.9, 3e-4)
RECIPE = RecipeConfig(train_steps=60, batch=64, channels=16, crop=24, repeats=4, learning_rate=0.02)


def bright_and_dark() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(512) % 2
    images = torch.randint(0, 100, (512, 32, 32, 3), dtype=torch.uint8, generator=generator)
    images += (100 * labels[:, None, None, None]).to(torch.uint8)
    return Dataset("noise", 2, Images(images, labels), Images(images[:128], labels[:128]), (0.4,) * 3, (0.2,) * 3)


@pytest.mark.parametrize("name", GENOTYPES)
def test_compiled_kernels_equal_the_reference(name):
    """12 px, so that the smallest cells have three rows, and what a loop carries from row to row shows."""
    case = Case(GENOTYPES[name], runs=2, batch=16, crop=12, channels=16, device="cuda")
    steps = case.steps_of([0, 1], Descent(0.0, 0.0), rate=0.0)
    steps.run()
    for run in range(2):
        loss, right, buffers = gradients(case, run, torch.float64)
        _, torchs, _ = gradients(case, run, torch.float32)
        mine = stored(steps, run, case.states[0], momenta=True)
        mine_flat, torchs_flat, right_flat = (flat(tensors, list(right)) for tensors in (mine, torchs, right))
        assert abs(float(steps.layout.losses[run].mean()) - loss) < 1e-4 * loss
        assert error(flat(mine, list(buffers)), flat(buffers, list(buffers))) < 1e-4
        assert error(mine_flat, right_flat) <= 8 * error(torchs_flat, right_flat) + 1e-5


def test_compiled_bf16_is_as_near_to_float64_as_torchs_own():
    assert faults_in_bf16(Case(tiny("smallest"), device="cuda", **FOR_BF16)) == []


@pytest.mark.parametrize("name", TINY)
def test_a_compiled_evaluation_equals_the_reference(name):
    error_of_features, hits, right_hits = evaluated(Case(tiny(name), batch=16, crop=12, channels=16, device="cuda"))
    assert error_of_features < 1e-5
    assert torch.equal(hits, right_hits)


def trained_bits(case: Case, runs: list[int], captured: bool) -> list[dict[str, torch.Tensor]]:
    steps = case.steps_of(runs, DESCENT, rate=0.05)
    if captured:
        steps.capture()
    for _ in range(case.steps):
        steps.run()
    return [stored(steps, place, case.states[0]) for place in range(len(runs))]


def are_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_four_together_equal_each_alone_twice_and_uncaptured_to_the_bit(dtype):
    case = Case(BENCH["random5"], runs=4, steps=5, batch=16, crop=12, channels=16, device="cuda", dtype=dtype)
    together = trained_bits(case, [0, 1, 2, 3], captured=True)
    assert all(map(are_same, together, trained_bits(case, [0, 1, 2, 3], captured=True)))
    assert all(map(are_same, together, trained_bits(case, [0, 1, 2, 3], captured=False)))
    for run in range(4):
        assert are_same(trained_bits(case, [run], captured=True)[0], together[run])


def test_no_step_waits_for_the_device(forbid_waiting):
    case = Case(PUBLISHED, runs=2, steps=3, batch=16, crop=12, channels=16, device="cuda", dtype=torch.bfloat16)
    steps = case.steps_of([0, 1], DESCENT, rate=0.05)
    steps.capture()
    forbid_waiting()
    for _ in range(3):
        steps.run()


def test_all_repeats_learn():
    found = list(TogetherEngine(RECIPE, bright_and_dark(), CUDA).evaluate(PUBLISHED, {0: 3, 2: 5}, progress=lambda share: None))
    assert [fitness.repeat for fitness in found] == [0, 2]
    assert min(fitness.accuracy for fitness in found) > 0.95


def test_memory_goes_down_a_step_at_a_time_and_only_then_is_a_finding(monkeypatch, limit_memory):
    engine = TogetherEngine(RECIPE, bright_and_dark(), CUDA)
    monkeypatch.setattr(engine, "free_bytes", lambda: 1 << 62)  # so that it runs into the limit
    tried: list[int] = []
    capture = Steps.capture

    def note(steps: Steps) -> None:
        capture(steps)
        tried.append(steps.layout.runs)

    monkeypatch.setattr(Steps, "capture", note)
    plan, _ = engine._plan(PUBLISHED)
    needed = plan.memory_bytes(1, RECIPE.train_steps)
    limit_memory(1.3 * needed)
    assert len(list(engine.evaluate(PUBLISHED, dict(enumerate(range(4))), progress=lambda share: None))) == 4
    assert tried == [1, 1, 1, 1]
    limit_memory(0.2 * needed)
    with pytest.raises(EvaluationFailed) as caught:
        list(engine.evaluate(PUBLISHED, {0: 1}, progress=lambda share: None))
    assert caught.value.kind is FailureKind.OUT_OF_MEMORY


def test_a_fitness_leaves_nothing_on_the_device():
    """Neither weights nor graphs: a worker evaluates genotypes for days."""
    engine = TogetherEngine(RECIPE, bright_and_dark(), CUDA)
    held = []
    for genotype in (PUBLISHED, BENCH["random5"], BENCH["sparse"], PUBLISHED):
        list(engine.evaluate(genotype, {0: 3, 2: 5}, progress=lambda share: None))
        held.append(torch.cuda.memory_allocated(CUDA))
    assert len(set(held[1:])) == 1  # what torch keeps for good it has after the first


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds no second CUDA device here")
def test_a_second_device_gives_the_bits_of_the_first():
    """Nothing is launched on the current device, which is the first."""
    found = []
    for device in (torch.device("cuda", 0), torch.device("cuda", 1)):
        engine = TogetherEngine(RECIPE, bright_and_dark(), device)
        results = engine.evaluate(BENCH["sparse"], {0: 3, 2: 5}, progress=lambda share: None)
        found.append([fitness.accuracy for fitness in results])
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    try:
        return load_dataset("fashion-mnist")
    except DataError as error:
        pytest.skip(str(error))


def accuracies(engine: TogetherEngine | RepeatsEngine, genotype: Genotype, repeats: int) -> list[float]:
    seeds = {repeat: 1000 + repeat for repeat in range(repeats)}
    return [100 * fitness.accuracy for fitness in engine.evaluate(genotype, seeds, progress=lambda share: None)]


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["sparse", "random5", "published"])
def test_accuracies_equal_those_of_repeats_one_after_the_other(name, fashion):
    """n = 8 each; the difference of the means within three of its standard errors."""
    recipe = replace(RecipeConfig(), dataset="fashion-mnist", train_steps=1000, repeats=8)
    one, other = (accuracies(kind(recipe, fashion, CUDA), BENCH[name], 8) for kind in (TogetherEngine, RepeatsEngine))
    assert abs(fmean(one) - fmean(other)) < 3 * ((stdev(one) ** 2 + stdev(other) ** 2) / 8) ** 0.5


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_bf16_ranks_genotypes_as_fp32_does(fashion):
    recipe = replace(RecipeConfig(), dataset="fashion-mnist", train_steps=500, repeats=4)
    exact = RepeatsEngine(replace(recipe, precision="fp32"), fashion, CUDA)
    engine = TogetherEngine(recipe, fashion, CUDA)
    drawn = [random_genotype(HIERARCHICAL, Random(seed), mutations=300) for seed in range(20)]
    ranks = [[fmean(accuracies(each, genotype, 4)) for genotype in drawn] for each in (engine, exact)]
    assert kendalltau(*ranks).statistic >= 0.9
