"""The clusters of these tests: started once, never a real one, skipped with the reason where Slurm cannot run.

With HPCNAS_REQUIRE_SLURM=1, as in CI, a missing Slurm is a failure.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcnas.cluster.slurm import arrays, batch
from hpcnas.cluster.slurm.arrays import SlurmLauncher
from hpcnas.config import ClusterConfig
from hpcnas.run_folder import RunFolder
from tests.slurm import tasks
from tests.slurm.starter import Cluster, missing

HERE = Path(__file__).parent
CONFIG = ClusterConfig(workers=4, partition="gpu", cpus_per_worker=1, time="10")
StandIn = Callable[[str, str], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            # One worker of pytest-xdist runs them all: a cluster belongs to one process.
            item.add_marker(pytest.mark.xdist_group("slurm"))


def require(accounting: bool = False) -> None:
    """Skip where no cluster can be started; fail there when HPCNAS_REQUIRE_SLURM=1."""
    reason = missing(accounting)
    if reason and os.environ.get("HPCNAS_REQUIRE_SLURM") == "1":
        pytest.fail(f"HPCNAS_REQUIRE_SLURM=1, but {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    """Two nodes of two GPUs, with accounting."""
    require(accounting=True)
    cluster = Cluster(nodes=2, gpus=2, accounting=True).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def plain() -> Iterator[Cluster]:
    """Two nodes of two GPUs, without accounting: sacct fails."""
    require()
    cluster = Cluster(nodes=2, gpus=2).start()
    yield cluster
    cluster.stop()


@pytest.fixture
def heads() -> Iterator[list[subprocess.Popen[str]]]:
    """Heads that a test starts; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for head in started:
        head.kill()
        head.wait()


@pytest.fixture
def on_plain(plain: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """This process, and what it starts, sees the cluster without accounting, and leaves no job on it."""
    return enter(plain, monkeypatch)


@pytest.fixture
def on_accounted(accounted: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """This process, and what it starts, sees the cluster with accounting, and leaves no job on it."""
    return enter(accounted, monkeypatch)


def enter(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Point this process at `cluster`, emptied of jobs."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH"))]:
        monkeypatch.delenv(name)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    cluster.run("scancel", "--user=root")
    cluster.wait_until(lambda: not cluster.squeue(), "no job is left")
    return cluster


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """The run whose workers a launcher starts."""
    return RunFolder(tmp_path)


@pytest.fixture
def tasks_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks do nothing until a signal comes, and squeue may be asked at any time."""
    for module in (arrays, batch):
        monkeypatch.setattr(module, "run_task", tasks.wait_for_signal)
    monkeypatch.setenv("HPCNAS_SQUEUE_S", "0")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
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
    """What the tasks wrote of their environment, once so many have begun."""
    seen = folder.path / "seen"
    cluster.wait_until(lambda: len(list(seen.glob(f"*-{restarts}.env"))) >= count, f"{count} tasks started")
    return sorted(seen.glob(f"*-{restarts}.env"))
