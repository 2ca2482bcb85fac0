"""Full-size runs together on a device: each as alone, to the bit."""

from pathlib import Path

import pytest
import torch

from hpcnas.errors import StoppedBySignal
from hpcnas.representation.presets import PUBLISHED
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import full_recipe
from hpcnas.training.full_size.runs import train_runs
from hpcnas.training.full_size.step import FullTraining
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from tests.training.full_size.material import weights
from tests.training.full_size.test_train import stopping_after

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
    pytest.mark.usefixtures("outside_of_slurm"),
]
RECIPE = full_recipe("cifar", dataset="digits", channels=64, cells=1, steps=30, batch=64, runs=3)


def trained(folder: Path, numbers: list[int], **options: object) -> list[dict[str, torch.Tensor]]:
    group = Group(RankInfo())
    group.use("cuda")
    tasks = [TrainingTask(PUBLISHED, RECIPE, run, folder / f"run-{run}") for run in numbers]
    return [weights(task.folder) for task, _ in train_runs(tasks, group, RunOptions(**options))]


def are_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_three_runs_together_or_stopped_equal_each_alone_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FullTraining, "step", None)  # the kernels make all of them
    together = trained(tmp_path / "calm", [0, 1, 2])
    (alone,) = trained(tmp_path / "alone", [1])
    assert are_same(alone, together[1])
    with pytest.raises(StoppedBySignal):
        trained(tmp_path / "stopped", [0, 1, 2], stop_code=stopping_after(12))
    assert all(map(are_same, trained(tmp_path / "stopped", [0, 1, 2]), together))
