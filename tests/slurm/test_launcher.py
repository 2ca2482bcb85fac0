"""The Slurm launcher against a real Slurm: submit, watch, signal, replace, prune."""

import json
import os
import stat
import textwrap
from dataclasses import replace

import pytest

from hpcnas.cluster import arrays
from hpcnas.cluster.arrays import SlurmLauncher
from hpcnas.cluster.launch import make_launcher
from hpcnas.config import RunConfig
from hpcnas.run_folder import RunFolder
from tests.slurm.conftest import CONFIG, answer, started
from tests.slurm.starter import Cluster

pytestmark = pytest.mark.usefixtures("tasks_that_wait")


def test_an_array_runs_and_is_found_again_by_another_launcher(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = make_launcher(folder, RunConfig(cluster=CONFIG))
    assert isinstance(launcher, SlurmLauncher), "auto means Slurm where sbatch answers"
    names = launcher.submit(4)
    assert launcher.alive() == dict.fromkeys(names, "PENDING")
    started(folder, on_plain, 4)
    by_a_link = folder.path.with_name("link")
    by_a_link.symlink_to(folder.path)
    later = SlurmLauncher(RunFolder(by_a_link), CONFIG)
    assert later.alive() is None, "before the first answer of squeue nothing is known"
    assert answer(later) == dict.fromkeys(names, "RUNNING")
    assert later.cancel() == 4
    on_plain.wait_until(lambda: answer(later) == {}, "the cancelled tasks are gone")


def test_tasks_get_the_heads_options_and_nothing_of_an_outer_job(
    on_plain: Cluster, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "999")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    monkeypatch.setenv("SBATCH_PARTITION", "urgent")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    config = replace(CONFIG, cpus_per_worker=2, mem="100M", exclude="n2", setup=("export SITE='a b'",), slurm=("nice=7",))
    launcher = SlurmLauncher(folder, config)
    (name,) = launcher.submit(1)
    (path,) = started(folder, on_plain, 1)
    seen = json.loads(path.read_text())
    assert seen["SITE"] == "a b"
    assert seen["SLURM_JOB_PARTITION"] == "gpu"
    assert seen["SLURM_CPUS_PER_TASK"] == seen["SLURM_CPUS_ON_NODE"] == "2"
    assert seen["SLURM_MEM_PER_NODE"] == "100"
    assert seen["SLURMD_NODENAME"] == "n1"
    assert seen["SLURM_JOB_ID"] != "999"
    assert seen["SLURM_CONF"] == os.environ["SLURM_CONF"]
    assert seen["HPCNAS_TIME_LIMIT_S"] == "600"
    assert seen["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    job = on_plain.run("scontrol", "show", "job", name).stdout
    assert "Requeue=1" in job
    assert "Nice=7" in job
    assert "TimeLimit=00:10:00" in job


def test_every_task_gets_one_gpu_of_its_own(on_plain: Cluster, folder: RunFolder) -> None:
    SlurmLauncher(folder, CONFIG).submit(4)
    seen = [json.loads(path.read_text()) for path in started(folder, on_plain, 4)]
    assert sorted((task["SLURMD_NODENAME"], task["CUDA_VISIBLE_DEVICES"]) for task in seen) == [
        ("n1", "0"),
        ("n1", "1"),
        ("n2", "0"),
        ("n2", "1"),
    ]
    assert all(task["CUDA_VISIBLE_DEVICES"] == task["SLURM_STEP_GPUS"] for task in seen)


@pytest.mark.parametrize("how", ["scancel", "requeue", "preempt"])
def test_one_event_is_one_signal_to_the_worker(on_plain: Cluster, folder: RunFolder, how: str) -> None:
    launcher = SlurmLauncher(folder, replace(CONFIG, exclude="n2", gpus_per_worker=2))
    (name,) = launcher.submit(1)
    started(folder, on_plain, 1)
    if how == "preempt":
        on_plain.run("sbatch", "-p", "urgent", "-w", "n1", "--gpus-per-node=2", "--wrap", "sleep 3", "-o", "/dev/null")
    else:
        on_plain.run(*{"scancel": ("scancel", name), "requeue": ("scontrol", "requeue", name)}[how])
    notes = folder.path / f"seen/{name}-0.signals"
    on_plain.wait_until(notes.exists, "the worker has left")
    seen = json.loads(notes.read_text())
    assert seen[0][0] == {"scancel": "SIGTERM", "requeue": "SIGTERM", "preempt": "SIGUSR2"}[how]
    if how == "requeue":
        assert list(answer(launcher) or {}) == [name], "a requeued task keeps its name"
        started(folder, on_plain, 1, restarts=1)
        assert json.loads((folder.path / f"seen/{name}-1.env").read_text())["SLURM_RESTART_COUNT"] == "1"


def test_a_short_time_limit_leaves_time_to_work_before_the_signal(on_plain: Cluster, folder: RunFolder) -> None:
    """With submitit's 90 s the signal of a one-minute job would come before its first genotype."""
    script = SlurmLauncher(folder, replace(CONFIG, partition="short", time="")).script(1)
    assert "--signal=USR2@5" in script
    assert "HPCNAS_TIME_LIMIT_S=60" in script


def test_a_worker_that_left_is_replaced_before_squeue_is_asked(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(2)
    started(folder, on_plain, 2)
    launcher.forget(names[0])
    assert launcher.alive() == {names[1]: "PENDING"}
    assert answer(launcher) == {names[1]: "RUNNING"}, "squeue is behind the worker's own word"


def test_quarantined_nodes_get_no_more_workers(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    launcher.exclude(["n1", "no-node-of-this-cluster"])
    launcher.submit(2)
    assert {json.loads(path.read_text())["SLURMD_NODENAME"] for path in started(folder, on_plain, 2)} == {"n2"}


def test_the_folder_of_ended_arrays_is_pruned(on_plain: Cluster, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcnas.cluster.pruning.KEPT_LOGS", 3)
    launcher = SlurmLauncher(folder, CONFIG)
    for _ in range(2):
        launcher.submit(4)
        started(folder, on_plain, 4)
        launcher.cancel()
        on_plain.wait_until(lambda: not on_plain.squeue(), "the tasks are gone")
        (seen := folder.path / "seen").rename(seen.with_name(f"seen-{len(list(folder.path.iterdir()))}"))
    for _ in range(arrays.LOOKS_TO_END):
        answer(launcher)
    launcher.prune()
    assert len([path for path in folder.slurm.iterdir() if path.name.endswith("_log.out")]) == 3
    assert len(list(folder.slurm.iterdir())) == 4, "the ledger stays"


def test_script_and_pickles_do_not_know_the_secret(on_plain: Cluster, folder: RunFolder) -> None:
    secret = "5ec3e7" * 10
    folder.secret.write_text(secret)
    folder.secret.chmod(stat.S_IRUSR)
    launcher = SlurmLauncher(folder, CONFIG)
    launcher.submit(1)
    (path,) = started(folder, on_plain, 1)
    assert secret not in launcher.script(1)
    for file in [*folder.slurm.iterdir(), path]:
        assert secret.encode() not in file.read_bytes(), file


def test_the_dry_run_is_the_script_that_is_submitted(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    (name, _) = launcher.submit(2)
    sent = on_plain.run("scontrol", "write", "batch_script", name.split("_")[0], "-").stdout
    entry = launcher._ledger.open("slurm")[0]
    assert sent.strip() == launcher.script(2).replace("INTENT", entry.intent).strip()
    assert textwrap.dedent(sent).startswith("#!/bin/bash")
