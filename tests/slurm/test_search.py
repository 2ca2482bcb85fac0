"""Whole searches through `python -m hpcnas.head` on a real Slurm: real training, and faults while it runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import State
from hpcnas.run_folder import RunFolder
from tests.slurm.conftest import enter, require
from tests.slurm.faults import Commands, Faults
from tests.slurm.starter import Cluster
from tests.slurm.watching import Watch, evaluated, head_output, start_head

Heads = list[subprocess.Popen[str]]


def assert_sound(run: Path, steps: int) -> None:
    """The invariants hold, the number is exact, no genotype was blamed for a fault of the machines."""
    with Population.open(run) as population:
        assert check_invariants(population) == []
        individuals = population.individuals()
        assert population.counts().evaluated == steps, head_output(run)
        assert [one for one in individuals if one.state is State.FAILED] == []
        assert sum(one.errors for one in individuals) == 0, population.attempts()
        rows = [(row.individual_id, row.repeat) for row in population.fitness_rows()]
        assert len(rows) == len(set(rows))
    assert check_database(RunFolder(run)) == []


def test_real_training_on_two_nodes_of_two_gpus(on_accounted: Cluster, tmp_path: Path, heads: Heads) -> None:
    run = tmp_path / "run"
    head = start_head(
        on_accounted,
        run,
        *("--workers", "4", "--partition", "gpu", "--cpus-per-worker", "1", "--setup", "export OMP_NUM_THREADS=1"),
        *("--steps", "40", "--population", "10", "--repeats", "1", "--channels", "2"),
        *("--fitness", "tests.slurm.training:on_digits"),
    )
    heads.append(head)
    assert head.wait(110) == 0, head_output(run)
    assert_sound(run, 40)
    with Population.open(run) as population:
        workers = population.workers()
        told = {(worker.host, worker.device) for worker in workers}
        assert told == {("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")}, "each its own GPU, as Slurm gave it"
        assert len({row.accuracy for row in population.fitness_rows()}) > 10, "really trained"
        assert len({row.worker_id for row in population.attempts()}) == 4, "all four worked"
    on_accounted.wait_until(lambda: not on_accounted.squeue(), "no worker is left: Slurm still clears up after them")


@pytest.fixture
def stormy() -> Iterator[Cluster]:
    """Four nodes of two GPUs, for faults: what is drained and restarted is nobody else's."""
    require()
    cluster = Cluster(nodes=4, gpus=2).start()
    yield cluster
    cluster.stop()


@pytest.mark.timeout(240)
def test_a_search_survives_what_happens_on_clusters(
    stormy: Cluster, tmp_path: Path, heads: Heads, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every fault once, in a partition whose limit is one minute; then the exact number, nobody blamed, no GPU forgotten."""
    run, steps, workers = tmp_path / "run", 420, 8
    (tmp_path / "hurry.toml").write_text("[cluster]\nlease_s = 20.0\nheartbeat_s = 1.0\n")
    commands = Commands(tmp_path / "bin")
    command = ("--config", str(tmp_path / "hurry.toml"), "--workers", str(workers), "--partition", "short")
    work = ("--cpus-per-worker", "1", "--fitness", "synthetic:1", "--repeats", "2", "--steps", str(steps), "--population", "40")

    def start() -> None:
        if heads:
            heads[-1].kill()
            heads[-1].wait()
        heads.append(start_head(stormy, run, *command, *work, HPCNAS_SQUEUE_S="5", PATH=commands.path(stormy)))

    start()
    faults = Faults(stormy, run, commands, start).all()
    with Watch(stormy, workers) as watch:
        stormy.wait_until(lambda: evaluated(run) > 8, "the search is under way")
        for number, fault in enumerate(faults, start=1):
            goal = 8 + number * 40
            fault()
            stormy.wait_until(lambda goal=goal: evaluated(run) >= goal, f"{goal} genotypes after {fault.__name__}")
        stormy.wait_until(lambda: evaluated(run) >= steps - workers, "nearly all genotypes")
        busy_until_s = watch.moments[-1].at_s
        assert heads[-1].wait(60) == 0, head_output(run)
    assert_sound(run, steps)
    unattended = watch.longest_unattended_s(busy_until_s)
    with Population.open(run) as population:
        reasons = {worker.end_reason for worker in population.workers()}
    with capsys.disabled():
        print(f"\nlongest time in which a free GPU waited for nothing: {unattended:.0f} s of {busy_until_s:.0f} s")
    assert unattended < 60
    assert {"terminated", "time limit or preemption"} <= reasons, reasons
    assert len(list((run / "slurm").iterdir())) < 1000


def assert_refused(cluster: Cluster, run: Path, options: list[str], code: int, says: str) -> None:
    """A head with these options ends with one sentence, no run and no job."""
    command = [sys.executable, "-m", "hpcnas.head", "--run", str(run), "--fitness", "synthetic", *options]
    ended = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert says in ended.stderr
    assert not list(run.parent.glob(f"*{run.name}*"))
    assert cluster.squeue() == []


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--partition", "nowhere"], 4, "--partition nowhere must be one of: gpu, short, urgent"),
        (["--gpus-per-worker", "9"], 4, "no node has so many --gpus-per-worker"),
        (["--time", "soon"], 2, "--time soon must be"),
        (["--slurm", "array=1"], 2, "hpcnas sets array itself"),
    ],
)
def test_a_refused_head_leaves_no_half_made_run(
    on_plain: Cluster, tmp_path: Path, options: list[str], code: int, says: str
) -> None:
    assert_refused(on_plain, tmp_path / "run", options, code, says)


def test_an_account_that_may_submit_fewer_jobs_is_told_so(on_accounted: Cluster, tmp_path: Path) -> None:
    """The limit is one of the QOS, and nothing of the run is made."""
    modify = ("sacctmgr", "--immediate", "modify", "qos", "normal", "set")
    on_accounted.run(*modify, "MaxSubmitJobsPerUser=3")
    try:
        test = ("sbatch", "--test-only", "--array=0-3", "--wrap=true")
        on_accounted.wait_until(lambda: on_accounted.run(*test, check=False).returncode != 0, "slurmctld knows the limit")
        assert_refused(on_accounted, tmp_path / "run", ["--workers", "4"], 4, "QOSMaxSubmitJobPerUserLimit")
    finally:
        on_accounted.run(*modify, "MaxSubmitJobsPerUser=-1")


@pytest.mark.parametrize(
    ("largest", "broken", "says"),
    [
        (0, "", "job arrays are switched off there (MaxArraySize 0)"),
        (3, "scontrol", "lower --workers: Slurm takes no array of that size"),  # scontrol fails: its limit is not known
    ],
)
def test_an_array_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int, broken: str, says: str
) -> None:
    require()
    small = Cluster(nodes=1, gpus=2, max_array_size=largest).start()
    try:
        enter(small, monkeypatch)
        if broken:
            (tmp_path / "bin").mkdir()
            (tmp_path / "bin" / broken).symlink_to("/bin/false")
            monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        assert_refused(small, tmp_path / "run", ["--workers", "4"], 4, says)
    finally:
        small.stop()


def test_stop_cancel_without_a_head_ends_the_workers(on_plain: Cluster, tmp_path: Path, heads: Heads) -> None:
    run = tmp_path / "run"
    options = ("--workers", "2", "--partition", "gpu", "--cpus-per-worker", "1", "--fitness", "synthetic:1", "--steps", "500")
    head = start_head(on_plain, run, *options, HPCNAS_SQUEUE_S="5")
    heads.append(head)
    on_plain.wait_until(lambda: evaluated(run) >= 2, "the search is under way")
    head.kill()
    head.wait()
    stop = [sys.executable, "-m", "hpcnas", "stop", "--cancel", "--run", str(run)]
    ended = subprocess.run(stop, env=on_plain.environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "asked 2 workers to end" in ended.stdout
    on_plain.wait_until(lambda: not on_plain.squeue(), "the workers are gone", 30)
