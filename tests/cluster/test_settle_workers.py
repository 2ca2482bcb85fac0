"""Where workers run and how many: never trainings on a login node that were meant for a cluster."""

import os
from pathlib import Path

import pytest

from hpcnas.cluster import launch
from hpcnas.cluster.launch import SLURM_OPTIONS, settle_workers
from hpcnas.config import ClusterConfig
from hpcnas.errors import UsageError
from tests.processes import hpcnas

CORES = len(os.sched_getaffinity(0))


@pytest.fixture(params=[True, False], ids=["sbatch answers", "no sbatch"])
def answers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(launch, "slurm_answers", lambda: request.param)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(launch, "visible_gpus", lambda: [])
    return bool(request.param)


@pytest.mark.parametrize("name", SLURM_OPTIONS)
def test_an_option_of_slurm_is_refused_where_workers_would_run_here(answers: bool, name: str) -> None:
    value = ("gres=gpu:1",) if name == "slurm" else "8:00:00"
    with pytest.raises(UsageError, match=rf"--{name}.*--cluster local"):
        settle_workers(ClusterConfig(cluster="local", **{name: value}), is_asked=False)
    auto = ClusterConfig(cluster="auto", workers=1, **{name: value})
    if answers:
        assert settle_workers(auto, is_asked=True) == auto
    else:
        with pytest.raises(UsageError, match=rf"--{name}.*sbatch does not answer"):
            settle_workers(auto, is_asked=True)


def test_nobodys_number_of_workers_is_what_fits_this_machine(answers: bool) -> None:
    assert settle_workers(ClusterConfig(cluster="local"), is_asked=False).workers == CORES
    assert settle_workers(ClusterConfig(), is_asked=False).workers == (200 if answers else CORES)


def test_more_workers_than_fit_are_started_here_only_if_both_were_asked_for(answers: bool) -> None:
    many = CORES + 1
    assert settle_workers(ClusterConfig(cluster="local", workers=many), is_asked=True).workers == many
    if not answers:
        with pytest.raises(UsageError, match=f"--workers {many} is more than the {CORES} that fit.*--cluster local"):
            settle_workers(ClusterConfig(workers=many), is_asked=True)


def test_one_worker_for_each_gpu_that_is_there(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "visible_gpus", lambda: ["0", "1", "2", "3"])
    assert settle_workers(ClusterConfig(cluster="local", gpus_per_worker=2), is_asked=False).workers == 2
    assert settle_workers(ClusterConfig(cluster="local", gpus_per_worker=0), is_asked=False).workers == CORES


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_no_preset_chooses_the_machine(tmp_path: Path, preset: str) -> None:
    done = hpcnas("head", "--preset", preset, "--partition", "gpu", "--fitness", "synthetic", "--run", "run", cwd=tmp_path)
    assert (done.returncode, "--partition" in done.stderr, "--cluster local" in done.stderr) == (2, True, True)
    assert list(tmp_path.iterdir()) == []
