"""The full-size job scripts through sbatch, on two nodes, with gloo on CPUs."""

import json
import os
import re
import shutil
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
    settings = {"HPCNAS_DATASET": "digits", "HPCNAS_ARGS": f"{TINY} --steps 40 --batch 32"}
    calm = submit(on_plain, tmp_path, "final_cifar10.sh", "calm", *FOUR_RANKS, **settings)
    on_plain.wait_until(lambda: not on_plain.squeue(), "the undisturbed job is done", PATIENCE_S)

    job = submit(on_plain, tmp_path, "final_cifar10.sh", "disturbed", *FOUR_RANKS, **settings)
    log = tmp_path / f"hpcnas-final-cifar10-{job}.log"
    wait_for(on_plain, log, r"step 3/40")
    on_plain.run("scontrol", "requeue", job)
    wait_for(on_plain, log, r"goes on at step \d+ of 40")
    wait_for(on_plain, log, r"step 7/40")
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


@pytest.mark.timeout(1200)
def test_last_task_of_an_array_is_requeued_alone(on_plain: Cluster, tmp_path: Path) -> None:
    """Its id is the array's own. Once its rank is killed, which the script sees, and once the time limit nears."""
    settings = {"HPCNAS_DATASET": "digits", "HPCNAS_ARGS": f"{TINY.replace('--runs 1', '--runs 2')} --steps 60 --batch 16"}
    settings["SLURM_RESTART_COUNT"] = "9"  # of an outer job: not a reason to give up
    array = submit(on_plain, tmp_path, "final_cifar10.sh", "array", "--array=0-1%1", "--output=task-%a.log", **settings)
    first, last = tmp_path / "task-0.log", tmp_path / "task-1.log"
    wait_for(on_plain, last, r"step 2/60")
    assert f"{array} {array}_1 RUNNING" in on_plain.squeue(form="%A %i %T")
    os.kill(pid_of_rank(array, 0, ranks=1), signal.SIGKILL)
    wait_for(on_plain, last, rf"a rank was killed \(status 137\): requeueing job {array}_1,")
    wait_for(on_plain, last, r"(?s)requeueing.* step 2/60")
    on_plain.run("scancel", "--signal=USR2", f"{array}_1")
    wait_for(on_plain, last, r"SIGUSR2 stopped the training at step")
    on_plain.wait_until(lambda: not on_plain.squeue(), "the array is done", PATIENCE_S)
    assert "goes on at step" in last.read_text()
    for log in (first, last):
        assert log.read_text().count("error ") == 1, log.read_text()  # ended once: the first task was not started again


@pytest.mark.timeout(600)
def test_variables_of_the_site_and_of_an_outer_job_reach_neither_script_nor_ranks(on_plain: Cluster, tmp_path: Path) -> None:
    """A site exports nothing; the submitting shell is a task of another array with options for srun that contradict ours."""
    arguments = f"{TINY} --steps 2 --batch 16"
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/env.sh").write_text(
        f"export PATH='{JOBS.parent / '.venv/bin'}':$PATH HPCNAS_RUN='{tmp_path / 'mine'}' HPCNAS_GENOTYPE=published\n"
        f"export HPCNAS_DATASET=digits HPCNAS_ARGS='{arguments}' OMP_NUM_THREADS=1\n"
    )
    outer = {
        **{"SBATCH_EXPORT": "NONE", "SLURM_EXPORT_ENV": "NONE", "SRUN_EXPORT_ENV": "NONE", "SLURM_MEM_PER_CPU": "100"},
        **{"SLURM_GPUS_PER_TASK": "2", "SLURM_CPU_BIND": "map_cpu:99", "SLURM_HINT": "nomultithread", "SLURM_NTASKS": "7"},
        **{"SLURM_ARRAY_JOB_ID": "99999", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "99998", "SRUN_CPUS_PER_TASK": "7"},
    }
    job = submit(on_plain, tmp_path, "final_cifar10.sh", "unused", "--mem=500M", "--cpus-per-task=1", HPCNAS_JOBS="", **outer)
    on_plain.wait_until(lambda: not on_plain.squeue(), "the job is done", PATIENCE_S)
    log = (tmp_path / f"hpcnas-final-cifar10-{job}.log").read_text()
    assert "sbatch passed no HPCNAS_* on: set them in" in log
    assert (tmp_path / "mine").is_dir(), log
    assert json.loads((result_folder(tmp_path / "mine") / "result.json").read_text())["world_size"] == 1


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


@pytest.mark.timeout(600)
def test_rank_that_does_not_see_the_gpu_of_its_job_refuses(on_plain: Cluster, tmp_path: Path) -> None:
    """The test's GPUs are pretended; nothing is trained on the CPU, and the job is not requeued."""
    arguments = f"{TINY.replace('--device cpu', '')} --steps 1 --batch 16"
    settings = {"HPCNAS_DATASET": "digits", "HPCNAS_ARGS": arguments}
    job = submit(on_plain, tmp_path, "final_cifar10.sh", "blind", "--cpus-per-task=1", **settings)
    on_plain.wait_until(lambda: not on_plain.squeue(), "the job is done", PATIENCE_S)
    log = (tmp_path / f"hpcnas-final-cifar10-{job}.log").read_text()
    assert "gave this process a GPU (CUDA_VISIBLE_DEVICES=0) but torch sees none: " in log
    assert list((tmp_path / "blind").glob("final/*/*")) == []


@pytest.mark.timeout(600)
def test_imagenet_script_submits_itself_with_the_gpus_of_a_node(on_plain: Cluster, tmp_path: Path) -> None:
    """Nodes of two: refused with one sentence for eight; taken, with a rank for each, once env.sh names two."""
    write_image_folder(tmp_path / "data", classes=2, train=6, val=2)
    shutil.copytree(JOBS, tmp_path / "jobs")
    environment = {**on_plain.environment, "PATH": f"{JOBS.parent / '.venv/bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"HPCNAS_RUN": str(tmp_path / "run"), "HPCNAS_GENOTYPE": "published", "HPCNAS_DATA": str(tmp_path / "data")}
    environment |= {"HPCNAS_ARGS": f"{TINY} --steps 1 --batch 8 --crop 48", "SBATCH_EXPORT": "NONE"}
    command = ["bash", "jobs/final_imagenet.sh", "--cpus-per-task=1"]

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    refused = start()
    assert refused.returncode == 4
    assert "Slurm refused it with 8 GPUs a node; if its nodes have fewer (see `hpcnas doctor`), set" in refused.stderr
    site = tmp_path / "jobs/env.sh"
    site.write_text(site.read_text().replace("${HPCNAS_GPUS_PER_NODE-}", "${HPCNAS_GPUS_PER_NODE-2}"))
    taken = start()
    assert taken.returncode == 0, taken.stderr
    on_plain.wait_until(lambda: not on_plain.squeue(), "the job is done", PATIENCE_S)
    assert json.loads((result_folder(tmp_path / "run") / "result.json").read_text())["world_size"] == 2


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


def pid_of_rank(job: str, rank: int, ranks: int = 4) -> int:
    """The training process of that rank."""
    marks = {f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}", f"SLURM_STEP_NUM_TASKS={ranks}"}
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
