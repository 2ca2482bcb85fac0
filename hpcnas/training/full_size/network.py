"""The network that a full-size training trains, alike on every rank."""

import torch
from torch import Tensor, nn

from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype
from hpcnas.training.full_size.batches import FullData
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.recipe import FullRecipe


def build_full_network(genotype: Genotype, recipe: FullRecipe, data: FullData, seed: int, group: Group) -> nn.Module:
    """Build the network on the device of `group`, channels_last, with weights drawn from `seed`.

    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
    """
    torch.manual_seed(seed)
    # The planned network computes batch statistics itself, of its own rank only.
    build = build_network if recipe.sync_bn else build_planned_network
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


def reference_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights and BN statistics under the names and in the shapes of the reference network, which other programs read.

    The planned network has them already.
    """
    return dict(network.state_dict())
