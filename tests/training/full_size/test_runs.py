"""Which runs of a genotype are trained together, and what is said where they are not."""

from pathlib import Path

import pytest
import torch

from hpcnas.errors import TrainingDiverged
from hpcnas.training.full_size import runs
from hpcnas.training.full_size import step as full_step
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import full_recipe
from hpcnas.training.full_size.runs import choose_runs, train_runs
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from hpcnas.training.full_size.train import train_full
from tests.training.full_size.material import SMALL, run_ranks


@pytest.mark.parametrize(
    ("steps", "at_once", "chosen"),
    [
        ({0: [0], 1: [0], 2: [0]}, 5, ([0, 1, 2], 0)),
        ({0: [0], 1: [0], 2: [0]}, 2, ([0, 1], 0)),
        ({1: [20, 10], 3: [20, 10], 4: [10]}, 5, ([1, 3, 4], 10)),  # killed while it wrote the checkpoints of step 20
        ({1: [20, 10], 3: [20, 10], 4: [0]}, 5, ([1, 3], 20)),  # three did not fit together
        ({0: [20], 1: [30], 2: [20]}, 5, ([0, 2], 20)),
    ],
)
def test_runs_that_have_a_step_in_common_go_on_together(steps, at_once, chosen):
    assert choose_runs(steps, at_once) == chosen


@pytest.mark.parametrize(
    ("device", "model", "compile", "lines"),
    [("cuda", "cifar", False, 1), ("cuda", "cifar", True, 0), ("cuda", "imagenet", False, 0), ("cpu", "cifar", False, 0)],
)
def test_runs_one_after_the_other_are_said_where_the_kernels_were_expected(
    tmp_path: Path, monkeypatch, capsys, device, model, compile, lines
):
    monkeypatch.setenv("HPCNAS_TOGETHER", "0")
    monkeypatch.setattr(runs, "train_full", lambda task, group, options: task.run)
    group = Group(RankInfo())
    group.device = torch.device(device)
    tasks = [TrainingTask(SMALL, full_recipe(model), run, tmp_path) for run in (0, 1)]
    assert list(train_runs(tasks, group, RunOptions(compile=compile))) == [(task, task.run) for task in tasks]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all("one after the other: $HPCNAS_TOGETHER=0 switches that off" in line for line in said)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_diverges_keeps_none_of_the_others_from_its_training(tmp_path: Path, ranks) -> None:
    """Its error comes at the end, on all ranks."""
    recipe = full_recipe("cifar", dataset="digits", channels=2, cells=1, steps=2, batch=16, runs=2)
    tasks = [TrainingTask(SMALL, recipe, run, tmp_path / f"run-{run}") for run in (0, 1)]

    def work(group: Group) -> None:
        loss, trained = full_step.cross_entropy, []

        def train(task, group, options):
            trained.append(task.run)
            return train_full(task, group, options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "train_full", train)
            patch.setattr(
                full_step, "cross_entropy", lambda logits, labels: loss(logits, labels) * (torch.nan if trained == [0] else 1)
            )
            with pytest.raises(TrainingDiverged, match="run 0: the training loss is nan at step 1"):
                list(train_runs(tasks, group, RunOptions(log_s=0)))
        assert trained == [0, 1]

    assert run_ranks(ranks, tmp_path, work) == [0] * ranks
    assert [(task.folder / "result.json").exists() for task in tasks] == [False, True]
