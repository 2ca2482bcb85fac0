"""Initial weights that are the same on every kind of CPU, for comparisons of one training with another."""

import torch
from torch import nn


def draw_weights(network: nn.Module, seed: int) -> None:
    """Replace the weights by He-normal ones: PyTorch draws in float32 differ from CPU to CPU, in float64 they do not."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.dim() > 1:
                drawn = torch.empty(weight.shape, dtype=torch.float64)
                weight.copy_(nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator))
