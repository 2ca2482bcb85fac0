"""Full-size trainings: the paper's numbers, restarts, results, networks that do not fit or diverge."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpcnas.errors import HpcnasError, StoppedBySignal, UsageError
from hpcnas.networks.counts import count
from hpcnas.representation.canonical import digest
from hpcnas.representation.presets import PUBLISHED
from hpcnas.system.lock_file import TRAINING_LOCK
from hpcnas.training.full_size import micro_batch
from hpcnas.training.full_size import step as full_loop
from hpcnas.training.full_size.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import PAPER, full_recipe
from hpcnas.training.full_size.result import read_result
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from hpcnas.training.full_size.train import train_full
from tests.training.full_size.material import SMALL, run_ranks, weights, write_image_folder

pytestmark = pytest.mark.usefixtures("outside_of_slurm")

STEPS = 5
TINY = {"dataset": "digits", "channels": 2, "cells": 1, "steps": STEPS, "batch": 16}


def task(folder: Path, **changes: object) -> TrainingTask:
    return TrainingTask(SMALL, full_recipe("cifar", **{**TINY, **changes}), 0, folder)


def alone() -> Group:
    return Group(RankInfo())


def stopping_after(calls: int, code: int = 143) -> Callable[[], int]:
    """Asks to stop when it is asked for the `calls`-th time."""
    asked = iter(range(1, 10_000))
    return lambda: code if next(asked) >= calls else 0


def test_paper_numbers() -> None:
    """Section 4.1: steps, batch, decay, milestones, widths, runs."""
    cifar, imagenet = PAPER["cifar"], PAPER["imagenet"]
    assert (cifar.steps, cifar.batch, cifar.weight_decay, cifar.runs, cifar.channels, cifar.crop) == (
        80_000,
        256,
        3e-4,
        5,
        64,
        24,
    )
    assert (imagenet.steps, imagenet.batch, imagenet.weight_decay, imagenet.runs, imagenet.crop) == (
        200_000,
        1024,
        1e-4,
        1,
        299,
    )
    rates = [cifar.learning_rate_at(step) for step in (0, 39_999, 40_000, 60_000, 70_000, 79_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.0001, 0.0001])
    rates = [imagenet.learning_rate_at(step) for step in (99_999, 100_000, 150_000, 175_000)]
    assert rates == pytest.approx([0.1, 0.01, 0.001, 0.0001])


def test_training_stopped_at_any_step_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Stopped after steps 0, 1, 3 and 4, each time gone on with, against an undisturbed training."""
    undisturbed = train_full(task(tmp_path / "calm"), alone(), RunOptions())
    disturbed = task(tmp_path / "disturbed")
    for steps in (1, 2, 3, 2):
        with pytest.raises(
            StoppedBySignal, match=r"SIGTERM stopped the training at step \d of 5; the same command goes on there"
        ) as stopped:
            train_full(disturbed, alone(), RunOptions(stop_code=stopping_after(steps)))
        assert stopped.value.exit_code == 143
    result = train_full(disturbed, alone(), RunOptions())
    assert result.details["restarts"] == 4
    assert (result.error_top1, result.details["train_loss"]) == (undisturbed.error_top1, undisturbed.details["train_loss"])
    one, other = weights(tmp_path / "calm"), weights(tmp_path / "disturbed")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert checkpoints(tmp_path / "disturbed") == []
    assert not (tmp_path / "disturbed" / TRAINING_LOCK).exists()


def test_four_ranks_stopped_in_the_middle_end_with_the_same_bits(tmp_path: Path) -> None:
    """With four summands the order of the sums shows: DDP's buckets have to be those of an undisturbed training."""

    def work(name: str, stop_code: Callable[[], int]) -> Callable[[Group], object]:
        def train(group: Group) -> None:
            with contextlib.suppress(StoppedBySignal):
                train_full(replace(task(tmp_path / name), genotype=PUBLISHED), group, RunOptions(stop_code=stop_code))

        return train

    for name, stop_code in (("calm", lambda: 0), ("disturbed", stopping_after(3)), ("disturbed", lambda: 0)):
        assert run_ranks(4, tmp_path, work(name, stop_code)) == [0, 0, 0, 0]
    one, other = weights(tmp_path / "calm"), weights(tmp_path / "disturbed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_damaged_newest_checkpoint_costs_steps_not_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed = train_full(task(tmp_path / "calm"), alone(), RunOptions())
    disturbed = task(tmp_path / "disturbed")
    for steps in (2, 3):
        with pytest.raises(StoppedBySignal):
            train_full(disturbed, alone(), RunOptions(stop_code=stopping_after(steps)))
    checkpoints(disturbed.folder)[0].write_bytes(b"half")
    result = train_full(disturbed, alone(), RunOptions())
    assert "passed over" in (said := capsys.readouterr().err)
    assert "goes on at step 1 of 5" in said
    assert result.error_top1 == undisturbed.error_top1


def test_finished_training_is_read_back_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_full(task(tmp_path), alone(), RunOptions())
    monkeypatch.setattr(full_loop.FullTraining, "step", None)
    assert train_full(task(tmp_path), alone(), RunOptions()) == first
    assert read_result(tmp_path) == first
    with pytest.raises(UsageError, match=r"result.json was made with channels 2, not 4; give the same settings again"):
        train_full(task(tmp_path, channels=4), alone(), RunOptions())


def test_result_names_everything(tmp_path: Path) -> None:
    result = train_full(task(tmp_path), alone(), RunOptions())
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["settings"]["genotype"] == content["digest"] == digest(SMALL)
    assert content["parameters"] == count(SMALL, "cifar", channels=2, cells=1, in_channels=1).trainable
    assert (content["tested"], content["error_top5"], content["devices"], content["gpu_hours"]) == (297, None, "1 x cpu", 0.0)
    assert content["images_per_s"] > 0
    assert content["versions"]["torch"] == torch.__version__
    assert result.details["settings"]["steps"] == STEPS


def test_accumulated_batch_is_the_same_training_in_evaluation_of_bn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which only half a batch fits: two pieces a step, the rest of the recipe as it is."""
    monkeypatch.setattr("hpcnas.training.full_size.loop.fitting_micro_batch", lambda *_: 8)
    result = train_full(task(tmp_path), alone(), RunOptions())
    assert result.details["micro_batch"] == 8
    assert result.details["settings"]["batch"] == 16


def test_micro_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fits(network: object, precision: str, device: object, shape: tuple[int, ...]) -> bool:
        tried.append(shape[0])
        return shape[0] <= limit

    monkeypatch.setattr(micro_batch, "_fits", fits)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a small GPU")
    group = alone()
    group.device = torch.device("cuda", 0)
    limit = 20
    assert micro_batch.fitting_micro_batch(torch.nn.Identity(), "bf16", group, 128, 3, 24) == 16
    assert tried == [128, 64, 32, 16]
    limit = 0
    with pytest.raises(
        UsageError, match="the network does not fit a small GPU, not even with 8 images at a time; choose fewer"
    ):
        micro_batch.fitting_micro_batch(torch.nn.Identity(), "bf16", group, 128, 3, 24)


def test_image_folder_trains_and_validates_end_to_end(tmp_path: Path) -> None:
    """JPEGs in ImageNet's layout with two loader processes, stopped in the middle: the same bits, top-1 and top-5."""
    data = write_image_folder(tmp_path / "data", classes=6, train=4, val=3)
    recipe = full_recipe("imagenet", data=str(data), channels=2, cells=1, steps=4, batch=8, crop=48)
    options = RunOptions(loaders=2)
    undisturbed = train_full(TrainingTask(SMALL, recipe, 0, tmp_path / "calm"), alone(), options)
    with pytest.raises(StoppedBySignal):
        train_full(
            TrainingTask(SMALL, recipe, 0, tmp_path / "other"), alone(), RunOptions(loaders=1, stop_code=stopping_after(3))
        )
    result = train_full(TrainingTask(SMALL, recipe, 0, tmp_path / "other"), alone(), options)
    assert (result.error_top1, result.error_top5) == (undisturbed.error_top1, undisturbed.error_top5)
    assert result.error_top5 is not None
    assert result.details["tested"] == 18
    one, other = weights(tmp_path / "calm"), weights(tmp_path / "other")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_diverging_training_fails_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_loop, "cross_entropy", lambda logits, labels: logits.sum() * torch.nan)
    with pytest.raises(HpcnasError, match="the training loss is nan at step 1; try --precision fp32, or another --seed"):
        train_full(task(tmp_path), alone(), RunOptions(log_s=0))
    assert not (tmp_path / "result.json").exists()


def test_signal_to_one_rank_in_the_evaluation_stops_both_and_costs_no_step(tmp_path: Path) -> None:
    """The second of two ranks gets a signal before its first batch of test images; both leave, and go on to the same result."""

    def stopped(group: Group) -> None:
        told = stopping_after(STEPS + 2) if group.rank_info.rank == 1 else lambda: 0
        with pytest.raises(StoppedBySignal, match="SIGTERM stopped the evaluation after the last step"):
            train_full(task(tmp_path / "both"), group, RunOptions(stop_code=told))

    assert run_ranks(2, tmp_path, stopped) == [0, 0]
    assert checkpoints(tmp_path / "both")[0].name.startswith(f"checkpoint-{STEPS:08d}-")
    assert run_ranks(2, tmp_path, lambda group: train_full(task(tmp_path / "both"), group, RunOptions())) == [0, 0]
    result = read_result(tmp_path / "both")
    assert result is not None
    assert (result.details["restarts"], result.details["tested"]) == (1, 297)
    assert result.details["train_loss"] is not None


def test_image_that_cannot_be_read_is_counted_once_over_restarts(tmp_path: Path) -> None:
    """Skipped in the first step; the process that goes on after the last one must not forget it."""
    data = write_image_folder(tmp_path / "data", classes=2, train=4, val=2)
    next((data / "train").glob("*/*")).write_bytes(b"no image")
    recipe = full_recipe("imagenet", data=str(data), channels=2, cells=1, steps=2, batch=8, crop=48)
    options = RunOptions(loaders=0)
    with pytest.raises(StoppedBySignal):
        train_full(TrainingTask(SMALL, recipe, 0, tmp_path / "out"), alone(), replace(options, stop_code=stopping_after(3)))
    assert train_full(TrainingTask(SMALL, recipe, 0, tmp_path / "out"), alone(), options).details["skipped"] == 1


def test_checkpoint_after_the_last_step_of_version_0_1_ends_in_valid_json(tmp_path: Path) -> None:
    """It does not say loss and speed: null in result.json, and a NaN that was written before is read as that."""
    with pytest.raises(StoppedBySignal):
        train_full(task(tmp_path), alone(), RunOptions(stop_code=stopping_after(STEPS + 1)))
    (path,) = checkpoints(tmp_path)[:1]
    settings = task(tmp_path).recipe.settings(task(tmp_path).digest, 0, "fp32")
    step, state = load_checkpoint(path, settings)
    path.unlink()
    later = ("loss", "stepped", "stepping_s", "corrupt")
    save_checkpoint(tmp_path, step, settings, {name: value for name, value in state.items() if name not in later})
    result = train_full(task(tmp_path), alone(), RunOptions())
    assert (result.details["train_loss"], result.details["images_per_s"]) == (None, None)
    text = (tmp_path / "result.json").read_text()
    json.loads(text, parse_constant=pytest.fail)
    (tmp_path / "result.json").write_text(text.replace('"train_loss": null', '"train_loss": NaN'))
    assert read_result(tmp_path) == result
