"""The step of a full-size training, and everything that a checkpoint must hold to go on with the next one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from hpcnas.errors import HpcnasError, UsageError
from hpcnas.training.full_size.batches import Batch
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.network import compiled
from hpcnas.training.full_size.recipe import FullRecipe

LEAST_MICRO_BATCH = 8  # BN statistics of fewer images would be another recipe
WARM_UP_PASSES = 3
WARM_UP_IMAGES = 2  # layouts and buckets do not depend on how many
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(wanted: str, device: torch.device) -> str:
    """fp32, bf16 or fp16: auto takes bf16 on a GPU, fp16 where the GPU has no bf16, fp32 on a CPU.

    Raises:
        UsageError: fp16 on a CPU.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; choose fp32 or bf16 on a CPU")
    if wanted != "auto":
        return wanted
    if device.type == "cpu":
        return "fp32"
    # Without emulation: cards before Ampere would run bf16 slower than fp32.
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class FullTraining:
    """A network on its way: weights, momentum, scaler, and how one step changes them.

    Args:
        network: on the device of `group`, in channels_last; weights alike on every rank.
        precision: fp32, bf16 or fp16, see `resolve_precision`.
        micro_batch: images that go through the network at once; a rank's share of a batch is a multiple of it.

    Attributes:
        pieces: micro-batches of one step on this rank.
        autocast: the context in which the network runs.
    """

    def __init__(self, network: nn.Module, recipe: FullRecipe, group: Group, precision: str, micro_batch: int) -> None:
        self.network, self.recipe, self.group = network, recipe, group
        self.micro_batch = micro_batch
        torch.backends.cudnn.benchmark = True  # every step has the same shapes
        self.pieces = recipe.batch_per_rank(group.rank_info.world_size) // micro_batch
        self._parallel: Any = network
        self._optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # A scaler only where gradients could underflow: bf16 has the range of fp32.
        self._scaler = torch.amp.GradScaler(group.device.type, enabled=precision == "fp16")
        self.autocast = torch.autocast(
            group.device.type, AUTOCAST.get(precision, torch.bfloat16), enabled=precision in AUTOCAST, cache_enabled=True
        )

    def warm_up(self, in_channels: int, say_not_compiled: Callable[[str], None] | None = None) -> None:
        """Passes that change nothing: kernels are chosen, weights laid out like their gradients, DDP's buckets arranged.

        Without it a resumed training would add the gradients of its first step in another order.

        Args:
            say_not_compiled: None: steps run the network as it is. Else it is compiled, and this gets a line if that fails.
        """
        count = WARM_UP_IMAGES if say_not_compiled is None else self.micro_batch  # compiled for one size
        images = torch.zeros(count, in_channels, self.recipe.crop, self.recipe.crop, device=self.group.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(count, dtype=torch.int64, device=self.group.device)
        kept = [buffer.clone() for buffer in self.network.buffers()]
        self.network.train()
        self._backward(images, labels)
        lay_out_like_gradients(self.network)
        if say_not_compiled is None:
            self.parallelise(self.group.parallel(self.network))
        else:
            fast = compiled(self.network, lambda network: self._try_out(network, images, labels), self.group, say_not_compiled)
            self.parallelise(self.group.parallel(fast))
        # DDP records the graph in the first pass and the order of the gradients in the second; the third begins by arranging
        # the buckets anew. From four ranks on, sums in other buckets are other sums.
        for _ in range(WARM_UP_PASSES):
            self._optimizer.zero_grad()
            self._backward(images, labels)
        for buffer, value in zip(self.network.buffers(), kept, strict=True):
            buffer.copy_(value)
        self._optimizer.zero_grad()

    def parallelise(self, network: nn.Module) -> None:
        """Run steps through `network`, which is the network itself or DDP around it."""
        self._parallel = network

    def _try_out(self, network: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.parallelise(network)
        self._backward(images, labels)

    def step(self, step: int, batches: Sequence[Batch]) -> Tensor:
        """Train on the `pieces` batches of one step.

        Args:
            step: counted from 0; it gives the learning rate.
            batches: images (B, channels, H, W) with labels (B,), on the device.
        Returns:
            This rank's mean loss before the update, a scalar on the device.
        Raises:
            HpcnasError: the device is out of memory.
        """
        for settings in self._optimizer.param_groups:
            settings["lr"] = self.recipe.learning_rate_at(step)
        try:
            loss = self.accumulate(batches)
        except torch.OutOfMemoryError as error:
            raise HpcnasError(
                f"step {step} ran out of the memory of {torch.cuda.get_device_name(self.group.device)}; is another "
                "process on that "
                "GPU? Else choose more ranks, fewer --channels or --precision bf16"
            ) from error
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss

    def accumulate(self, batches: Sequence[Batch]) -> Tensor:
        """Leave the gradients of one step in the weights, averaged over all ranks and their batches.

        Returns:
            This rank's mean loss, a scalar on the device.
        """
        self._optimizer.zero_grad()
        losses = []
        for piece, batch in enumerate(batches, start=1):
            # Gradients travel once a step, with the last piece.
            is_partial = isinstance(self._parallel, DistributedDataParallel) and piece < len(batches)
            with self._parallel.no_sync() if is_partial else nullcontext():
                losses.append(self._backward(*batch))
        return torch.stack(losses).sum()

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        with self.autocast:
            logits = self._parallel(images)
        loss = cross_entropy(logits.float(), labels) / self.pieces
        with self.group.watched():
            self._scaler.scale(loss).backward()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Weights, BN statistics, momentum, scaler, and the generators of every rank, on the CPU; all ranks call it."""
        generators = [torch.get_rng_state()]
        if self.group.device.type == "cuda":
            generators.append(torch.cuda.get_rng_state(self.group.device))
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "generators": [self.group.gather_tensor(generator) for generator in generators],
            "micro_batch": self.micro_batch,
        }

    def momenta(self) -> dict[str, Tensor]:
        """Of all weights by name; zeros before the first step."""
        state = self._optimizer.state
        named = self.network.named_parameters()
        return {name: state[weight].get("momentum_buffer", torch.zeros_like(weight)) for name, weight in named}

    def put_momenta(self, momenta: Mapping[str, Tensor]) -> None:
        """Take momenta by the names of the weights, in their shapes and on their device."""
        for name, weight in self.network.named_parameters():
            self._optimizer.state[weight]["momentum_buffer"] = momenta[name]

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave, after `warm_up`; generators only if there are as many ranks as then.

        Raises:
            UsageError: it is of another network.
        """
        try:
            self.network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            self._lay_out_momentum()
        except (KeyError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"the checkpoint is of another network: {(str(error).splitlines() or [''])[0]}; move it away to start anew"
            ) from error
        rank_info = self.group.rank_info
        if all(len(everyone) == rank_info.world_size for everyone in state["generators"]):
            mine = [everyone[rank_info.rank] for everyone in state["generators"]]
            torch.set_rng_state(mine[0])
            if len(mine) > 1 and self.group.device.type == "cuda":
                torch.cuda.set_rng_state(mine[1], self.group.device)

    def _lay_out_momentum(self) -> None:
        # The fused optimiser takes weights and momentum of one layout only; the file may come from another machine.
        for parameter, state in self._optimizer.state.items():
            momentum = state.get("momentum_buffer")
            if momentum is not None and momentum.stride() != parameter.stride():
                state["momentum_buffer"] = _strided_as(momentum, parameter.stride())


def _strided_as(value: Tensor, strides: Sequence[int]) -> Tensor:
    return torch.empty_strided(value.shape, strides, dtype=value.dtype, device=value.device).copy_(value)


def lay_out_like_gradients(network: nn.Module) -> None:
    """Give every weight the strides that its gradient has just come with.

    Weights of 1x1 and depthwise convolutions are contiguous in both layouts at once, and torch gives them other strides than
    their gradients: DDP would copy each of them in every step, and warn of it.
    """
    for parameter in network.parameters():
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            parameter.data = _strided_as(parameter.data, parameter.grad.stride())
    network.zero_grad(set_to_none=True)
