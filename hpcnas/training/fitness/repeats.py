"""The plain engine: the repeats of a genotype one after the other, on a CPU or a GPU."""

import logging
import time
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from hpcnas.config import RecipeConfig
from hpcnas.errors import GenotypeError
from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.cpu.build import load_library
from hpcnas.networks.gpu.support import on_device
from hpcnas.networks.plan import PlannedNetwork
from hpcnas.records import FailureKind, Fitness
from hpcnas.representation.genotype import Genotype
from hpcnas.training.data.datasets import Dataset
from hpcnas.training.fitness.cuda_graph import capture_step, is_wanted
from hpcnas.training.fitness.evaluator import EvaluationFailed, ProgressCallback, share_of
from hpcnas.training.fitness.loop import DeviceData, train

log = logging.getLogger(__name__)

# The CPU's allocator has no exception of its own, nor have Triton, cuBLAS, and CUDA itself, where it makes a graph.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class RepeatsEngine:
    """The evaluator that trains one repeat after the other.

    Initial weights, order and augmentation of a repeat come from its seed alone. So it is the
    same repeat wherever and whenever it is trained.
    """

    at_once = 1

    def __init__(self, recipe: RecipeConfig, data: Dataset, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.skeleton = blueprint(
            "small", channels=recipe.channels, cells=recipe.cells, classes=data.classes, in_channels=data.in_channels
        )
        self.data = DeviceData.of(data, device)
        self.precision = choose_precision(recipe.precision, device)
        if device.type == "cpu":
            load_library()  # compiling takes a minute: not while a genotype is held
        self._is_logged = False

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: ProgressCallback) -> Iterator[Fitness]:
        """Train the repeats one by one, see `Evaluator.evaluate`."""
        for done, (repeat, seed) in enumerate(seeds.items()):
            start = time.perf_counter()
            accuracy = self._train_one(genotype, seed, share_of(progress, done, len(seeds)))
            seconds = time.perf_counter() - start
            yield Fitness(repeat, accuracy, seed, self.recipe.train_steps, seconds, device_label(self.device))

    def _train_one(self, genotype: Genotype, seed: int, progress: ProgressCallback) -> float:
        try:
            network = self._build(genotype, seed)
            capture = capture_step if self.device.type == "cuda" and is_wanted() else None
            # A capture records the current device: of a network on another one it would be an empty graph.
            with on_device(self.device):
                return train(network, self.data, self.recipe, seed, progress, self.precision, capture)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise out_of_memory(error) from error
            raise

    def _build(self, genotype: Genotype, seed: int) -> nn.Module:
        try:
            # Drawn on the CPU whatever the device, so that a repeat begins with the same weights everywhere.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                network = PlannedNetwork(genotype, self.skeleton)
            if network.has_own and not self._is_logged:
                self._is_logged = True
                log.warning(
                    "networks with primitives of your own run by torch's operators: there are no compiled kernels for them"
                )
            # On a CPU the reference's step of the paper's cell takes half the time then (docs/performance.md).
            return network.to(self.device).to(memory_format=torch.channels_last)
        except (GenotypeError, RecursionError) as error:
            raise EvaluationFailed(FailureKind.BUILD, f"the network cannot be built: {error}") from error


def choose_precision(precision: str, device: torch.device) -> str:
    """fp32 or bf16 for `--precision`; auto is bf16 on GPUs that compute in it, as on CPUs it does not pay."""
    if precision == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return precision


def device_label(device: torch.device) -> str:
    """The GPU's name, or the number of threads on a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu x {torch.get_num_threads()}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(said in str(error) for said in _OUT_OF_MEMORY)


def out_of_memory(error: BaseException) -> EvaluationFailed:
    """The finding that a genotype's network does not fit."""
    line = (str(error) or "no memory left").splitlines()[0]
    return EvaluationFailed(FailureKind.OUT_OF_MEMORY, f"the network does not fit into memory: {line}")
