"""The training step that is measured: its variants, its time, its traffic and its memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from hpcnas.config import RecipeConfig
from hpcnas.networks.plan import PlannedNetwork, build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype
from hpcnas.training.fitness.loop import make_optimizer


@dataclass(frozen=True, slots=True)
class StepVariant:
    """One way to run the step.

    Attributes:
        build: gives the network, on the CPU.
        channels_last: memory format of images and weights.
        precision: fp32 or bf16.
        graph: whether the step is one CUDA graph.
    """

    name: str
    build: Callable[..., nn.Module]
    channels_last: bool = True
    precision: str = "fp32"
    graph: bool = False


REFERENCE = StepVariant("reference", build_network, channels_last=False)
PLAN = StepVariant("plan", build_planned_network)
LEVERS = {
    "cpu": (REFERENCE, PLAN),
    "cuda": (
        REFERENCE,
        StepVariant("channels_last", build_network),
        PLAN,
        StepVariant("plan, bf16", build_planned_network, precision="bf16"),
        StepVariant("plan, bf16, graph", build_planned_network, precision="bf16", graph=True),
    ),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings of all variants.

    Attributes:
        model: small, cifar or imagenet.
        channels: c0; None takes the model's.
        shape: of the batch, (B, 3, H, W).
    """

    device: torch.device
    model: str
    channels: int | None
    shape: tuple[int, int, int, int]


class Step:
    """One variant with its network, weights and batch, ready to be timed.

    Attributes:
        assembly_s: seconds from the genotype to the first step: building, and capturing the graph if asked.
    """

    def __init__(self, variant: StepVariant, genotype: Genotype, setting: Setting) -> None:
        start = time.perf_counter()
        torch.manual_seed(0)
        device = setting.device
        self.device, self.autocast = device, torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bf16")
        memory_format = torch.channels_last if variant.channels_last else torch.contiguous_format
        network = variant.build(genotype, setting.model, channels=setting.channels)
        self.network = network.to(device).to(memory_format=memory_format)
        self.optimizer = make_optimizer(self.network.parameters(), RecipeConfig(learning_rate=1e-3), device)
        self.assembly_s = time.perf_counter() - start
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(setting.shape, generator=generator).to(device, memory_format=memory_format)
        self.labels = torch.randint(0, 10, (setting.shape[0],), generator=generator).to(device)
        # One step before any is timed: libraries choose their algorithms then, and memory is allocated.
        self.graph: torch.cuda.CUDAGraph | None = None
        self._train()
        if variant.graph:
            start = time.perf_counter()
            self._capture()
            self.assembly_s += time.perf_counter() - start

    def seconds(self) -> tuple[float, float]:
        """Run one step and wait for it: seconds on the clock, and of CPU time over all threads."""
        start, cpu = time.perf_counter(), time.process_time()
        self.graph.replay() if self.graph else self._train()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, time.process_time() - cpu

    def traffic(self) -> tuple[int, int]:
        """Counts the operators that one step calls, and the bytes of the tensors that they read and write."""
        with _Traffic() as traffic:
            self._train()
        return traffic.calls, traffic.bytes

    def kept_bytes(self) -> int:
        """Memory that one step on a CPU keeps from its forward to its backward pass, beside weights."""
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            # By storage: several views of one tensor are kept once.
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self._train()
        for parameter in self.network.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        own = self.network.memory_bytes if isinstance(self.network, PlannedNetwork) else 0
        return sum(kept.values()) + own

    def _train(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            loss = cross_entropy(self.network(self.images).float(), self.labels)
        loss.backward()
        self.optimizer.step()

    def _capture(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # As often as in training.fitness.cuda_graph: cuDNN chooses its algorithms, and torch allocates, before a capture.
            for _ in range(3):
                self._train()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self._train()


def make_step(variant: StepVariant, genotype: Genotype, setting: Setting) -> tuple[Step, int]:
    """A step ready to be timed, and the bytes that it needs: on a GPU their peak, on a CPU see `Step.kept_bytes`."""
    if setting.device.type != "cuda":
        step = Step(variant, genotype, setting)
        return step, step.kept_bytes()
    torch.cuda.reset_peak_memory_stats()
    # The other variants' steps are on the device, too, as their rounds take turns.
    held = torch.cuda.memory_allocated()
    return Step(variant, genotype, setting), torch.cuda.max_memory_allocated() - held


class _Traffic(TorchDispatchMode):
    """Counts operators that compute, and the bytes of their tensors; the compiled kernels count as the one call they are."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # A view computes nothing and moves nothing.
        if not getattr(func, "is_view", False):
            self.calls += 1
            self.bytes += sum(t.numel() * t.element_size() for t in _tensors((args, result)))
        return result


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [t for part in tree for t in _tensors(part)] if isinstance(tree, (tuple, list)) else []
