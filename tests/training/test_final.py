"""hpcnas final: whole trainings, restarts, bad input, what is left behind."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hpcnas.cli import main
from hpcnas.cluster.full_jobs import JobShape
from hpcnas.commands import final_pin
from hpcnas.config import RecipeConfig, RunConfig, SearchConfig
from hpcnas.errors import HpcnasError, UsageError
from hpcnas.networks.counts import count
from hpcnas.population import open_store
from hpcnas.population.queries import Population
from hpcnas.population.records import Birth, Final, Fitness, WorkerInfo
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder
from hpcnas.search.creation import create_run
from hpcnas.training import full_loop
from hpcnas.training.checkpoint import checkpoints
from hpcnas.training.distributed import Group
from hpcnas.training.final import train_full
from hpcnas.training.full_recipe import PAPER, full_recipe
from hpcnas.training.full_result import read_result
from hpcnas.training.full_task import Stopped, Surroundings, Task
from hpcnas.training.output_lock import LOCK_NAME
from hpcnas.training.ranks import Place
from tests.training.final_material import SMALL, run_ranks, write_image_folder

STEPS = 5
TINY = {"dataset": "digits", "channels": 2, "cells": 1, "steps": STEPS, "batch": 16}


@pytest.fixture(autouse=True)
def _outside_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM", "HPCNAS"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def genotype_file(tmp_path: Path) -> str:
    path = tmp_path / "small.json"
    path.write_text(genotype_to_json(SMALL))
    return str(path)


def task(folder: Path, **changes: object) -> Task:
    return Task(SMALL, full_recipe("cifar", **{**TINY, **changes}), 0, folder)


def alone() -> Group:
    return Group(Place())


def stopping_after(calls: int, code: int = 143) -> Callable[[], int]:
    """Asks to stop when it is asked for the `calls`-th time."""
    asked = iter(range(1, 10_000))
    return lambda: code if next(asked) >= calls else 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


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
    undisturbed = train_full(task(tmp_path / "calm"), alone(), Surroundings())
    disturbed = task(tmp_path / "disturbed")
    for steps in (1, 2, 3, 2):
        with pytest.raises(
            Stopped, match=r"SIGTERM stopped the training at step \d of 5; the same command goes on there"
        ) as stopped:
            train_full(disturbed, alone(), Surroundings(stop_code=stopping_after(steps)))
        assert stopped.value.exit_code == 143
    result = train_full(disturbed, alone(), Surroundings())
    assert result.restarts == 4
    assert (result.error_top1, result.train_loss) == (undisturbed.error_top1, undisturbed.train_loss)
    one, other = weights(tmp_path / "calm"), weights(tmp_path / "disturbed")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert checkpoints(tmp_path / "disturbed") == []
    assert not (tmp_path / "disturbed" / LOCK_NAME).exists()


def test_four_ranks_stopped_in_the_middle_end_with_the_same_bits(tmp_path: Path) -> None:
    """With four summands the order of the sums shows: DDP's buckets have to be those of an undisturbed training."""

    def work(name: str, stop_code: Callable[[], int]) -> Callable[[Group], object]:
        def train(group: Group) -> None:
            with contextlib.suppress(Stopped):
                train_full(replace(task(tmp_path / name), genotype=PUBLISHED), group, Surroundings(stop_code=stop_code))

        return train

    for name, stop_code in (("calm", lambda: 0), ("disturbed", stopping_after(3)), ("disturbed", lambda: 0)):
        assert run_ranks(4, tmp_path, work(name, stop_code)) == [0, 0, 0, 0]
    one, other = weights(tmp_path / "calm"), weights(tmp_path / "disturbed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_damaged_newest_checkpoint_costs_steps_not_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed = train_full(task(tmp_path / "calm"), alone(), Surroundings())
    disturbed = task(tmp_path / "disturbed")
    for steps in (2, 3):
        with pytest.raises(Stopped):
            train_full(disturbed, alone(), Surroundings(stop_code=stopping_after(steps)))
    checkpoints(disturbed.folder)[0].write_bytes(b"half")
    result = train_full(disturbed, alone(), Surroundings())
    assert "passed over" in (said := capsys.readouterr().err)
    assert "goes on at step 1 of 5" in said
    assert result.error_top1 == undisturbed.error_top1


def test_finished_training_is_read_back_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_full(task(tmp_path), alone(), Surroundings())
    monkeypatch.setattr(full_loop.FullTraining, "step", None)
    assert train_full(task(tmp_path), alone(), Surroundings()) == first
    assert read_result(tmp_path) == first
    with pytest.raises(UsageError, match=r"result.json was made with channels 2, not 4; give the same settings again"):
        train_full(task(tmp_path, channels=4), alone(), Surroundings())


def test_result_names_everything(tmp_path: Path) -> None:
    result = train_full(task(tmp_path), alone(), Surroundings())
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["settings"]["genotype"] == content["digest"] == digest(SMALL)
    assert content["parameters"] == count(SMALL, "cifar", channels=2, cells=1, in_channels=1).trainable
    assert (content["tested"], content["error_top5"], content["devices"], content["gpu_hours"]) == (297, None, "1 x cpu", 0.0)
    assert content["images_per_s"] > 0
    assert content["versions"]["torch"] == torch.__version__
    assert result.as_final().details["settings"]["steps"] == STEPS


def test_accumulated_batch_is_the_same_training_in_evaluation_of_bn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which only half a batch fits: two pieces a step, the rest of the recipe as it is."""
    monkeypatch.setattr("hpcnas.training.full_course.fitting_micro_batch", lambda *_: 8)
    result = train_full(task(tmp_path), alone(), Surroundings())
    assert result.micro_batch == 8
    assert result.settings["batch"] == 16


def test_micro_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fits(network: object, precision: str, device: object, shape: tuple[int, ...]) -> bool:
        tried.append(shape[0])
        return shape[0] <= limit

    monkeypatch.setattr(full_loop, "_fits", fits)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a small GPU")
    group = alone()
    group.device = torch.device("cuda", 0)
    limit = 20
    assert full_loop.fitting_micro_batch(torch.nn.Identity(), "bf16", group, 128, 3, 24) == 16
    assert tried == [128, 64, 32, 16]
    limit = 0
    with pytest.raises(
        UsageError, match="the network does not fit a small GPU, not even with 8 images at a time; choose fewer"
    ):
        full_loop.fitting_micro_batch(torch.nn.Identity(), "bf16", group, 128, 3, 24)


def test_image_folder_trains_and_validates_end_to_end(tmp_path: Path) -> None:
    """JPEGs in ImageNet's layout with two loader processes, stopped in the middle: the same bits, top-1 and top-5."""
    data = write_image_folder(tmp_path / "data", classes=6, train=4, val=3)
    recipe = full_recipe("imagenet", data=str(data), channels=2, cells=1, steps=4, batch=8, crop=48)
    around = Surroundings(loaders=2)
    undisturbed = train_full(Task(SMALL, recipe, 0, tmp_path / "calm"), alone(), around)
    with pytest.raises(Stopped):
        train_full(Task(SMALL, recipe, 0, tmp_path / "other"), alone(), Surroundings(loaders=1, stop_code=stopping_after(3)))
    result = train_full(Task(SMALL, recipe, 0, tmp_path / "other"), alone(), around)
    assert (result.error_top1, result.error_top5) == (undisturbed.error_top1, undisturbed.error_top5)
    assert result.error_top5 is not None
    assert result.tested == 18
    one, other = weights(tmp_path / "calm"), weights(tmp_path / "other")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_diverging_training_fails_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_loop, "cross_entropy", lambda logits, labels: logits.sum() * torch.nan)
    with pytest.raises(HpcnasError, match="the training loss is nan at step 1; try --precision fp32, or another --seed"):
        train_full(task(tmp_path), alone(), Surroundings(log_s=0))
    assert not (tmp_path / "result.json").exists()


# --------------------------------------------------------------------------- the command


def command(*arguments: str) -> int:
    return main(["final", *arguments])


def tiny(genotype: str, run: Path, *more: str) -> list[str]:
    return [
        genotype,
        "--run",
        str(run),
        "--dataset",
        "digits",
        "--channels",
        "2",
        "--cells",
        "1",
        "--steps",
        "2",
        "--batch",
        "16",
        *more,
    ]


def test_runs_have_their_own_seeds_and_end_in_mean_and_deviation(
    tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        command(*tiny(genotype_file, tmp_path / "run", "--runs", "2", "--weights-out", str(tmp_path / "w-{run}.safetensors")))
        == 0
    )
    out = capsys.readouterr().out
    assert "(n = 2, sample standard deviation)" in out
    folders = sorted((tmp_path / "run/final").glob("*/*/run-*"))
    assert [folder.name for folder in folders] == ["run-0", "run-1"]
    assert not torch.equal(*(weights(folder)["classifier.weight"] for folder in folders))
    assert (tmp_path / "w-1.safetensors").read_bytes() == (folders[1] / "weights.safetensors").read_bytes()


def bad_input(tmp_path: Path, genotype: str) -> dict[str, tuple[list[str], str]]:
    run = tmp_path / "run"
    (tmp_path / "taken").write_text("precious")
    (tmp_path / "flat/train/a").mkdir(parents=True)
    (tmp_path / "flat/train/a/x.JPEG").touch()
    (tmp_path / "flat/val").mkdir()
    (tmp_path / "flat/val/ILSVRC2012_val_00000001.JPEG").touch()
    imagenet = [genotype, "--run", str(run), "--model", "imagenet", "--device", "cpu"]
    return {
        "no genotype": (tiny("nowhere.json", run), "is no genotype; give an id of the run"),
        "no run": ([*tiny("best", run)], "holds no run"),
        "no data": (tiny(genotype, run, "--dataset", "cifar10", "--data", str(tmp_path / "empty")), "fetch it with --download"),
        "no imagenet": (imagenet, "--model imagenet needs --data FOLDER"),
        "imagenet missing": (
            [*imagenet, "--data", str(tmp_path / "nowhere")],
            "does not exist; give the folder that holds train/",
        ),
        "imagenet flat": ([*imagenet, "--data", str(tmp_path / "flat")], "is flat: 1 images and no class folders"),
        "model and data": ([*imagenet, "--dataset", "cifar10"], "--model imagenet does not go with --dataset cifar10"),
        "model": (tiny(genotype, run, "--model", "small"), "--model small is unknown; choose one of cifar, imagenet"),
        "precision": (tiny(genotype, run, "--precision", "fp8"), "--precision fp8 is unknown"),
        "fp16 on a CPU": (tiny(genotype, run, "--precision", "fp16", "--device", "cpu"), "--precision fp16 needs a GPU"),
        "device": (tiny(genotype, run, "--device", "cuda"), "shows no GPU to this process"),
        "batch": (tiny(genotype, run, "--batch", "0"), "--batch 0 must be at least 1"),
        "batch above the data": (tiny(genotype, run, "--batch", "2000"), "1500 images to train on, fewer than --batch 2000"),
        "crop": (tiny(genotype, run, "--crop", "33"), "--crop 33 is larger than the 32 pixels of digits"),
        "run index": (tiny(genotype, run, "--runs", "2", "--run-index", "2"), "--run-index 2 must be one of 0 to 1"),
        "minutes": (tiny(genotype, run, "--checkpoint-minutes", "0"), "--checkpoint-minutes 0 must be above 0"),
        "weights taken": (
            tiny(genotype, run, "--runs", "1", "--weights-out", str(tmp_path / "taken")),
            "taken is there already; give another name",
        ),
        "one file for two": (
            tiny(genotype, run, "--runs", "2", "--weights-out", str(tmp_path / "w")),
            "put {run} into the name",
        ),
        "cluster": (tiny(genotype, run, "--cluster", "lsf"), "--cluster lsf is unknown"),
        "job batch": (tiny(genotype, run, "--cluster", "slurm", "--nodes", "3"), "--batch 16 cannot be divided among 3 ranks"),
        "job shape": (
            tiny(genotype, run, "--cluster", "slurm", "--ranks-per-node", "2"),
            "--gpus-per-node 1 is fewer than --ranks-per-node 2",
        ),
        "best-so-far": (tiny("best-so-far", run), "holds no run"),
    }


def test_bad_input_is_one_sentence_with_code_2_and_leaves_everything(
    tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (arguments, message) in bad_input(tmp_path, genotype_file).items():
        code, said = command(*arguments), capsys.readouterr().err
        assert (code, said.count("\n")) == (2, 1), (name, said)
        assert message in said, (name, said)
        assert said.startswith("hpcnas: "), name
    assert (tmp_path / "taken").read_text() == "precious"
    assert list(tmp_path.glob("run/**/result.json")) == []
    assert list(tmp_path.glob(f"run/**/{LOCK_NAME}")) == []


def test_batch_not_divisible_by_the_ranks_is_refused(
    tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rank 0 of three, before it waits for the others."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert command(*tiny(genotype_file, tmp_path)) == 2
    assert "--batch 16 cannot be divided among 3 ranks; start 2 ranks" in capsys.readouterr().err


def test_two_jobs_on_one_folder(tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock of a living process is refused and kept, that of a dead one is taken over."""
    out = tmp_path / "out"
    (out / "run-0").mkdir(parents=True)
    lock = out / "run-0" / LOCK_NAME
    holder = {
        "host": "elsewhere",
        "pid": 1,
        "boot": "b",
        "namespace": "n",
        "started": 1,
        "job": "77",
        "nonce": "1",
        "restarts": 0,
    }
    lock.write_text(json.dumps(holder))
    arguments = tiny(genotype_file, tmp_path / "run", "--runs", "1", "--out", str(out))
    assert command(*arguments) == 2
    said = capsys.readouterr().err
    assert f"{out / 'run-0'} is being trained by process 1 on elsewhere (Slurm job 77); wait for it" in said
    assert said.count("\n") == 1
    assert json.loads(lock.read_text()) == holder
    assert sorted(path.name for path in (out / "run-0").iterdir()) == [LOCK_NAME]


# --------------------------------------------------------------------------- the population


@pytest.fixture
def searched(tmp_path: Path) -> RunFolder:
    """A run with four evaluated genotypes, of which the first and the third set records."""
    folder = RunFolder(tmp_path / "searched")
    recipe = RecipeConfig(dataset="digits", repeats=1)
    create_run(folder, RunConfig(search=SearchConfig(steps=4, population=4), recipe=recipe))
    store = open_store(folder, RunConfig())
    store.begin_epoch()
    genotypes = [Genotype(((Motif(((k,), (3, 4))),),)) for k in (1, 2, 3, 4)]
    store.add([Birth(digest(one), genotype_to_json(one), None, "", 100) for one in genotypes])
    store.join(WorkerInfo("w", "host", 1))
    for accuracy in (0.5, 0.4, 0.6, 0.6):
        lease = store.claim("w", f"c{accuracy}{os.urandom(4).hex()}").lease
        assert lease is not None
        store.record(lease.individual_id, lease.token, Fitness(0, accuracy, 1, 1, 1.0))
    store.close()
    return folder


def finals(folder: RunFolder) -> list[Final]:
    with Population.open(folder) as population:
        return population.finals()


def test_record_setters_are_trained_and_enter_the_population(searched: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """best-so-far: individuals 1 and 3; their errors are rows of final, by their ids, without a head."""
    arguments = ["best-so-far", "--run", str(searched.path), "--channels", "2", "--cells", "1", "--steps", "1", "--batch", "16"]
    assert command(*arguments, "--runs", "1") == 0
    assert "recorded in the population" in capsys.readouterr().out
    rows = finals(searched)
    assert [(row.individual_id, row.dataset, row.run, row.channels) for row in rows] == [
        (1, "digits", 0, 2),
        (3, "digits", 0, 2),
    ]
    assert all(0 <= row.error_top1 <= 100 for row in rows)
    assert command(*arguments, "--runs", "1") == 0
    assert finals(searched) == rows
    assert not searched.lock.exists()


def test_result_waits_in_the_outbox_while_a_head_is_out_of_reach(
    searched: RunFolder, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A head holds the run but does not answer: nothing is lost, the next head merges it."""
    from hpcnas.population.outbox import merge_outbox
    from hpcnas.search.head_lock import HeadLock

    lock = HeadLock(searched.lock)
    lock.acquire()
    assert command(*tiny(genotype_file, searched.path, "--runs", "1")) == 0
    assert "from where the next head takes it" in capsys.readouterr().out
    assert finals(searched) == []
    lock.release()
    store = open_store(searched, RunConfig())
    store.begin_epoch()
    assert merge_outbox(searched, store) == 1
    store.close()
    assert [row.individual_id for row in finals(searched)] == [None]


def test_best_stays_what_it_was_when_the_job_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search finds a better one meanwhile: the requeued job, and the other tasks of its array, train the first."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    assert final_pin.pinned(tmp_path, "best", lambda: [(SMALL, 3)]) == [(SMALL, 3)]
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert final_pin.pinned(tmp_path, "best", lambda: [(PUBLISHED, 9)]) == [(SMALL, 3)]
    assert final_pin.pinned(tmp_path, "4", lambda: [(PUBLISHED, 4)]) == [(PUBLISHED, 4)]
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    assert final_pin.pinned(tmp_path, "best", lambda: [(PUBLISHED, 9)]) == [(PUBLISHED, 9)]


def test_one_job_for_every_record_setter(
    searched: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted: list[tuple[str, JobShape, list[str]]] = []

    def submit(folder: Path, name: str, shape: JobShape, arguments: list[str]) -> str:
        submitted.append((name, shape, arguments))
        return str(len(submitted))

    monkeypatch.setattr("hpcnas.cluster.full_jobs.submit_full", submit)
    options = ("--cluster", "slurm", "--nodes", "2", "--gpus-per-node", "4", "--partition", "a100", "--time", "1-0")
    assert command("best-so-far", "--run", str(searched.path), "--channels", "32", "--sync-bn", *options) == 0
    assert [arguments[1] for _, _, arguments in submitted] == ["1", "3"]
    name, shape, arguments = submitted[0]
    assert name == "hpcnas-final-1"
    assert shape == JobShape(nodes=2, ranks_per_node=4, gpus_per_node=4, partition="a100", time="1-0")
    assert arguments[:4] == ["final", "1", "--run", str(searched.path)]
    assert "--sync-bn" in arguments
    assert arguments[arguments.index("--channels") + 1] == "32"
    assert not {"--nodes", "--partition", "--cluster", "--time"} & set(arguments)
    assert capsys.readouterr().out.count("submitted job") == 2


def test_tensorboard_that_is_not_installed_is_said(
    tmp_path: Path, genotype_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert command(*tiny(genotype_file, tmp_path / "run", "--tensorboard")) == 2
    assert "--tensorboard needs the package tensorboard; install it with `pip install tensorboard`" in capsys.readouterr().err
