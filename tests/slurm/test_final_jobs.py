"""The full-size job scripts through sbatch, on two nodes, with gloo on CPUs."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hpcnas.cli import main
from tests.slurm.starter import Cluster
from tests.training.final_material import write_image_folder

JOBS = Path(__file__).parents[2] / "jobs"
TINY = "--device cpu --channels 2 --cells 1 --runs 1 --log-seconds 0 --loaders 0"
FOUR_RANKS = ("--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1")
PATIENCE_S = 400  # a ceiling for a busy machine; alone the slowest job takes a minute


@pytest.mark.timeout(1200)
def test_requeued_and_killed_job_ends_with_the_weights_of_an_undisturbed_one(on_plain: Cluster, tmp_path: Path) -> None:
    """A requeue in the middle, then a killed rank: four ranks on two nodes go on to the same bits."""
    settings = {"HPCNAS_DATASET": "digits", "HPCNAS_ARGS": f"{TINY} --steps 12 --batch 32"}
    calm = submit(on_plain, tmp_path, "final_cifar10.sh", "calm", *FOUR_RANKS, **settings)
    on_plain.wait_until(lambda: not on_plain.squeue(), "the undisturbed job is done", PATIENCE_S)

    job = submit(on_plain, tmp_path, "final_cifar10.sh", "disturbed", *FOUR_RANKS, **settings)
    log = tmp_path / f"hpcnas-final-cifar10-{job}.log"
    wait_for(on_plain, log, r"step 3/12")
    on_plain.run("scontrol", "requeue", job)
    wait_for(on_plain, log, r"goes on at step \d+ of 12")
    wait_for(on_plain, log, r"step 7/12")
    os.kill(pid_of_rank(job, 3), signal.SIGKILL)
    wait_for(on_plain, log, r"a rank was killed \(status 137\): requeueing job")
    on_plain.wait_until(lambda: not on_plain.squeue(), "the disturbed job is done", PATIENCE_S)

    text = log.read_text()
    assert re.search(r"rank \d of 4 on \S+ lost another rank at step \d+", text), text
    assert text.count("goes on at step") == 2
    one, other = (result_folder(tmp_path / name) for name in ("calm", "disturbed"))
    result = json.loads((other / "result.json").read_text())
    assert result["restarts"] >= 1
    assert result["world_size"] == 4
    assert result["error_top1"] == json.loads((one / "result.json").read_text())["error_top1"]
    weights, others = load_file(one / "weights.safetensors"), load_file(other / "weights.safetensors")
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert calm != job


@pytest.mark.timeout(600)
def test_imagenet_script_trains_and_validates_a_folder_of_images(on_plain: Cluster, tmp_path: Path) -> None:
    """Two nodes read generated JPEGs; top-1 and top-5 errors are in result.json."""
    write_image_folder(tmp_path / "data", classes=6, train=6, val=4)
    arguments = f"{TINY} --steps 2 --batch 8 --crop 64"
    shape = ("--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1")
    job = submit(
        on_plain, tmp_path, "final_imagenet.sh", "imagenet", *shape, HPCNAS_DATA=str(tmp_path / "data"), HPCNAS_ARGS=arguments
    )
    on_plain.wait_until(lambda: not on_plain.squeue(), "the job is done", PATIENCE_S)
    log = (tmp_path / f"hpcnas-final-imagenet-{job}.log").read_text()
    assert "top-5" in log, log
    result = json.loads((result_folder(tmp_path / "imagenet") / "result.json").read_text())
    assert (result["tested"], result["world_size"]) == (24, 4)
    assert 0 <= result["error_top5"] <= result["error_top1"] <= 100


@pytest.mark.timeout(600)
def test_training_is_submitted_through_submitit(
    on_plain: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """hpcnas final --cluster slurm: the job trains with the options of the command and ends with its exit code."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shape = ["--cluster", "slurm", "--gpus-per-node", "0", "--cpus-per-rank", "1", "--time", "10"]
    arguments = ["final", "published", "--run", str(tmp_path / "run"), "--dataset", "digits", *TINY.split()]
    assert main([*arguments, "--steps", "1", "--batch", "16", *shape]) == 0
    assert "submitted job" in capsys.readouterr().out
    on_plain.wait_until(lambda: not on_plain.squeue(), "the job is done", PATIENCE_S)
    assert (result_folder(tmp_path / "run") / "result.json").is_file()


def submit(cluster: Cluster, folder: Path, script: str, run: str, *options: str, **variables: str) -> str:
    """sbatch a script of jobs/ from `folder`, as a user does; the job's id."""
    environment = {
        **cluster.environment,
        "PATH": f"{JOBS.parent / '.venv/bin'}:{os.environ['PATH']}",
        "HPCNAS_JOBS": str(JOBS),
        "HPCNAS_RUN": str(folder / run),
        "HPCNAS_GENOTYPE": "published",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = ["sbatch", "--parsable", *options, str(JOBS / script)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def wait_for(cluster: Cluster, log: Path, pattern: str) -> None:
    def found() -> bool:
        return log.exists() and re.search(pattern, log.read_text()) is not None

    cluster.wait_until(found, f"{pattern} in {log.name}", PATIENCE_S)


def result_folder(run: Path) -> Path:
    (found,) = run.glob("final/*/*/run-0")
    return found


def pid_of_rank(job: str, rank: int) -> int:
    """The training process of that rank."""
    marks = {f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}", "SLURM_STEP_NUM_TASKS=4"}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found = set((entry / "environ").read_text(errors="replace").split("\0"))
                is_training = "final" in (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if marks <= found and is_training:
                return int(entry.name)
    raise AssertionError(f"job {job} has no rank {rank}")
