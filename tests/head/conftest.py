"""A clock that a test moves, and small runs with synthetic fitness."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.head import breeder
from hpcnas.head.create import create_run
from hpcnas.population import open_store
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def patient_breeder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A genotype is bred at once, also on a busy machine: the breeder's limit is of real time."""
    monkeypatch.setattr(breeder, "PROMPT_S", 60.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def config() -> RunConfig:
    return RunConfig.from_dict(
        {
            "search": {"steps": 12, "population": 4},
            "recipe": {"fitness": "synthetic", "repeats": 2, "channels": 4},
            "cluster": {"workers": 1, "cluster": "local"},
        }
    )


@pytest.fixture
def folder(tmp_path: Path, config: RunConfig) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    create_run(folder, config)
    return folder


@pytest.fixture
def store(folder: RunFolder, config: RunConfig) -> Iterator[Store]:
    store = open_store(folder, config)
    store.begin_epoch()
    yield store
    store.close()
