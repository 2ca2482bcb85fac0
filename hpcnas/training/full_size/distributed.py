"""Exchanges flags, checks, sums and gradients between the ranks of one full-size training.

Everything but gradients goes over gloo on the CPU, so a signal or an error is agreed upon without a GPU. A dead rank
is noticed at the next step, because its connections close; NCCL would wait for its time-out.
"""

import contextlib
import inspect
import json
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hpcnas.errors import HpcnasError, TrainingDiverged
from hpcnas.training.full_size.rank_device import choose_rank_device, refuse_shared_gpus
from hpcnas.training.full_size.ranks import RankInfo, forget_rendezvous, join_ranks
from hpcnas.training.full_size.sync_bn import synchronise_bn

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)
MAX_NOTE_BYTES = 4096


class StoppedElsewhere(HpcnasError):
    """Another rank found the error and says it; this one leaves with the same exit code, in silence."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DivergedElsewhere(StoppedElsewhere, TrainingDiverged):
    """Another rank found that the training diverged, so that all ranks may go on with the next one."""


class RankLost(HpcnasError):
    """Another rank of the training died or cannot be reached."""


class Group:
    """All ranks of one training, seen from one of them. A group of one needs no process group.

    Attributes:
        rank_info: this process among them.
        device: where this rank computes.
    """

    def __init__(self, rank_info: RankInfo) -> None:
        self.rank_info = rank_info
        self.device = torch.device("cpu")
        self.step = 0  # named when a rank is lost
        self._gradients: dist.ProcessGroup | None = None  # over NCCL on GPUs

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and the log."""
        return self.rank_info.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other rank."""
        return self.rank_info.world_size == 1

    def connect(self, folder: Path) -> None:
        """Meet the other ranks; `folder` is on a disk that all of them see."""
        if self.is_alone:
            return
        store = join_ranks(self.rank_info, folder)
        rank, world_size = self.rank_info.rank, self.rank_info.world_size
        with self.watched():
            dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=TIMEOUT)
        self.gather("")
        forget_rendezvous(self.rank_info, folder)

    def use(self, device: str) -> None:
        """Choose this rank's device.

        Args:
            device: auto, cpu or cuda.
        Raises:
            UsageError: fewer GPUs than ranks, or two ranks on one GPU.
        """
        self.device = self.together(lambda: choose_rank_device(self.rank_info, device))
        if self.device.type == "cuda" and not self.is_alone:
            uuid = str(torch.cuda.get_device_properties(self.device).uuid)
            names = self.gather(f"{socket.gethostname()} {uuid}")
            self.together(lambda: refuse_shared_gpus(names))
            gradients = dist.new_group(backend="nccl", timeout=TIMEOUT)
            self._gradients = gradients if isinstance(gradients, dist.ProcessGroup) else None

    def close(self) -> None:
        """Leave the process group."""
        if not self.is_alone and dist.is_initialized():
            dist.destroy_process_group()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Turn a broken connection into a RankLost that says where the training stood."""
        try:
            yield
        except RuntimeError as error:
            if self.is_alone or not _is_connection_loss(error):
                raise
            raise RankLost(
                f"rank {self.rank_info.rank} of {self.rank_info.world_size} on {socket.gethostname()} lost another rank "
                f"at step {self.step}; look for the first error in the job's log; "
                "the same command goes on from the last checkpoint"
            ) from error

    def greatest(self, value: int) -> int:
        """The greatest value that any rank gave."""
        return self._reduced(value, dist.ReduceOp.MAX)

    def least(self, value: int) -> int:
        """The least value that any rank gave."""
        return self._reduced(value, dist.ReduceOp.MIN)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the ranks of tensors of one shape: that shape, on the CPU.

        Raises:
            RankLost: another rank died; so with every word that ranks exchange.
        """
        values = values.cpu()
        if not self.is_alone:
            with self.watched():
                dist.all_reduce(values)
        return values

    def share(self, text: str) -> str:
        """The text of rank 0; the others' is ignored."""
        size = self.greatest(len(text.encode()) if self.is_first else 0)
        content = torch.tensor(list(text.encode()) if self.is_first else [0] * size, dtype=torch.uint8)
        if not self.is_alone:
            with self.watched():
                dist.broadcast(content, 0)
        return bytes(content.tolist()).decode()

    def gather(self, note: str) -> list[str]:
        """The notes of all ranks, in rank order; notes are cut at 4 KB."""
        content = note.encode()[:MAX_NOTE_BYTES]
        mine = torch.zeros(MAX_NOTE_BYTES, dtype=torch.uint8)
        mine[: len(content)] = torch.tensor(list(content), dtype=torch.uint8)
        return [bytes(row.tolist()).rstrip(b"\0").decode(errors="replace") for row in self.gather_tensor(mine)]

    def gather_tensor(self, mine: Tensor) -> list[Tensor]:
        """The tensors of all ranks, in rank order; all of one shape and type, on the CPU."""
        if self.is_alone:
            return [mine]
        everyone = [torch.empty_like(mine) for _ in range(self.rank_info.world_size)]
        with self.watched():
            dist.all_gather(everyone, mine)
        return everyone

    def together(self, work: Callable[[], T]) -> T:
        """Do `work` on every rank; if it fails on one, every rank stops, and one of them says why.

        Raises:
            HpcnasError: what failed, on the first rank on which it did.
            StoppedElsewhere: on all others; DivergedElsewhere, if it is a TrainingDiverged.
        """
        value, failure = None, None
        try:
            value = work()
        except HpcnasError as error:
            failure = error
        notes = self.gather(_note(failure) if failure else "")
        first = next((rank for rank, note in enumerate(notes) if note), None)
        if failure is not None and first == self.rank_info.rank:
            raise failure
        if first is not None:
            exit_code, has_diverged, message = json.loads(notes[first])
            raise (DivergedElsewhere if has_diverged else StoppedElsewhere)(f"rank {first}: {message}", exit_code)
        return value  # type: ignore[return-value]

    def first_only(self, work: Callable[[], object]) -> None:
        """Do `work` on rank 0 while the others wait; its HpcnasError stops all of them."""
        self.together(lambda: work() if self.is_first else None)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over the ranks, weights as rank 0 has them; unchanged in a group of one."""
        return network if self.is_alone else distributed_network(network, self.device, self._gradients)

    def synchronise_bn(self, network: nn.Module) -> nn.Module:
        """The network with batch statistics over all ranks; unchanged in a group of one."""
        return network if self.is_alone else synchronise_bn(network, self._gradients)

    def share_buffers(self, network: nn.Module) -> None:
        """Give every rank the BN statistics of rank 0, with which the network is evaluated and saved."""
        if not self.is_alone:
            with self.watched():
                for buffer in network.buffers():
                    dist.broadcast(buffer, 0, group=self._gradients)

    def _reduced(self, value: int, operation: dist.ReduceOp.RedOpType) -> int:
        if self.is_alone:
            return value
        tensor = torch.tensor(value, dtype=torch.int64)
        with self.watched():
            dist.all_reduce(tensor, op=operation)
        return int(tensor)


def distributed_network(
    network: nn.Module, device: torch.device, group: dist.ProcessGroup | None = None
) -> DistributedDataParallel:
    """DDP as this project uses it: gradients live in the buckets, the graph is the same in every step.

    BN statistics stay each rank's own during training; those of rank 0 count. The first backward pass records the graph
    and the next forward pass arranges the buckets anew: warm up once before the first step, or a resumed training would add
    up in another order than an undisturbed one.
    """
    # torch 2.15 renamed the option and warns of the old name.
    parameters = inspect.signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    return DistributedDataParallel(
        network,
        device_ids=[device.index] if device.type == "cuda" else None,
        process_group=group,
        gradient_as_bucket_view=True,
        static_graph=True,
        **{buffers: False},  # type: ignore[arg-type]
    )


def _is_connection_loss(error: RuntimeError) -> bool:
    text = str(error).lower()
    signs = ("connection", "timed out", "timeout", "nccl", "gloo", "peer", "broken pipe", "store", "process group", "aborted")
    if isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, dist.DistError) or any(sign in text for sign in signs)


def _note(failure: HpcnasError) -> str:
    return json.dumps([failure.exit_code, isinstance(failure, TrainingDiverged), str(failure)[:1000]])
