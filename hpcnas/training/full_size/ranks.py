"""Finds the rank of this process, and connects the ranks of one training.

srun sets SLURM_PROCID and SLURM_STEP_*, torchrun sets RANK, WORLD_SIZE and MASTER_*. Under srun no port is given
beforehand. So rank 0 takes a free one and writes it into a file of the output folder, which all ranks share.
A port computed from the job's id might be in use by another job.
"""

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcnas.errors import ClusterError, UsageError
from hpcnas.system.network import own_addresses

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class RankInfo:
    """The place of a process among the processes of one training.

    Attributes:
        rank: 0..world_size-1.
        local_rank, local_size: the same among the processes of this node.
        launcher: srun, torchrun or alone.
        key: names this start of the step; a requeued job has another one.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: str = "alone"
    key: str = ""


def find_rank(environment: Mapping[str, str] = os.environ) -> RankInfo:
    """Read the rank from what torchrun or srun set; a process started by neither is alone.

    SLURM_PROCID and SLURM_NTASKS are set in a batch script too, where one process runs: only SLURM_STEP_NUM_TASKS
    says that srun started this one.

    Raises:
        UsageError: variables that contradict each other or are no numbers.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        if "MASTER_ADDR" not in environment or "MASTER_PORT" not in environment:
            raise UsageError(
                "RANK and WORLD_SIZE are set but MASTER_ADDR and MASTER_PORT are not; start the ranks with torchrun or srun"
            )
        world = _number(environment, "WORLD_SIZE", 1)
        local_size = _number(environment, "LOCAL_WORLD_SIZE", world)
        return _checked(
            RankInfo(_number(environment, "RANK", 0), world, _number(environment, "LOCAL_RANK", 0), local_size, "torchrun")
        )
    if "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        return _checked(
            RankInfo(
                _number(environment, "SLURM_PROCID", 0),
                _number(environment, "SLURM_STEP_NUM_TASKS", 1),
                _number(environment, "SLURM_LOCALID", 0),
                _tasks_here(environment),
                "srun",
                ".".join(environment.get(name, "0") for name in names),
            )
        )
    return RankInfo()


def join_ranks(rank_info: RankInfo, folder: Path, timeout_s: float = 600.0) -> "Store":
    """A store that all ranks reach; returns when this rank is connected.

    Args:
        folder: on a disk that all ranks see; the address lies there until `forget_rendezvous`.
    Raises:
        ClusterError: rank 0 was not found in time.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    if rank_info.launcher == "torchrun":
        met: Store = next(iter(rendezvous("env://", rank=rank_info.rank, world_size=rank_info.world_size)))[0]
        return met
    file = _rendezvous_file(rank_info, folder)
    if rank_info.rank == 0:
        store = TCPStore("127.0.0.1", 0, rank_info.world_size, is_master=True, wait_for_workers=False)
        _write_address(file, store.port)
        return store
    return _join(rank_info, file, timeout_s)


def forget_rendezvous(rank_info: RankInfo, folder: Path) -> None:
    """Remove the address; for rank 0, once all ranks are connected."""
    if rank_info.launcher == "srun" and rank_info.rank == 0:
        _rendezvous_file(rank_info, folder).unlink(missing_ok=True)


def _rendezvous_file(rank_info: RankInfo, folder: Path) -> Path:
    return folder / f".meeting-{rank_info.key}.json"


def _write_address(file: Path, port: int) -> None:
    # Only the other nodes can find out which of these names and addresses they reach, so all are listed.
    name = socket.gethostname()
    hosts = list(dict.fromkeys([name, socket.getfqdn(), *own_addresses()]))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"hosts": hosts, "port": port}), encoding="utf-8")
    os.replace(partial, file)


def _join(rank_info: RankInfo, file: Path, timeout_s: float) -> "Store":
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        address = _read_address(file)
        host = next((host for host in address["hosts"] if _answers(host, address["port"])), None) if address else None
        if address and host:
            return TCPStore(host, address["port"], rank_info.world_size, is_master=False, timeout=timedelta(seconds=timeout_s))
        time.sleep(POLL_S)
    raise ClusterError(
        f"rank {rank_info.rank} found no rank 0 within {timeout_s:.0f} s through {file}; "
        "all ranks need one run folder on a shared disk and a network"
    )


def _read_address(file: Path) -> dict[str, Any] | None:
    try:
        # Listing first: an NFS client may cache for a minute that a name did not exist.
        if file.name not in os.listdir(file.parent):
            return None
        address = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return address if isinstance(address, dict) and {"hosts", "port"} <= address.keys() else None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def _tasks_here(environment: Mapping[str, str]) -> int:
    """This node's number of tasks from Slurm's run-length notation: 2(x3),1 means 2, 2, 2, 1."""
    counts: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")):
        counts += [int(tasks)] * int(times or 1)
    node = _number(environment, "SLURM_NODEID", 0)
    return counts[node] if node < len(counts) else _number(environment, "SLURM_STEP_NUM_TASKS", 1)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        raise UsageError(f"{name}={text} must be a whole number, as torchrun and srun set it")
    return int(text)


def _checked(rank_info: RankInfo) -> RankInfo:
    if rank_info.rank >= rank_info.world_size:
        raise UsageError(f"rank {rank_info.rank} does not exist among {rank_info.world_size} ranks; ranks count from 0")
    return rank_info
