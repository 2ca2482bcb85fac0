"""The network that a full-size training trains, alike on every rank."""

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
