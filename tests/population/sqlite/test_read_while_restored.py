"""Reading a run of which the database is being restored, or of which the restore was cut off."""

import os
import threading
import time
from pathlib import Path

import pytest

from hpcnas.errors import DamagedRunError
from hpcnas.population import faultpoints
from hpcnas.population.queries import Population
from hpcnas.population.restore import is_sound, restore
from hpcnas.population.sqlite import reader
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.run_folder import RunFolder
from tests.population.workload import Workload


@pytest.fixture
def searched(folder: RunFolder, store: SQLiteStore) -> RunFolder:
    """A run with some evaluated genotypes, which no head holds."""
    store.begin_epoch()
    Workload(folder).run(store, store)
    store.close()
    return folder


def test_a_reader_waits_while_a_restore_puts_the_database_in_place(
    searched: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the run for damaged when it came between the two renames."""
    rename = faultpoints.rename
    seen: list[int] = []

    def read_meanwhile(source: Path, target: Path) -> None:
        reader = threading.Thread(target=lambda: seen.append(_evaluated(searched)))
        if target == searched.database:
            reader.start()
            time.sleep(0.3)
        rename(source, target)
        if target == searched.database:
            reader.join()

    monkeypatch.setattr(faultpoints, "rename", read_meanwhile)
    restore(searched)
    assert seen == [_evaluated(searched)]


def test_a_restore_that_was_cut_off_leaves_a_run_that_the_next_one_restores(
    searched: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "RETRY_FOR_S", 0.2)
    evaluated = _evaluated(searched)
    os.rename(searched.database, searched.path / "population.db.restored")
    with pytest.raises(DamagedRunError, match="a restore of it was cut off"):
        Population.open(searched)
    assert not is_sound(searched)
    restore(searched)
    assert _evaluated(searched) == evaluated


def _evaluated(folder: RunFolder) -> int:
    with Population.open(folder) as population:
        return population.counts().evaluated
