"""Finds the part of a rank's batch that fits its device at once."""

import torch
from torch import nn

from hpcnas.errors import UsageError
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.step import AUTOCAST, LEAST_MICRO_BATCH


def fitting_micro_batch(network: nn.Module, precision: str, group: Group, per_rank: int, in_channels: int, crop_px: int) -> int:
    """The largest part of a rank's batch that fits the device, the same on every rank; on a CPU all of it.

    Tried on the bare network: a rank that ran out of memory within DDP would leave the others waiting.

    Raises:
        UsageError: not even the smallest part fits.
    """
    if group.device.type == "cpu":
        return per_rank
    parts = [size for size in range(per_rank, 0, -1) if per_rank % size == 0 and size >= min(LEAST_MICRO_BATCH, per_rank)]
    while parts:
        fits = _fits(network, precision, group.device, (parts[0], in_channels, crop_px, crop_px))
        if group.least(int(fits)):
            return parts[0]
        # The next size is half of it or less: every try costs seconds.
        parts = [size for size in parts[1:] if size <= parts[0] // 2] or parts[len(parts) :]
    raise UsageError(
        f"the network does not fit {torch.cuda.get_device_name(group.device)}, not even with "
        f"{min(LEAST_MICRO_BATCH, per_rank)} images at a time; "
        "choose fewer --channels, another genotype, --precision bf16 or a larger GPU"
    )


def _fits(network: nn.Module, precision: str, device: torch.device, shape: tuple[int, int, int, int]) -> bool:
    kept = [buffer.clone() for buffer in network.buffers()]
    try:
        with torch.autocast(device.type, AUTOCAST.get(precision, torch.bfloat16), enabled=precision in AUTOCAST):
            logits = network.train()(torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last))
        logits.float().logsumexp(1).sum().backward()
        momentum = [torch.empty_like(parameter) for parameter in network.parameters()]  # room for what the first step adds
        torch.cuda.synchronize(device)
        del momentum
        fits = True
    except torch.OutOfMemoryError:
        fits = False
    for buffer, value in zip(network.buffers(), kept, strict=True):
        buffer.copy_(value)
    network.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    return fits
