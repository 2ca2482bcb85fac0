"""What the engine of all repeats together does around its kernels, which are left out; they run in networks/gpu/interpreted."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from hpcnas.config import RecipeConfig
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.training.data.datasets import Dataset, Images
from hpcnas.training.fitness import together
from hpcnas.training.fitness.together import TogetherEngine

GENOTYPE = Genotype(((Motif(((5,),)),),))
RECIPE = RecipeConfig(train_steps=130, batch=4, channels=4, crop=3)
NAN = float("nan")


@pytest.fixture
def engine() -> TogetherEngine:
    images = Images(torch.zeros(8, 4, 4, 1, dtype=torch.uint8), torch.arange(8) % 2)
    return TogetherEngine(RECIPE, Dataset("tiny", 2, images, images, (0.4,), (0.2,)), torch.device("cpu"))


@pytest.fixture
def descend(engine: TogetherEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], tuple[dict[int, str], int]]:
    """Trains runs whose loss is not a number from the given steps on; which diverged, and how many steps were made."""

    def made(first_nan: list[int]) -> tuple[dict[int, str], int]:
        layout = SimpleNamespace(losses=torch.zeros(len(first_nan), 4))
        done = 0

        def run() -> None:
            nonlocal done
            done += 1
            layout.losses = torch.tensor([[NAN if done >= first else 1.0] * 4 for first in first_nan])

        monkeypatch.setattr(together, "Layout", lambda *sizes: layout)
        monkeypatch.setattr(together, "Steps", lambda *given: SimpleNamespace(run=run))
        weights: Any = None  # only the layout looks at them
        found = engine._descend(weights, range(len(first_nan)), lambda share: None)
        return found, done

    return made


def test_losses_are_read_every_50_steps_and_at_the_end(descend):
    diverged, done = descend([1, 60, 125, 131])
    reasons = [f"the training loss is nan after {steps} steps" for steps in (50, 100, 130)]
    assert diverged == dict(enumerate(reasons)), "each with the look that saw it first; the last run never"
    assert done == 130


def test_steps_end_when_every_run_has_diverged(descend):
    """The runs are one network, so that one alone cannot be left out."""
    diverged, done = descend([1, 60])
    assert list(diverged) == [0, 1]
    assert done == 100


def test_a_group_has_its_share_of_progress_and_of_the_time(engine, monkeypatch):
    """Three repeats of which two fit at once: two thirds of the progress, and half of the seconds each."""
    clock = iter([0.0, 10.0, 10.0, 13.0])
    monkeypatch.setattr(together, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(engine, "_fitting", lambda plan, repeats: 2)

    def train(genotype, structure, seeds, progress):
        for share in (0.0, 0.5, 1.0):
            progress(share)
        return [0.5] * len(seeds)

    monkeypatch.setattr(engine, "_train", train)
    shares: list[float] = []
    found = list(engine.evaluate(GENOTYPE, {0: 1, 1: 2, 2: 3}, progress=shares.append))
    assert shares == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 5 / 6, 1])
    assert [fitness.seconds for fitness in found] == [5.0, 5.0, 3.0]


def test_memory_is_given_back_before_fewer_are_tried(engine, monkeypatch):
    """Blocks that torch keeps of the larger attempt are in pieces that the smaller one does not fit."""
    done: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("given back"))

    def train(genotype, structure, seeds, progress):
        done.append(len(seeds))
        if len(seeds) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [0.5]

    monkeypatch.setattr(engine, "_train", train)
    list(engine.evaluate(GENOTYPE, {0: 1, 1: 2}, progress=lambda share: None))
    assert done == [2, "given back", 1, 1]


def test_kernels_are_compiled_for_the_card_that_trains(engine, monkeypatch):
    """Of a node with two kinds of cards; each look at the compiler reports progress, through which a signal is met."""
    second, asked, shares = torch.device("cuda", 1), list[int](), list[float]()

    def prepare(plan, arch, wait):
        asked.append(arch)
        wait()

    monkeypatch.setattr(engine, "device", second)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 6) if device == second else (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A40")
    monkeypatch.setattr(together, "prepare", prepare)
    monkeypatch.setattr(engine, "_fitting", lambda plan, repeats: repeats)
    monkeypatch.setattr(engine, "_train", lambda *given: [0.5])
    (found,) = engine.evaluate(GENOTYPE, {0: 1}, progress=shares.append)
    assert (asked, shares, found.device) == ([86], [0.0], "A40")


@pytest.mark.parametrize("validation_px", [4, 40])
def test_the_memory_of_a_training_is_that_of_all_its_tensors(engine, validation_px):
    """And that of an evaluation where it is larger; weights twice, as a capture keeps them."""
    plan, structure = engine._plan(GENOTYPE)
    plan = replace(plan, image_px=validation_px)
    training, evaluation = plan.layouts(2, structure)
    assert (evaluation.memory_bytes > training.memory_bytes) == (validation_px == 40)
    weights = EngineWeights(structure, 2, torch.device("cpu"), torch.bfloat16)
    choices = engine._choices([1, 2])
    assert choices.shape == (RECIPE.train_steps, 2, 4, RECIPE.batch)
    own = 2 * sum(tensor.nbytes for tensor in weights.tensors().values()) + choices.nbytes
    assert plan.memory_bytes(2, RECIPE.train_steps) == own + max(training.memory_bytes, evaluation.memory_bytes)
