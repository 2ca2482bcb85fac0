"""Steps of R networks: choices and rates of all steps lie on the device, and on a GPU a step is one graph."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from hpcnas.networks.gpu.kernels.optimiser import begin_step
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.layout import Layout

log = logging.getLogger(__name__)

CHOICES_BLOCK = 1024


class Steps:
    """A training, step by step; a step needs nothing from the host.

    Args:
        choices: int (steps, R, 4, B), see `hpcnas.training.data.augment`.
        rates: learning rate of each step.
    """

    def __init__(self, layout: Layout, choices: Tensor, rates: Sequence[float]) -> None:
        self.layout = layout
        device, size = layout.weights.device, layout.choice.numel()
        self.choices = choices.to(torch.int32).contiguous().to(device)
        self.rates = torch.tensor([*rates, 0.0]).to(device)  # warming up counts a step more
        shared = layout.shared | {"choices": self.choices, "rates": self.rates, "size": size}
        begin = Launch("begin", begin_step, (1, -(-size // CHOICES_BLOCK)), 0, {"BLOCK": CHOICES_BLOCK})
        begin.bind(shared, 1)
        self.launches = [begin, *layout.launches]
        self._graph: torch.cuda.CUDAGraph | None = None

    def refill(self, choices: Tensor, rates: Sequence[float]) -> None:
        """Put other steps in the place of the first ones, and begin with them."""
        self.choices[: len(choices)].copy_(choices)
        self.rates[: len(rates)].copy_(torch.tensor(rates))
        self.layout.step.zero_()

    def run(self) -> None:
        """Run the next step, or send it to the device."""
        if self._graph is not None:
            self._graph.replay()
            return
        for launch in self.launches:
            launch()

    def capture(self) -> None:
        """Make one graph of a step; if that fails, say so in one log line, and steps run launch by launch.

        Weights, momenta, statistics and the counter are afterwards what they were before.
        """
        kept = [*self.layout.weights.tensors().values(), self.layout.step]
        before = [tensor.clone() for tensor in kept]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.run()  # loads every kernel: that is not allowed in a capture
        torch.cuda.current_stream().wait_stream(stream)
        try:
            self._graph = self._captured(stream)
        except RuntimeError as error:
            if "out of memory" in str(error):
                raise
            log.warning("a step is not captured in a CUDA graph (%s): it runs launch by launch", str(error).splitlines()[0])
        for tensor, old in zip(kept, before, strict=True):
            tensor.copy_(old)

    def _captured(self, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # A stream is said, as torch's own for all captures lies on the device of the first.
        # The outer one: a capture that fails may leave its own stream behind.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, stream=stream):
            self.run()
        return graph
