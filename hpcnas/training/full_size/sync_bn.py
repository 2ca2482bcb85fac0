"""Batch normalisation over the images of all ranks, on any device."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        """The sum; all ranks call it in the same order."""
        total = mine.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients: each rank's loss depends on every rank's tensor."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """torch's SyncBatchNorm for devices without NCCL: in training, mean and variance over the batches of all ranks.

    Every rank must give as many images as the others.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        wide = x.float()
        count = x.numel() / x.shape[1] * dist.get_world_size()
        # Two rounds, mean then variance: the difference of large squares would lose digits.
        mean = _SumOverRanks.apply(wide.sum(dim=(0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _SumOverRanks.apply((centred * centred).sum(dim=(0, 2, 3))) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        normalised: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return normalised.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None or self.momentum is None:
            return
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def synchronise_bn(network: nn.Module, nccl: dist.ProcessGroup | None) -> nn.Module:
    """The network with every BatchNorm2d replaced by one over all ranks: torch's own over NCCL, ours without.

    Names, weights and statistics stay.
    """
    if nccl is not None:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network, nccl)
        return converted
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d  # same attributes, another forward
    return network
