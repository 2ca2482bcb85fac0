"""A run with a SQLite file, and how it is destroyed."""

from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.run_folder import RunFolder
from tests.population.conftest import make_folder


def destroy(folder: RunFolder) -> None:
    """Overwrite the database and remove its WAL, as a failed disk does."""
    folder.database.write_bytes(b"lightning " * 5000)
    for path in folder.path.glob("population.db-*"):
        path.unlink()


@pytest.fixture
def folder(memory_path: Path, config: RunConfig) -> RunFolder:
    return make_folder(memory_path / "run", config)


@pytest.fixture
def store(folder: RunFolder, config: RunConfig) -> SQLiteStore:
    return SQLiteStore.create(folder, config, backup_s=None)
