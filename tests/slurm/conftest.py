"""The clusters of these tests: started once, never a real one, skipped with the reason where Slurm cannot run.

With HPCNAS_REQUIRE_SLURM=1, as in CI, a missing Slurm is a failure.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.starter import Cluster, missing

HERE = Path(__file__).parent


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
