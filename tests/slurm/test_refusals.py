"""What Slurm or hpcnas refuses, in one sentence, and the limits that a launcher keeps to by itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.cluster import launch
from hpcnas.cluster.launch import make_launcher
from hpcnas.cluster.slurm.arrays import SlurmLauncher
from hpcnas.config import RunConfig
from hpcnas.errors import ClusterError, UsageError
from hpcnas.run_folder import RunFolder
from tests.slurm.conftest import CONFIG, enter, require
from tests.slurm.starter import Cluster

pytestmark = pytest.mark.usefixtures("tasks_that_wait")


@pytest.mark.parametrize("limits", [{"max_array_size": 3}, {"max_array_tasks": 3}])
def test_arrays_are_split_at_the_largest_that_slurm_takes(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
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


def test_without_slurm_the_choice_of_slurm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = RunConfig(cluster=replace(CONFIG, cluster="slurm"))
    with pytest.raises(ClusterError, match="--cluster slurm, but the command sbatch is not there"):
        make_launcher(RunFolder(tmp_path), config)
    assert not isinstance(launch.make_launcher(RunFolder(tmp_path), RunConfig()), SlurmLauncher)
