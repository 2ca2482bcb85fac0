"""The GPU's engine: all repeats of a genotype at once, as one network of Triton kernels (docs/performance.md)."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from hpcnas.config import RecipeConfig
from hpcnas.errors import GenotypeError
from hpcnas.networks.gpu.kernel_cache import prepare
from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.steps import Steps
from hpcnas.networks.gpu.structure import Structure
from hpcnas.networks.gpu.support import MEMORY_MARGIN, free_bytes, is_interpreted, on_device, release_memory
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.networks.skeletons import build_network
from hpcnas.records import FailureKind, Fitness
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.training.data.augment import draw_choices
from hpcnas.training.data.datasets import Dataset
from hpcnas.training.fitness.evaluator import EvaluationFailed, ProgressCallback
from hpcnas.training.fitness.loop import STEPS_BETWEEN_CHECKS, DeviceData, learning_rate_at
from hpcnas.training.fitness.repeats import RepeatsEngine, device_label, is_out_of_memory, out_of_memory

log = logging.getLogger(__name__)

MOST_EVALUATED_PX = 500 * 32 * 32  # pixels of one pass through the kernels: 500 images of CIFAR
MOST_AT_ONCE = 4  # repeats that are trained together; else 2, else 1


class TogetherEngine:
    """The evaluator that trains as many repeats at once as fit.

    A repeat's bits depend on its seed and on nothing else: neither on how many are trained together, nor on which.
    """

    at_once = MOST_AT_ONCE

    def __init__(self, recipe: RecipeConfig, data: Dataset, device: torch.device) -> None:
        self.recipe, self.device, self.dataset = recipe, device, data
        self.data = DeviceData.of(data, device)
        self.evaluation_batch = max(1, min(MOST_EVALUATED_PX // data.image_px**2, len(data.validation.labels)))
        self.dtype = "float32" if is_interpreted() else "bfloat16"
        self._plain: RepeatsEngine | None = None
        self._logged: set[str] = set()

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: ProgressCallback) -> Iterator[Fitness]:
        """Train as many repeats at once as fit, see `Evaluator.evaluate`; those that diverge fail when the others are given."""
        plan, structure = self._plan(genotype)
        reason = plan.reason_against(structure)
        if reason:
            yield from self._one_by_one(reason).evaluate(genotype, seeds, progress=progress)
            return
        if self.device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(self.device)
            # Compiling takes minutes at first use; reports of progress let the worker meet a signal meanwhile.
            prepare(plan, 10 * major + minor, lambda: progress(0.0))
        missing, diverged = dict(seeds), dict[int, str]()
        at_once = self._fitting(plan, len(missing))
        while missing:
            group = dict(list(missing.items())[:at_once])
            start, done = time.perf_counter(), len(seeds) - len(missing)
            try:
                found = self._train(
                    genotype, structure, list(group.values()), share_of_group(progress, done, len(group), len(seeds))
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                at_once = self._fewer(at_once, error)
                continue
            seconds = (time.perf_counter() - start) / len(group)  # of the device, each one's share
            for (repeat, seed), result in zip(group.items(), found, strict=True):
                del missing[repeat]
                if isinstance(result, str):
                    diverged[repeat] = result
                else:
                    yield Fitness(repeat, result, seed, self.recipe.train_steps, seconds, device_label(self.device))
        if diverged:
            raise EvaluationFailed(FailureKind.NOT_A_NUMBER, "; ".join(f"repeat {k}: {why}" for k, why in diverged.items()))

    def _one_by_one(self, reason: str) -> RepeatsEngine:
        """The engine for genotypes that the kernels cannot run; each reason is logged once."""
        if self._plain is None:
            self._plain = RepeatsEngine(self.recipe, self.dataset, self.device)
        if reason not in self._logged:
            self._logged.add(reason)
            log.warning("some genotypes' repeats are trained one after the other: %s", reason)
        return self._plain

    def _plan(self, genotype: Genotype) -> tuple[PassPlan, Structure]:
        recipe, data = self.recipe, self.dataset
        try:
            plan = PassPlan(
                genotype_to_json(genotype),
                channels=recipe.channels,
                cells=recipe.cells,
                classes=data.classes,
                in_channels=data.in_channels,
                batch=recipe.batch,
                crop=recipe.crop,
                image_px=data.image_px,
                evaluation_batch=self.evaluation_batch,
                dtype=self.dtype,
            )
            return plan, plan.structure()
        except (GenotypeError, RecursionError) as error:
            raise EvaluationFailed(FailureKind.BUILD, f"the network cannot be built: {error}") from error

    def _fitting(self, plan: PassPlan, repeats: int) -> int:
        """The number of repeats to begin with, computed before anything is allocated."""
        free = self.free_bytes() - MEMORY_MARGIN
        for at_once in (min(MOST_AT_ONCE, repeats), 2):
            if at_once <= repeats and plan.memory_bytes(at_once, self.recipe.train_steps) <= free:
                return at_once
        return 1

    def free_bytes(self) -> int:
        """Memory that a training can have."""
        return free_bytes(self.device)

    def _fewer(self, at_once: int, error: BaseException) -> int:
        if at_once == 1:
            raise out_of_memory(error) from error
        log.warning("%d repeats do not fit into memory together: going on with %d at a time", at_once, at_once // 2)
        release_memory(error)
        return at_once // 2

    def _train(
        self, genotype: Genotype, structure: Structure, seeds: Sequence[int], progress: ProgressCallback
    ) -> list[float | str]:
        """The accuracy of each seed's repeat, or how it diverged."""
        with on_device(self.device):
            weights = EngineWeights(structure, len(seeds), self.device, getattr(torch, self.dtype))
            for run, seed in enumerate(seeds):
                weights.load(run, self._initial_state(genotype, seed))
            diverged = self._descend(weights, seeds, progress)
            if len(diverged) == len(seeds):
                return [diverged[run] for run in range(len(seeds))]
            accuracies = self._evaluate(weights, progress)
        return [diverged.get(run, accuracy) for run, accuracy in enumerate(accuracies)]

    def _initial_state(self, genotype: Genotype, seed: int) -> Mapping[str, Tensor]:
        recipe, data = self.recipe, self.dataset
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # as RepeatsEngine draws them
            network = build_network(
                genotype,
                "small",
                channels=recipe.channels,
                cells=recipe.cells,
                classes=data.classes,
                in_channels=data.in_channels,
            )
        return network.state_dict()

    def _descend(self, weights: EngineWeights, seeds: Sequence[int], progress: ProgressCallback) -> dict[int, str]:
        """All steps; which runs diverged, and how."""
        recipe, data = self.recipe, self.data
        images = ImageBytes(data.train.images, data.train.labels, data.scale, data.shift)
        descent = Descent(recipe.momentum, recipe.weight_decay)
        layout = Layout(weights, recipe.batch, recipe.crop, images, descent)
        steps = Steps(layout, self._choices(seeds), [learning_rate_at(recipe, step) for step in range(recipe.train_steps)])
        if self.device.type == "cuda":
            steps.capture()
        diverged: dict[int, str] = {}
        for done in range(1, recipe.train_steps + 1):
            steps.run()
            if done % STEPS_BETWEEN_CHECKS == 0 or done == recipe.train_steps:
                self._look(layout, done, diverged)
            # Only when all have diverged: the runs are one network, so that a single one cannot be left out.
            if len(diverged) == len(seeds):
                break
            progress(done / recipe.train_steps)
        return diverged

    def _look(self, layout: Layout, done: int, diverged: dict[int, str]) -> None:
        """Read the losses, which waits for the device."""
        for run, loss in enumerate(layout.losses.mean(1).tolist()):
            if not math.isfinite(loss):
                diverged.setdefault(run, f"the training loss is {loss} after {done} steps")

    def _choices(self, seeds: Sequence[int]) -> Tensor:
        """int32 (steps, R, 4, B): of each run those of its seed, see `augment.draw_choices`."""
        recipe, images = self.recipe, self.data.train.labels
        drawn = [
            draw_choices(len(images), recipe.batch, recipe.train_steps, self.dataset.image_px, recipe.crop, seed)
            for seed in seeds
        ]
        return torch.stack([torch.cat(list(epochs)).to(torch.int32) for epochs in drawn], 1)

    def _evaluate(self, weights: EngineWeights, progress: ProgressCallback) -> list[float]:
        """The share of validation images that each run classifies rightly."""
        images, labels = self.data.validation.images, self.data.validation.labels
        data = ImageBytes(images, labels, self.data.scale, self.data.shift)
        batch = self.evaluation_batch
        layout = Layout(weights, batch, self.dataset.image_px, data, None)
        right = torch.zeros(weights.runs, dtype=torch.int64, device=self.device)
        for start in range(0, len(labels), batch):
            index = torch.arange(start, start + batch, device=self.device)
            layout.choice[:, 0] = index.clamp(max=len(labels) - 1)  # the last batch is filled up, and its rest not counted
            for launch in layout.launches:
                launch()
            right += layout.hits[:, : len(labels) - start].sum(1)
            progress(1.0)
        return [count / len(labels) for count in right.tolist()]


def share_of_group(progress: ProgressCallback, done: int, size: int, total: int) -> ProgressCallback:
    """The progress callback of `size` repeats that are trained together, of `total`, of which `done` are done."""
    return lambda share: progress((done + size * min(max(share, 0.0), 1.0)) / total)
