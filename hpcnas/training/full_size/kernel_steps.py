"""The steps of several full-size runs at once, made by the GPU's kernels; imported only where Triton is."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.steps import Steps
from hpcnas.networks.gpu.support import MEMORY_MARGIN, free_bytes, is_interpreted, on_device
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.representation.codec import genotype_to_json
from hpcnas.training.data.augment import draw_choices
from hpcnas.training.full_size.batches import ResidentData
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.recipe import FullRecipe
from hpcnas.training.full_size.step import FullTraining
from hpcnas.training.full_size.task import TrainingTask


class NotTogether(Exception):
    """The kernels cannot train even one run, for its data or the device's memory."""


class KernelSteps:
    """Takes up the state of R trainings, makes their steps, and gives the state back.

    The choices of one epoch lie on the device at a time.

    Args:
        plan: `plan.batch` is the whole batch of a run.
        seeds: of the runs, for order and augmentation.
        first: the step to begin with.
    """

    def __init__(
        self,
        plan: PassPlan,
        trainings: Sequence[FullTraining],
        seeds: Sequence[int],
        data: ResidentData,
        first: int,
    ) -> None:
        self._trainings, self._recipe = trainings, trainings[0].recipe
        self._device = data.train_images.device
        with on_device(self._device):
            self._weights = EngineWeights(plan.structure(), len(seeds), self._device, getattr(torch, plan.dtype))
            for run, training in enumerate(trainings):
                self._weights.load(run, training.network.state_dict())
                self._weights.load_momenta(run, training.momenta())
            descent = Descent(self._recipe.momentum, self._recipe.weight_decay)
            images = ImageBytes(data.train_images, data.train_labels, data.scale, data.shift)
            self._layout = Layout(self._weights, plan.batch, plan.crop, images, descent)
            # The steps of an epoch, whose last partial batch is dropped (docs/paper.md, section 5).
            window = data.images // plan.batch
            room = torch.zeros(window, len(seeds), 4, plan.batch, dtype=torch.int32, device=self._device)
            self._steps = Steps(self._layout, room, [0.0] * window)
            if self._device.type == "cuda":
                self._steps.capture()
        self._epochs = _epochs(data, self._recipe, seeds, first)
        self._next = first  # the step at which the choices on the device end

    def run(self, step: int) -> None:
        """Make the next step, or send it to the device."""
        with on_device(self._device):
            if step == self._next:
                choices = next(self._epochs)
                self._next += len(choices)
                self._steps.refill(choices, [self._recipe.learning_rate_at(k) for k in range(step, self._next)])
            self._steps.run()

    def losses(self) -> list[float]:
        """Each run's mean loss in the last step; waits for the device."""
        found: list[float] = self._layout.losses.mean(1).tolist()
        return found

    def store(self, run: int, step: int) -> None:
        """Write weights, statistics and momenta of one run into its training, after `step` steps."""
        training = self._trainings[run]
        state = training.network.state_dict()
        self._weights.store(run, state)
        for name, tensor in state.items():
            if name.endswith("num_batches_tracked"):
                # The kernels count no batches. torch's batch normalisation would have counted one a step.
                tensor.fill_(step)
        momenta = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        self._weights.store(run, momenta, momenta=True)
        training.put_momenta(_of_weights(training, momenta))


def _of_weights(training: FullTraining, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[name] for name, _ in training.network.named_parameters()}


def _epochs(data: ResidentData, recipe: FullRecipe, seeds: Sequence[int], first: int) -> Iterator[Tensor]:
    """int32 (steps, R, 4, batch) for the steps of each epoch that are left: of each run what ResidentData would draw."""
    drawn = [draw_choices(data.images, recipe.batch, recipe.steps, data.image_px, recipe.crop, seed) for seed in seeds]
    step = 0
    for epochs in zip(*drawn, strict=True):
        skipped = max(0, first - step)
        step += len(epochs[0])
        if step > first:
            yield torch.stack([epoch[skipped:].to(torch.int32) for epoch in epochs], 1)


def pass_plan(task: TrainingTask, classes: int, in_channels: int, image_px: int) -> PassPlan:
    """The plan of the kernels for a full-size training: one whole batch in bf16."""
    recipe = task.recipe
    return PassPlan(
        genotype_to_json(task.genotype),
        channels=recipe.channels,
        cells=recipe.cells,
        classes=classes,
        in_channels=in_channels,
        batch=recipe.batch,
        crop=recipe.crop,
        image_px=image_px,
        evaluation_batch=0,
        dtype="float32" if is_interpreted() else "bfloat16",
        model=recipe.model,
        tail=recipe.tail,
    )


def fitting_runs(plan: PassPlan, data: ResidentData, group: Group, runs: int) -> int:
    """The number of runs that fit at once, computed before anything is allocated."""
    free = free_bytes(group.device) - MEMORY_MARGIN
    window = data.images // plan.batch
    for at_once in range(runs, 0, -1):
        if plan.memory_bytes(at_once, window) <= free:
            return at_once
    raise NotTogether(f"one needs {plan.memory_bytes(1, window) / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
