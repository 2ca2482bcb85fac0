"""The whole training step as one CUDA graph: one launch instead of hundreds (docs/performance.md)."""

import copy
import logging
import os
from collections.abc import Callable

import torch
from torch import Tensor

from hpcnas.training.fitness.loop import TrainingStep

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3  # cuDNN chooses its algorithms and torch allocates before a capture


def is_wanted() -> bool:
    """Whether steps are to be captured; $HPCNAS_CUDA_GRAPH=0 switches it off."""
    return os.environ.get("HPCNAS_CUDA_GRAPH") != "0"


def capture_step(step: TrainingStep, choice: Tensor) -> Callable[[Tensor], Tensor]:
    """Capture `step`, or, where that fails, say so in one log line and give it back as it is.

    Weights, statistics and momentum are afterwards what they were before.

    Args:
        choice: int64 (4, B), a first batch, on the device.
    """
    network, optimizer = step.network, step.optimizer
    before = copy.deepcopy(network.state_dict())
    try:
        return _captured(step, choice)
    # A finding about the genotype, and none about the capture: the plain step needs that memory, too.
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        log.warning(
            "the training step is not captured in a CUDA graph (%s): it runs operator by operator", str(error).splitlines()[0]
        )
        return step
    finally:
        # The warm-up has trained. Everything is put back in place, as the graph has the addresses of these tensors.
        network.load_state_dict(before)
        for state in optimizer.state.values():
            if "momentum_buffer" in state:  # not where memory ran out in the first step
                state["momentum_buffer"].zero_()


def _captured(step: TrainingStep, choice: Tensor) -> Callable[[Tensor], Tensor]:
    static = choice.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    # torch asks for a warm-up on another stream than the default one.
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_STEPS):
            step(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # A stream is said, as torch's own for all captures lies on the device of the first.
    # The outer one: a capture that fails may leave its own stream behind.
    with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, stream=stream):
        loss = step(static)

    def replay(choice: Tensor) -> Tensor:
        # A graph reads from the addresses of its capture, whatever it is called with.
        static.copy_(choice)
        graph.replay()
        return loss

    return replay
