"""Which network a full-size training trains."""

from dataclasses import replace

import pytest
import torch

from hpcnas.training.full_size.network import suits_planned
from hpcnas.training.full_size.recipe import PAPER, FullRecipe

CIFAR = FullRecipe()
IMAGENET = PAPER["imagenet"]


@pytest.mark.parametrize(
    ("recipe", "device", "is_alone", "is_planned"),
    [
        (CIFAR, "cpu", False, True),
        (IMAGENET, "cpu", True, True),
        (CIFAR, "cuda", True, True),
        (CIFAR, "cuda", False, False),
        (IMAGENET, "cuda", True, False),
        (replace(CIFAR, sync_bn=True), "cpu", True, False),
    ],
)
def test_the_flat_list_runs_only_where_it_brings_something(recipe, device, is_alone, is_planned):
    assert suits_planned(recipe, torch.device(device), is_alone) is is_planned
