"""The results of full-size trainings enter the population of their run, now or by the outbox."""

import pytest

from hpcnas.config import RunConfig
from hpcnas.population import open_store
from hpcnas.population.outbox import merge_outbox
from hpcnas.population.queries import Population
from hpcnas.population.records import Final
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import head_lock
from tests.commands.conftest import command, tiny

pytestmark = pytest.mark.usefixtures("outside_of_slurm")


def finals(folder: RunFolder) -> list[Final]:
    with Population.open(folder) as population:
        return population.finals()


def test_record_setters_are_trained_and_enter_the_population(searched: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """best-so-far: individuals 1 and 3; their errors are rows of final, by their ids, without a head."""
    arguments = ["best-so-far", "--run", str(searched.path), "--channels", "2", "--cells", "1", "--steps", "1", "--batch", "16"]
    assert command(*arguments, "--runs", "1") == 0
    assert "recorded in the population" in capsys.readouterr().out
    rows = finals(searched)
    assert [(row.individual_id, row.dataset, row.run, row.channels) for row in rows] == [
        (1, "digits", 0, 2),
        (3, "digits", 0, 2),
    ]
    assert all(0 <= row.error_top1 <= 100 for row in rows)
    assert command(*arguments, "--runs", "1") == 0
    assert finals(searched) == rows
    assert not searched.lock.exists()


def test_result_waits_in_the_outbox_while_a_head_is_out_of_reach(
    searched: RunFolder, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A head holds the run but does not answer: nothing is lost, the next head merges it."""
    lock = head_lock(searched.lock)
    lock.acquire()
    assert command(*tiny(genotype_file, searched.path, "--runs", "1")) == 0
    assert "from where the next head takes it" in capsys.readouterr().out
    assert finals(searched) == []
    lock.release()
    store = open_store(searched, RunConfig())
    store.begin_epoch()
    assert merge_outbox(searched, store) == 1
    store.close()
    assert [row.individual_id for row in finals(searched)] == [None]
