"""torch.compile of a full-size network, for its training steps alone; evaluation and checkpoints see the network itself."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hpcnas.training.full_size.distributed import Group


def compiled(network: nn.Module, try_out: Callable[[Any], object], group: Group, log_line: Callable[[str], None]) -> Any:
    """The network compiled for one size of batch, or, where that fails on any rank, the network itself and one line.

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
