"""Ranks: who they are, how they join_ranks, that together they compute what one process would."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from hpcnas.errors import ClusterError, HpcnasError, UsageError
from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.training.full_size import ranks
from hpcnas.training.full_size.distributed import Group, RankLost, StoppedElsewhere
from hpcnas.training.full_size.rank_device import choose_rank_device, refuse_shared_gpus
from hpcnas.training.full_size.ranks import RankInfo, find_rank, join_ranks
from hpcnas.training.full_size.recipe import full_recipe
from hpcnas.training.full_size.step import FullTraining
from tests.training.full_size.material import SMALL, run_ranks

BATCH, CLASSES = 8, 4
SRUN = {"SLURM_STEP_NUM_TASKS": "6", "SLURM_PROCID": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "2", "SLURM_JOB_ID": "77"}


def test_process_without_a_launcher_is_alone() -> None:
    assert find_rank({}) == RankInfo()
    batch_script = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "16"}
    assert find_rank(batch_script).world_size == 1


def test_rank_from_srun() -> None:
    """Slurm's run-length notation gives the tasks of this node; a requeued job meets under another key."""
    environment = {**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2(x2),1(x2)", "SLURM_STEP_ID": "0"}
    rank_info = find_rank(environment)
    assert (rank_info.rank, rank_info.world_size, rank_info.local_rank, rank_info.local_size, rank_info.launcher) == (
        4,
        6,
        0,
        1,
        "srun",
    )
    assert find_rank({**environment, "SLURM_RESTART_COUNT": "1"}).key != rank_info.key
    assert find_rank({**environment, "SLURM_NODEID": "1"}).local_size == 2


def test_rank_from_torchrun() -> None:
    names = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert find_rank(names) == RankInfo(3, 4, 1, 2, "torchrun")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "start the ranks with torchrun or srun"),
        ({"RANK": "two", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK=two must be a whole number"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "rank 2 does not exist among 2"),
    ],
)
def test_contradicting_variables_are_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_rank(environment)


def test_stale_address_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address at which nobody listens, half an address, or none: the rank looks again until its time is over."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank_info = RankInfo(1, 2, 1, 2, "srun", "k")
    monkeypatch.setattr(ranks, "POLL_S", 0.01)
    for content in (None, "{", "[]", json.dumps({"hosts": ["127.0.0.1"], "port": port})):
        if content is not None:
            (tmp_path / ".meeting-k.json").write_text(content)
        with pytest.raises(ClusterError, match="rank 1 found no rank 0 within 0 s"):
            join_ranks(rank_info, tmp_path, timeout_s=0.05)


@pytest.mark.parametrize(
    ("wanted", "count", "message"),
    [
        ("cuda", 0, "shows no GPU to this process"),
        ("cuda", 2, "has 2 GPUs for 4 ranks; start at most 2 ranks on a node"),
        ("tpu", 0, "--device tpu is unknown"),
    ],
)
def test_fewer_gpus_than_ranks_are_refused(wanted: str, count: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UsageError, match=message):
        choose_rank_device(RankInfo(3, 4, 3, 4), wanted)


def test_two_ranks_on_one_gpu_are_refused() -> None:
    """The same GPU by its uuid; GPUs of one host may differ, and so may hosts."""
    refuse_shared_gpus(["a GPU-1", "a GPU-2", "b GPU-3"])
    with pytest.raises(UsageError, match="ranks 1 and 2 share one GPU of b"):
        refuse_shared_gpus(["a GPU-1", "b GPU-2", "b GPU-2"])


def network(kind: str) -> nn.Module:
    torch.manual_seed(1)
    build = build_network if kind == "reference" else build_planned_network
    return build(SMALL, "cifar", channels=4, cells=1, classes=CLASSES).to(memory_format=torch.channels_last)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(BATCH, 3, 16, 16, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.arange(BATCH) % CLASSES


def plain_gradients(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    cross_entropy(net(images), labels).backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}


def test_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    """The same global batch, BN in evaluation mode: two ranks, in one piece or accumulated, as one process."""
    expected = plain_gradients(network("reference").eval(), *batch())

    def work(group: Group) -> None:
        images, labels = (part.chunk(2)[group.rank_info.rank] for part in batch())
        for pieces in (1, 2):
            training = ready(group, "reference", BATCH // 2 // pieces)
            training.network.eval()
            training.accumulate(list(zip(images.chunk(pieces), labels.chunk(pieces), strict=True)))
            assert_gradients(training.network, expected)

    assert run_ranks(2, tmp_path, work) == [0, 0]


def test_gradients_of_the_planned_network_are_averaged(tmp_path: Path) -> None:
    """Training mode, BN statistics each rank's own: the mean of what each rank would get alone."""
    halves = list(zip(*(part.chunk(2) for part in batch()), strict=True))
    alone = [plain_gradients(network("planned").train(), *half) for half in halves]
    expected = {name: (alone[0][name] + alone[1][name]) / 2 for name in alone[0]}

    def work(group: Group) -> None:
        training = ready(group, "planned", BATCH // 2)
        training.network.train()
        training.accumulate([halves[group.rank_info.rank]])
        assert_gradients(training.network, expected)

    assert run_ranks(2, tmp_path, work) == [0, 0]


def ready(group: Group, kind: str, micro_batch: int) -> FullTraining:
    recipe = full_recipe("cifar", batch=BATCH, crop=16, channels=4, cells=1)
    training = FullTraining(network(kind), recipe, group, "fp32", micro_batch)
    training.warm_up(3)
    return training


def assert_gradients(net: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_synchronised_bn_trains_as_one_process(tmp_path: Path) -> None:
    """Training mode: gradients and running statistics over two ranks are those of the whole batch."""
    whole = network("reference").train()
    expected = plain_gradients(whole, *batch())
    statistics = dict(whole.named_buffers())

    def work(group: Group) -> None:
        images, labels = (part.chunk(2)[group.rank_info.rank] for part in batch())
        net = group.synchronise_bn(network("reference")).train()
        parallel = DistributedDataParallel(net)
        cross_entropy(parallel(images), labels).backward()
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        for name, buffer in net.named_buffers():
            torch.testing.assert_close(buffer, statistics[name], rtol=1e-4, atol=1e-6)

    assert run_ranks(2, tmp_path, work) == [0, 0]


def test_ranks_agree(tmp_path: Path) -> None:
    """Greatest, least, total, shared text; an error on one rank stops all, and one of them says it."""

    def work(group: Group) -> None:
        rank = group.rank_info.rank
        assert group.greatest(rank) == 2
        assert group.least(rank) == 0
        assert group.total(torch.tensor([1, rank])).tolist() == [3, 3]
        assert group.share("long " * 3000 if rank == 0 else "") == "long " * 3000
        assert group.gather(f"r{rank}") == ["r0", "r1", "r2"]
        assert group.together(lambda: rank + 1) == rank + 1

        def fail() -> None:
            if rank:
                raise UsageError(f"wrong on {rank}")

        expected = {0: StoppedElsewhere, 1: UsageError, 2: StoppedElsewhere}[rank]
        with pytest.raises(HpcnasError) as caught:
            group.together(fail)
        assert type(caught.value) is expected
        assert caught.value.exit_code == 2
        assert "wrong on 1" in str(caught.value)

    assert run_ranks(3, tmp_path, work) == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_killed_rank_is_noticed_by_the_others(tmp_path: Path) -> None:
    """A rank that dies without a word ends the others with one sentence that names the step."""

    def work(group: Group) -> None:
        group.step = 42
        if group.rank_info.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        with pytest.raises(RankLost, match=r"rank \d of 3 on .* lost another rank at step 42; .*; the same command goes on"):
            group.greatest(0)

    codes = run_ranks(3, tmp_path, work)
    assert codes[1] == -signal.SIGKILL
    assert (codes[0], codes[2]) == (0, 0)


def test_accumulated_batch_must_divide() -> None:
    with pytest.raises(UsageError, match=r"--batch 256 cannot be divided among 6 ranks; start 4 ranks, or .* --batch 258"):
        full_recipe("cifar").batch_per_rank(6)
