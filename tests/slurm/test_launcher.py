"""The Slurm launcher against a real Slurm: submit, watch, cancel, and what happens when answers are lost."""

import errno
import json
import os
import stat
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.cluster import arrays, batch, launch
from hpcnas.cluster.arrays import SlurmLauncher
from hpcnas.cluster.launch import make_launcher
from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import ClusterError, UsageError
from hpcnas.run_folder import RunFolder
from tests.slurm import tasks
from tests.slurm.starter import Cluster

CONFIG = ClusterConfig(workers=4, partition="gpu", cpus_per_worker=1, time="10")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture(autouse=True)
def _tasks_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arrays, batch):
        monkeypatch.setattr(module, "run_task", tasks.wait_for_signal)
    monkeypatch.setenv("HPCNAS_SQUEUE_S", "0")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:  # type: ignore[type-arg]
    """Put a script in the place of one of Slurm's commands; `$REAL` in it is the command's true path."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()

    def put(command: str, text: str) -> Path:
        path = bin_folder / command
        path.write_text(f"#!/bin/bash\nREAL=/usr/bin/{command}\n{text}\n")
        path.chmod(0o755)
        return path

    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    return put


def answer(launcher: SlurmLauncher) -> dict[str, str] | None:
    """What squeue says now: the launcher asks in the background."""
    for _ in range(2):  # a question that is under way already may be answered by the past
        if launcher._poll is not None:
            launcher._poll.join()
        said = launcher.alive()
    return said


def started(folder: RunFolder, cluster: Cluster, count: int, restarts: int = 0) -> list[Path]:
    seen = folder.path / "seen"
    cluster.wait_until(lambda: len(list(seen.glob(f"*-{restarts}.env"))) >= count, f"{count} tasks started")
    return sorted(seen.glob(f"*-{restarts}.env"))


def test_an_array_runs_and_is_found_again_by_another_launcher(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = make_launcher(folder, RunConfig(cluster=CONFIG))
    assert isinstance(launcher, SlurmLauncher), "auto means Slurm where sbatch answers"
    names = launcher.submit(4)
    assert launcher.alive() == dict.fromkeys(names, "PENDING")
    started(folder, on_plain, 4)
    later = SlurmLauncher(folder, CONFIG)
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


@pytest.mark.parametrize("limits", [{"max_array_size": 3}, {"max_array_tasks": 3}])
def test_arrays_are_split_at_the_largest_that_slurm_takes(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    from tests.slurm.conftest import enter, require

    require()
    small = Cluster(nodes=1, gpus=2, **limits).start()
    try:
        enter(small, monkeypatch)
        launcher = SlurmLauncher(folder, CONFIG)
        launcher.check(7)
        names = launcher.submit(7)
        assert [name.split("_")[1] for name in names] == ["0", "1", "2", "0", "1", "2", "0"]
        assert len(set(names)) == 7
        assert len(small.squeue()) == 7
    finally:
        small.stop()


def test_an_answer_lost_after_the_submission_starts_nothing_twice(on_plain: Cluster, folder: RunFolder, stand_in) -> None:  # type: ignore[no-untyped-def]
    stand_in("sbatch", '$REAL "$@" >/dev/null; echo "sbatch: error: Batch job submission failed: Socket timed out" >&2; exit 1')
    names = SlurmLauncher(folder, CONFIG).submit(3)
    assert sorted(line.split()[0] for line in on_plain.squeue()) == sorted(names)
    assert len(names) == 3
    started(folder, on_plain, 3)  # they found their pickles


def test_a_head_killed_between_submission_and_answer_finds_its_tasks(on_plain: Cluster, folder: RunFolder, stand_in) -> None:  # type: ignore[no-untyped-def]
    first = SlurmLauncher(folder, CONFIG)
    first._ledger.new("slurm", 2)
    entry = first._ledger.open("slurm")[0]
    executor = first._executor(entry.intent)
    script = folder.slurm / "lost.sh"
    script.write_text(executor.script(2))
    on_plain.run("sbatch", str(script))  # and the head dies here
    later = SlurmLauncher(folder, CONFIG)
    on_plain.wait_until(lambda: len(answer(later) or {}) == 2, "the tasks are found")
    started(folder, on_plain, 2)


def test_while_a_submissions_fate_is_unknown_nothing_more_is_submitted(
    on_plain: Cluster, folder: RunFolder, stand_in, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(arrays, "SETTLE_S", 0.0)
    sbatch = stand_in(
        "sbatch", 'echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2; exit 1'
    )
    squeue = stand_in("squeue", "exit 1")
    launcher = SlurmLauncher(folder, CONFIG)
    assert launcher.submit(2) == []
    sbatch.unlink()
    assert answer(launcher) is None
    assert launcher.submit(2) == [], "squeue does not say whether the first came through"
    squeue.unlink()
    assert answer(launcher) == {}
    assert len(launcher.submit(2)) == 2


def test_a_hanging_sbatch_is_given_up_and_looked_up(
    on_plain: Cluster, folder: RunFolder, stand_in, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(batch, "SBATCH_TIMEOUT_S", 1.0)
    stand_in("sbatch", '$REAL "$@" >/dev/null; exec sleep 600')
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(2)
    assert sorted(line.split()[0] for line in on_plain.squeue()) == sorted(names)
    assert len(names) == 2


@pytest.mark.parametrize(
    "lie", ["exit 1", "echo garbage", "exec sleep 600", "kill -9 $$"], ids=["fails", "prints garbage", "hangs", "is killed"]
)
def test_a_squeue_that_gives_no_answer_is_unknown_and_holds_nobody_up(
    on_plain: Cluster,
    folder: RunFolder,
    stand_in,
    lie: str,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr("hpcnas.cluster.slurm.queue.__defaults__", (0.5,))
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(1)
    squeue = stand_in("squeue", lie)
    assert answer(launcher) is None
    with pytest.raises(ClusterError, match="does not answer squeue"):
        launcher.cancel()
    squeue.unlink()
    assert set(answer(launcher) or {}) == set(names)


def test_an_empty_answer_does_not_make_the_launcher_forget_its_tasks(on_plain: Cluster, folder: RunFolder, stand_in) -> None:  # type: ignore[no-untyped-def]
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(2)
    lie = stand_in("squeue", "exit 0")
    launcher._look()
    assert launcher.prune() == 0, "one such answer deletes nothing"
    lie.unlink()
    assert set(answer(launcher) or {}) == set(names)


def test_a_worker_that_left_is_replaced_before_squeue_is_asked(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(2)
    started(folder, on_plain, 2)
    launcher.forget(names[0])
    assert launcher.alive() == {names[1]: "PENDING"}
    assert answer(launcher) == {names[1]: "RUNNING"}, "squeue is behind the worker's own word"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"partition": "nowhere"}, "--partition nowhere must be one of: gpu, short, urgent"),
        ({"gpus_per_worker": 3}, "no node has so many --gpus-per-worker"),
        ({"mem": "500G"}, "no node has so many --gpus-per-worker"),
    ],
)
def test_what_slurm_would_refuse_is_one_sentence_before_anything_is_made(
    on_plain: Cluster, folder: RunFolder, change: dict[str, object], says: str
) -> None:
    launcher = SlurmLauncher(folder, replace(CONFIG, **change))  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match=r"^Slurm refused to start 4 workers: ") as refused:
        launcher.check(4)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(folder.path.iterdir()) == []
    with pytest.raises(ClusterError):
        launcher.submit(4)
    assert on_plain.squeue() == []


def test_a_time_that_the_partition_never_grants_is_refused(on_plain: Cluster, folder: RunFolder) -> None:
    """Slurm itself accepts it and leaves the job waiting for ever."""
    with pytest.raises(ClusterError, match="--time 02:00:00 is more than partition short allows; ask for at most 1 minutes"):
        SlurmLauncher(folder, replace(CONFIG, partition="short", time="02:00:00")).check(4)


def test_limits_of_accounts_and_qos_are_refused_in_one_sentence(on_accounted: Cluster, folder: RunFolder) -> None:
    run = on_accounted.run
    with pytest.raises(ClusterError, match="--account nobodys is not yours"):
        SlurmLauncher(folder, replace(CONFIG, account="nobodys")).check(4)
    with pytest.raises(ClusterError, match="--qos best is not yours"):
        SlurmLauncher(folder, replace(CONFIG, qos="best")).check(4)
    run("sacctmgr", "--immediate", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=3")
    try:
        test = ("sbatch", "--test-only", "--array=0-3", "--wrap=true")
        on_accounted.wait_until(lambda: run(*test, check=False).returncode != 0, "the limit is known to slurmctld")
        launcher = SlurmLauncher(folder, CONFIG)
        for refused in (launcher.check, launcher.submit):
            with pytest.raises(ClusterError, match=r"QOSMaxSubmitJobPerUserLimit.*ask for fewer --workers"):
                refused(4)
        assert len(launcher.submit(3)) == 3, "the refusal is remembered as one"
        SlurmLauncher(folder, CONFIG).check(1)  # a head that comes back to its workers is not refused for them
    finally:
        run("sacctmgr", "--immediate", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=-1")


def test_options_that_hpcnas_depends_on_cannot_be_overridden(on_plain: Cluster, folder: RunFolder) -> None:
    with pytest.raises(UsageError, match="--slurm array=0-9: hpcnas sets array itself"):
        SlurmLauncher(folder, replace(CONFIG, slurm=("array=0-9",))).script(1)


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


def test_without_slurm_the_choice_of_slurm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = RunConfig(cluster=replace(CONFIG, cluster="slurm"))
    with pytest.raises(ClusterError, match="--cluster slurm, but the command sbatch is not there"):
        make_launcher(RunFolder(tmp_path), config)
    assert not isinstance(launch.make_launcher(RunFolder(tmp_path), RunConfig()), SlurmLauncher)


def test_the_dry_run_is_the_script_that_is_submitted(on_plain: Cluster, folder: RunFolder) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    (name, _) = launcher.submit(2)
    sent = on_plain.run("scontrol", "write", "batch_script", name.split("_")[0], "-").stdout
    entry = launcher._ledger.open("slurm")[0]
    assert sent.strip() == launcher.script(2).replace("INTENT", entry.intent).strip()
    assert textwrap.dedent(sent).startswith("#!/bin/bash")


def test_a_full_disk_is_a_refusal_and_no_end_of_watching(
    on_plain: Cluster, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    (name,) = launcher.submit(1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("hpcnas.cluster.ledger.os.fsync", full)
        with pytest.raises(ClusterError, match="No space left on device"):
            launcher.submit(1)
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "_adopt", full)
        assert answer(launcher) is None
    assert set(answer(launcher) or {}) == {name}
