"""`hpcnas final`: its runs, bad input, one job for each genotype."""

import json
import sys
from pathlib import Path

import pytest
import torch

from hpcnas.cluster.slurm.job_shape import JobShape
from hpcnas.commands import final_pin
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import TRAINING_LOCK
from tests.commands.conftest import command, tiny
from tests.training.full_size.material import SMALL, weights

pytestmark = pytest.mark.usefixtures("outside_of_slurm")


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
        "model": (tiny(genotype, run, "--model", "small"), "'--model': 'small' is not one of 'cifar', 'imagenet'"),
        "precision": (tiny(genotype, run, "--precision", "fp8"), "'--precision': 'fp8' is not one of 'auto', 'fp32'"),
        "fp16 on a CPU": (tiny(genotype, run, "--precision", "fp16", "--device", "cpu"), "--precision fp16 needs a GPU"),
        "device": (tiny(genotype, run, "--device", "cuda"), "shows no GPU to this process"),
        "batch": (tiny(genotype, run, "--batch", "0"), "--batch 0 must be at least 1"),
        "batch above the data": (tiny(genotype, run, "--batch", "2000"), "1500 images to train on, fewer than --batch 2000"),
        "crop": (tiny(genotype, run, "--crop", "33"), "--crop 33 is larger than the 32 pixels of digits"),
        "run index": (tiny(genotype, run, "--runs", "2", "--run-index", "2"), "--run-index 2 must be one of 0 to 1"),
        "minutes": (tiny(genotype, run, "--checkpoint-minutes", "0"), "--checkpoint-minutes 0 must be a finite number above 0"),
        "compile": (tiny(genotype, run, "--compile", "--sync-bn"), "--compile does not go with --sync-bn"),
        "one folder for several": (
            tiny("front", run, "--out", str(tmp_path / "w")),
            "is one place, and front names several genotypes; leave it out, or name one genotype",
        ),
        "one copy for several": (tiny("best-so-far", run, "--weights-out", "w-{run}"), "--weights-out w-{run} is one place"),
        "weights taken": (
            tiny(genotype, run, "--runs", "1", "--weights-out", str(tmp_path / "taken")),
            "taken is there already; give another name",
        ),
        "one file for two": (
            tiny(genotype, run, "--runs", "2", "--weights-out", str(tmp_path / "w")),
            "put {run} into the name",
        ),
        "cluster": (tiny(genotype, run, "--cluster", "lsf"), "'--cluster': 'lsf' is not one of 'here', 'slurm'"),
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
    assert list(tmp_path.glob(f"run/**/{TRAINING_LOCK}")) == []


def test_every_number_of_the_recipe_is_an_option_and_fixed_for_a_training(
    tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = {"--learning-rate": "0.05", "--momentum": "0.8", "--weight-decay": "0.001", "--milestones": "0.5,0.75"}
    given = [word for pair in numbers.items() for word in pair]
    arguments = [*tiny(genotype_file, tmp_path / "run"), "--runs", "1"]
    assert command(*arguments, *given) == 0
    assert command(*arguments, *given) == 0  # the same again: nothing is left to do
    capsys.readouterr()
    for number in numbers:
        assert command(*arguments, *given, number, "0.25") == 2
        said = capsys.readouterr().err
        assert f"{number[2:].replace('-', '_')} {'[0.5, 0.75]' if ',' in numbers[number] else numbers[number]}, not" in said


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
    lock = out / "run-0" / TRAINING_LOCK
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
    assert f"{out / 'run-0'} is being trained: {lock} names process 1 on elsewhere (Slurm job 77); wait for it" in said
    assert said.count("\n") == 1
    assert json.loads(lock.read_text()) == holder
    assert sorted(path.name for path in (out / "run-0").iterdir()) == [TRAINING_LOCK]


def test_best_stays_what_it_was_when_the_job_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search finds a better one meanwhile: the other tasks of the array train the first."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    assert final_pin.pinned(tmp_path, "best", lambda: [(SMALL, 3)]) == [(SMALL, 3)]
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert final_pin.pinned(tmp_path, "best", lambda: [(PUBLISHED, 9)]) == [(SMALL, 3)]
    assert final_pin.pinned(tmp_path, "4", lambda: [(PUBLISHED, 4)]) == [(PUBLISHED, 4)]
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    assert final_pin.pinned(tmp_path, "best", lambda: [(PUBLISHED, 9)]) == [(PUBLISHED, 9)]


def test_best_in_a_job_is_that_of_now_until_the_job_is_requeued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One interactive allocation trains the best twice; requeued, a job goes on with what it began, and says so."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert final_pin.pinned(tmp_path, "best", lambda: [(SMALL, 3)]) == [(SMALL, 3)]
    assert final_pin.pinned(tmp_path, "best", lambda: [(PUBLISHED, 9)]) == [(PUBLISHED, 9)]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert final_pin.pinned(tmp_path, "best", lambda: [(SMALL, 11)]) == [(PUBLISHED, 9)]
    assert capsys.readouterr().err == "best is what it was when job 12 began: genotype 9\n"


def test_a_file_whose_name_begins_with_best_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the words are kept; the task of an array that trains best/genotype.json reads that file."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    for name in ("best.json", "best/genotype.json", "frontier.json"):
        assert final_pin.pinned(tmp_path, name, lambda: [(SMALL, None)]) == [(SMALL, None)]
    assert list(tmp_path.iterdir()) == []
    for word in ("best", "best-so-far", "front"):
        final_pin.pinned(tmp_path, word, lambda: [(SMALL, 3)])
    assert len(list(tmp_path.iterdir())) == 3


def test_one_job_for_every_record_setter(
    searched: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted: list[tuple[str, JobShape, list[str]]] = []

    def submit(folder: Path, name: str, shape: JobShape, arguments: list[str]) -> str:
        submitted.append((name, shape, arguments))
        return str(len(submitted))

    monkeypatch.setattr("hpcnas.cluster.slurm.full_jobs.submit_full", submit)
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
