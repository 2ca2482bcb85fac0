"""The network that a full-size training trains, alike on every rank, and by torch.compile if that is asked for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype
from hpcnas.training.full_size.batches import FullData
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.recipe import FullRecipe


def build_full_network(
    genotype: Genotype, recipe: FullRecipe, data: FullData, seed: int, group: Group, *, is_compiled: bool = False
) -> nn.Module:
    """Build the network on the device of `group`, channels_last, with weights drawn from `seed`.

    Args:
        is_compiled: it is built to be compiled by torch, which sees nothing in the flat list's own kernels.

    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
    """
    torch.manual_seed(seed)
    is_planned = not is_compiled and suits_planned(recipe, group.device, group.is_alone)
    build = build_planned_network if is_planned else build_network
    network: nn.Module = build(
        genotype,
        recipe.model,
        channels=recipe.channels,
        cells=recipe.cells,
        classes=data.classes,
        in_channels=data.in_channels,
        tail=recipe.tail,
    )
    if recipe.sync_bn:
        network = group.synchronise_bn(network)
    return network.to(group.device).to(memory_format=torch.channels_last)


def suits_planned(recipe: FullRecipe, device: torch.device, is_alone: bool) -> bool:
    """Whether the flat list of operations is right and faster than the reference's modules.

    It computes batch statistics itself, of its own rank only. On a GPU it brings nothing at ImageNet's sizes (measured: 304
    against 311 images/s) nor under DDP, docs/performance.md.
    """
    if recipe.sync_bn:
        return False
    return device.type == "cpu" or (is_alone and recipe.model != "imagenet")


def compiled(network: nn.Module, try_out: Callable[[Any], object], group: Group, log_line: Callable[[str], None]) -> Any:
    """The network compiled for the training steps, with one size of batch; if that fails on any rank, itself and one line.

    Args:
        network: not within DDP, and without collective operations: a rank that fails would leave the others waiting.
        try_out: a pass forward and backward through what it is given. torch compiles then, not before.
    """
    fast: Any = network
    reason = ""
    try:
        fast = torch.compile(network, dynamic=False)
        try_out(fast)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of dynamo, of inductor, or of the C++ or Triton compiler behind it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if group.least(int(not reason)):
        return fast
    if reason:
        log_line(f"--compile: the network is not compiled ({reason}); it is trained as it is")
    return network
