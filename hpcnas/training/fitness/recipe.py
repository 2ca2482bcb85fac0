"""The schedule and optimiser of the small model (paper section 4.1)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from hpcnas.config import RecipeConfig


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
