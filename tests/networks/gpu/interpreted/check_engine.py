"""The engine from claim to fitness at a tiny size, in Triton's interpreter; started by test_kernels.py."""

import copy
import logging
from dataclasses import replace

import pytest
import torch

from hpcnas.benchmarks.step import Setting
from hpcnas.benchmarks.together import measure_together, text
from hpcnas.config import RecipeConfig
from hpcnas.networks.gpu.layout import Descent
from hpcnas.networks.gpu.support import MEMORY_MARGIN
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.networks.skeletons import build_network
from hpcnas.records import FailureKind, Fitness
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.training.data.datasets import Dataset, Images
from hpcnas.training.fitness.evaluator import EvaluationFailed
from hpcnas.training.fitness.loop import DeviceData, train
from hpcnas.training.fitness.together import TogetherEngine
from hpcnas.training.fitness.trained import make_engine, training_evaluator
from tests.networks.gpu.imagined_cuda import ImaginedCuda
from tests.networks.gpu.interpreter import mend
from tests.networks.gpu.material import Case, error, flat, tiny

mend()
RECIPE = replace(RecipeConfig(), train_steps=2, milestones=(0.5,), batch=4, channels=4, crop=3, repeats=3, learning_rate=0.02)
GENOTYPE = tiny("smallest")


def bright_and_dark() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(32) % 2
    images = torch.randint(0, 100, (32, 4, 4, 1), dtype=torch.uint8, generator=generator)
    images += (100 * labels[:, None, None, None]).to(torch.uint8)
    return Dataset("tiny", 2, Images(images, labels), Images(images[:7], labels[:7]), (0.4,), (0.2,))


@pytest.fixture
def engine() -> TogetherEngine:
    made = make_engine(RECIPE, bright_and_dark(), torch.device("cpu"))
    assert isinstance(made, TogetherEngine)
    return made


def test_an_evaluator_gives_each_missing_repeat_its_own_fitness(monkeypatch):
    """And that of torch's own training by the recipe with its seed: images, crops, rates, optimiser and evaluation."""
    monkeypatch.setattr("hpcnas.training.fitness.trained.load_dataset", lambda *args, **kwargs: bright_and_dark())
    evaluator = training_evaluator(RECIPE, device="cpu")
    evaluator.evaluation_batch = 4  # of 7 images, so that the last batch is filled up
    ended = ends(monkeypatch)
    shares: list[float] = []
    both = list(evaluator.evaluate(GENOTYPE, {0: 11, 2: 13}, progress=shares.append))
    assert [(fitness.repeat, fitness.seed, fitness.steps) for fitness in both] == [(0, 11, 2), (2, 13, 2)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    for run, fitness in enumerate(both):
        network, start, accuracy = trained_by_torch(fitness.seed)
        assert fitness.accuracy == accuracy
        right = {name: tensor for name, tensor in network.state_dict().items() if "tracked" not in name}
        mine = {name: torch.zeros_like(tensor) for name, tensor in right.items()}
        ended[0].store(run, mine)
        names = list(right)
        assert error(*(flat(tensors, names) - flat(start, names) for tensors in (mine, right))) < 1e-3
    (alone,) = evaluator.evaluate(GENOTYPE, {2: 13}, progress=shares.append)
    assert alone.accuracy == both[1].accuracy


def ends(monkeypatch: pytest.MonkeyPatch) -> list[EngineWeights]:
    """The weights of each training when it is evaluated."""
    found: list[EngineWeights] = []
    evaluate = TogetherEngine._evaluate

    def noted(self, weights, progress):
        found.append(weights)
        return evaluate(self, weights, progress)

    monkeypatch.setattr(TogetherEngine, "_evaluate", noted)
    return found


def trained_by_torch(seed: int) -> tuple[torch.nn.Module, dict[str, torch.Tensor], float]:
    """The reference after its training, its first weights, and its accuracy."""
    torch.manual_seed(seed)
    network = build_network(GENOTYPE, "small", channels=RECIPE.channels, classes=2, in_channels=1)
    start = copy.deepcopy(network.state_dict())
    data = DeviceData.of(bright_and_dark(), torch.device("cpu"))
    return network, start, train(network, data, RECIPE, seed, lambda share: None)


def test_what_progress_raises_ends_a_training(engine):
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(engine.evaluate(GENOTYPE, {0: 1}, progress=stop))


def test_memory_that_runs_out_halves_the_repeats_and_only_then_is_a_finding(engine, monkeypatch, caplog):
    tried: list[int] = []

    def too_large(self, genotype, structure, seeds, progress):
        tried.append(len(seeds))
        if len(seeds) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [0.5] * len(seeds)

    monkeypatch.setattr(TogetherEngine, "_train", too_large)
    seeds = dict(enumerate(range(4)))
    most = 1
    with caplog.at_level(logging.WARNING):
        assert [f.repeat for f in engine.evaluate(GENOTYPE, seeds, progress=lambda share: None)] == [0, 1, 2, 3]
    assert tried == [4, 2, 1, 1, 1, 1]
    assert len(caplog.records) == 2
    most = 0
    with pytest.raises(EvaluationFailed) as caught:
        list(engine.evaluate(GENOTYPE, seeds, progress=lambda share: None))
    assert caught.value.kind is FailureKind.OUT_OF_MEMORY


def test_networks_with_own_primitives_are_trained_by_torch_and_that_is_said_once(engine, own_primitives, caplog):
    """Those of the same run without any keep the kernels."""
    pool = (*PRIMITIVES, "5x5", "dilated3x3")
    own, papers = (Genotype(((Motif(((k,),)),),), pool) for k in (7, 2))
    with caplog.at_level(logging.WARNING):
        for seed in (1, 2):
            (found,) = engine.evaluate(own, {0: seed}, progress=lambda share: None)
            assert found.steps == RECIPE.train_steps
    assert caplog.text.count("a primitive of your own has no kernel") == 1
    caplog.clear()
    same = Genotype(papers.levels)
    results = [next(engine.evaluate(genotype, {0: 1}, progress=lambda share: None)).accuracy for genotype in (papers, same)]
    assert results[0] == results[1]
    assert not caplog.text


def test_how_many_fit_is_known_before_anything_is_allocated(engine, monkeypatch):
    plan, _ = engine._plan(GENOTYPE)
    for at_once, repeats in ((4, 4), (3, 3), (2, 4), (1, 4)):
        need = plan.memory_bytes(at_once, RECIPE.train_steps) + MEMORY_MARGIN
        monkeypatch.setattr(TogetherEngine, "free_bytes", lambda self, need=need: need)
        assert engine._fitting(plan, repeats) == at_once


def test_a_repeat_that_diverged_fails_when_the_others_are_given(engine, monkeypatch):
    monkeypatch.setattr(TogetherEngine, "_train", lambda *args: [0.5, "the training loss is nan after 50 steps"])
    found = []
    with pytest.raises(EvaluationFailed, match="repeat 3: the training loss is nan after 50 steps") as caught:
        found.extend(engine.evaluate(GENOTYPE, {1: 5, 3: 6}, progress=lambda share: None))
    assert caught.value.kind is FailureKind.NOT_A_NUMBER
    assert [fitness.repeat for fitness in found] == [1]


def test_a_loss_that_is_not_finite_is_seen_for_its_run_alone(engine, monkeypatch):
    state = TogetherEngine._initial_state

    def broken(self, genotype, seed):
        made = dict(state(self, genotype, seed))
        if seed == 6:
            made["classifier.bias"] = torch.full_like(made["classifier.bias"], float("inf"))
        return made

    monkeypatch.setattr(TogetherEngine, "_initial_state", broken)
    given: list[Fitness] = []
    with pytest.raises(EvaluationFailed, match="repeat 3: the training loss is nan"):
        given.extend(engine.evaluate(GENOTYPE, {1: 5, 3: 6}, progress=lambda share: None))
    assert [fitness.repeat for fitness in given] == [1]


def test_a_step_that_cannot_be_captured_runs_launch_by_launch_and_leaves_no_trace(monkeypatch, caplog):
    case = Case(GENOTYPE, steps=3, crop=3)  # warming up and what stands for a capture are steps here
    plain, tried = (case.steps_of([0], Descent(0.9, 3e-4), rate=0.05) for _ in range(2))
    cuda = ImaginedCuda(monkeypatch)
    cuda.fault = "CUDA error: operation not permitted when stream is capturing\nmore"
    with caplog.at_level(logging.WARNING):
        tried.capture()
    assert [record.getMessage() for record in caplog.records] == [
        "a step is not captured in a CUDA graph (CUDA error: operation not permitted when stream is capturing): "
        "it runs launch by launch"
    ]
    for steps in (plain, tried):
        steps.run()
    assert all(
        torch.equal(tensor, tried.layout.weights.tensors()[name]) for name, tensor in plain.layout.weights.tensors().items()
    )
    cuda.fault = "CUDA error: out of memory"
    with pytest.raises(RuntimeError, match="out of memory"):
        tried.capture()


def test_the_bench_reports_the_step_of_all_repeats():
    setting = Setting(torch.device("cpu"), "small", 4, (4, 3, 3, 3))
    row = measure_together(GENOTYPE, setting, rounds=1, runs=2)
    assert set(row) == {
        *("ms", "spread", "launches", "gigabytes", "terabytes_per_s", "fitness_s"),
        *("compile_s", "capture_s", "memory_gigabytes"),
    }
    assert row["fitness_s"] == pytest.approx(5 * row["ms"])
    assert f"{row['launches']} launches" in text(row)
