"""Chooses the GPU, or the CPU, that a rank of a full-size training computes on."""

import socket
from collections.abc import Sequence

import torch

from hpcnas.errors import ClusterError, UsageError, check_one_of
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.visible_gpu import explain_missing_gpu


def choose_rank_device(rank_info: RankInfo, wanted: str) -> torch.device:
    """The device of this rank; a GPU becomes the current one of torch.

    Args:
        wanted: auto, cpu or cuda; auto takes GPUs if there are any, the CPU only where none was given to this process.
    Raises:
        UsageError: an unknown word, no GPU, or fewer GPUs on this node than ranks.
        ClusterError: a GPU was given, and torch does not see it.
    """
    check_one_of("--device", wanted, ("auto", "cpu", "cuda"))
    count = torch.cuda.device_count() if wanted != "cpu" else 0
    missing = explain_missing_gpu() if wanted != "cpu" else None
    if missing:
        raise ClusterError(missing)
    if wanted == "cpu" or (wanted == "auto" and count == 0):
        return torch.device("cpu")
    if count == 0:
        raise UsageError(
            f"--device cuda: {socket.gethostname()} shows no GPU to this process; ask Slurm for some (--gpus-per-node) "
            "or give --device cpu"
        )
    if count == 1:
        index = 0  # each rank sees its own GPU only, which `Group.use` checks
    elif count < rank_info.local_size:
        raise UsageError(
            f"{socket.gethostname()} has {count} GPUs for {rank_info.local_size} ranks; start at most {count} ranks on a "
            f"node (--ntasks-per-node={count})"
        )
    else:
        index = rank_info.local_rank
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def refuse_shared_gpus(names: Sequence[str]) -> None:
    """Check that no two ranks compute on one GPU.

    Args:
        names: "HOST UUID" of each rank's GPU, in rank order.
    Raises:
        UsageError: two are the same.
    """
    for rank, name in enumerate(names):
        first = names.index(name)
        if first != rank:
            host = name.split(" ")[0]
            raise UsageError(
                f"ranks {first} and {rank} share one GPU of {host}; give every rank its own GPU "
                "(--gpus-per-node equal to --ntasks-per-node)"
            )
