"""One training of the small model: schedule, optimiser, step, and the accuracy at the end (paper section 4.1)."""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hpcnas.config import RecipeConfig
from hpcnas.records import FailureKind
from hpcnas.training.data.augment import crop_and_flip, draw_choices
from hpcnas.training.data.datasets import Dataset, Images
from hpcnas.training.fitness.evaluator import EvaluationFailed, ProgressCallback

log = logging.getLogger(__name__)

STEPS_BETWEEN_CHECKS = 50  # reading a loss waits for the device, so it is done rarely
EVALUATION_BATCH = {"cpu": 250, "cuda": 2000}


@dataclass(frozen=True, slots=True)
class DeviceData:
    """A data set where it is trained on: bytes, so that CIFAR-10 takes 150 MB.

    Attributes:
        scale, shift: (channels,) float32; image * scale + shift is standardised.
    """

    train: Images
    validation: Images
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, data: Dataset, device: torch.device) -> "DeviceData":
        """Copy `data` to `device`."""
        scale = torch.tensor([1 / (255 * s) for s in data.std], device=device)
        shift = torch.tensor([-m / s for m, s in zip(data.mean, data.std, strict=True)], device=device)
        train, validation = (Images(part.images.to(device), part.labels.to(device)) for part in (data.train, data.validation))
        return cls(train, validation, scale, shift)

    def standardised(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, channels) to float32 (B, channels, H, W), channels last in memory."""
        return torch.addcmul(self.shift, images.to(self.scale.dtype), self.scale).permute(0, 3, 1, 2)


class TrainingStep:
    """Cuts a batch, runs forward and backward, updates the weights: all on the device, nothing waits for it.

    Args:
        precision: fp32, or bf16 for autocast.
        crop_px: side of the square that is trained on.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.SGD, data: DeviceData, precision: str, crop_px: int) -> None:
        self.network, self.optimizer, self.data = network, optimizer, data
        self.crop_px = crop_px
        self.autocast = torch.autocast(data.scale.device.type, torch.bfloat16, enabled=precision == "bf16")

    def __call__(self, choice: Tensor) -> Tensor:
        """Train on one batch.

        Args:
            choice: int64 (4, B), see `augment.draw_choices`, on the device.
        Returns:
            The loss before the update, a scalar tensor.
        """
        images = self.data.standardised(crop_and_flip(self.data.train.images, choice, self.crop_px))
        with self.autocast:
            # The loss in float32: under autocast the logits have the 8 bits of bf16.
            loss = cross_entropy(self.network(images).float(), self.data.train.labels[choice[0]])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def milestone_steps(recipe: RecipeConfig) -> tuple[int, ...]:
    """The steps from which the learning rate is a further tenth: 4000 and 4500 of 5000, in proportion for other lengths."""
    return tuple(round(share * recipe.train_steps) for share in recipe.milestones)


def learning_rate_at(recipe: RecipeConfig, step: int) -> float:
    """The learning rate of `step`, counted from 0."""
    passed = sum(step >= milestone for milestone in milestone_steps(recipe))
    return recipe.learning_rate / 10**passed


def make_optimizer(parameters: Iterable[Tensor], recipe: RecipeConfig, device: torch.device) -> torch.optim.SGD:
    """SGD with momentum and decay on all weights.

    The learning rate is a tensor on `device`, so that a captured step sees it change:
    write it with `set_learning_rate`.

    Source: Liu et al. 2018, section 4.1.
    """
    rate = torch.tensor(recipe.learning_rate, device=device)
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True)


def set_learning_rate(optimizer: torch.optim.SGD, rate: float) -> None:
    """Change the learning rate in place."""
    optimizer.param_groups[0]["lr"].fill_(rate)


def train(
    network: nn.Module,
    data: DeviceData,
    recipe: RecipeConfig,
    seed: int,
    progress: ProgressCallback,
    precision: str = "fp32",
    capture: Callable[[TrainingStep, Tensor], Callable[[Tensor], Tensor]] | None = None,
) -> float:
    """Train a network by the recipe and measure it.

    Args:
        network: on the device of `data`; its weights are changed.
        seed: of the order and the augmentation.
        progress: called with the share of the steps done.
        capture: turns the step into a faster callable, such as a CUDA graph, given a first choice.
    Returns:
        The share of validation images classified rightly.
    Raises:
        EvaluationFailed: the loss is not finite.
    """
    device = data.scale.device
    optimizer = make_optimizer(network.parameters(), recipe, device)
    plain = TrainingStep(network, optimizer, data, precision, recipe.crop)
    step: Callable[[Tensor], Tensor] | None = None if capture else plain
    network.train()
    done = 0
    image_px = int(data.train.images.shape[1])
    for epoch in draw_choices(len(data.train.labels), recipe.batch, recipe.train_steps, image_px, recipe.crop, seed):
        for choice in epoch.to(device):
            if step is None and capture is not None:
                step = capture(plain, choice)
            # Written only when it changes: every write is one more launch on a GPU.
            if done == 0 or learning_rate_at(recipe, done) != learning_rate_at(recipe, done - 1):
                set_learning_rate(optimizer, learning_rate_at(recipe, done))
            loss = (step or plain)(choice)
            done += 1
            if done % STEPS_BETWEEN_CHECKS == 0 or done == recipe.train_steps:
                _check_finite(loss.item(), done)
            progress(done / recipe.train_steps)  # at every step: a slow one must not keep the worker from a signal
    return evaluate(network, data, data.validation, plain.autocast, lambda: progress(1.0))


def evaluate(
    network: nn.Module,
    data: DeviceData,
    images: Images,
    autocast: torch.autocast,
    after_batch: Callable[[], None] = lambda: None,
) -> float:
    """The share of `images`, at full size, that the network classifies rightly; what `after_batch` raises goes through."""
    network.eval()
    size = EVALUATION_BATCH[data.scale.device.type]
    # Summed on the device: to read each batch's count would wait for it.
    right = torch.zeros((), dtype=torch.int64, device=data.scale.device)
    with torch.no_grad():
        for batch, labels in zip(images.images.split(size), images.labels.split(size), strict=True):
            with autocast:
                logits = network(data.standardised(batch))
            right += (logits.argmax(dim=1) == labels).sum()
            after_batch()
    return right.item() / len(images.labels)


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise EvaluationFailed(FailureKind.NOT_A_NUMBER, f"the training loss is {loss} after {step} steps")
