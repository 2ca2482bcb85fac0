"""The results of full-size trainings enter the population of their run, now or by the outbox."""

import json
import threading
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.commands import final_record
from hpcnas.config import RunConfig
from hpcnas.population import open_store
from hpcnas.population.protocol.messages import FinalMessage
from hpcnas.population.protocol.outbox import merge_outbox, write_outbox
from hpcnas.population.queries import Population
from hpcnas.records import Final
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import LockFile, head_lock
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
    searched: RunFolder, genotype_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head holds the run but does not answer: nothing is lost, the next head merges it."""
    monkeypatch.setattr(final_record, "PATIENCE_S", 0.3)
    lock = head_lock(searched.lock)
    lock.acquire()
    assert command(*tiny(genotype_file, searched.path, "--runs", "1")) == 0
    assert "from where the next head or report takes it" in capsys.readouterr().out
    assert finals(searched) == []
    lock.release()
    store = open_store(searched, RunConfig())
    store.begin_epoch()
    assert merge_outbox(searched, store) == 1
    store.close()
    assert [row.individual_id for row in finals(searched)] == [None]


def final(run: int) -> Final:
    return Final(1, "d1", "cifar", 64, "cifar10", run, 3.5, None, 1000, 60.0, "1 x cpu", {})


def test_trainings_that_end_together_all_enter_the_population(searched: RunFolder) -> None:
    """Eight at once: each waits for the lock that another holds for a moment; none is left in the outbox."""
    together = threading.Barrier(8)
    told: list[str] = []

    def end(run: int) -> None:
        together.wait()
        told.append(final_record.deliver_final(searched, final(run)))

    threads = [threading.Thread(target=end, args=(run,)) for run in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["recorded in the population"] * 8
    assert [row.run for row in sorted(finals(searched), key=lambda row: row.run)] == list(range(8))


def test_training_that_is_told_to_stop_does_not_wait_for_the_lock(searched: RunFolder) -> None:
    lock = head_lock(searched.lock)
    lock.acquire()
    told = final_record.deliver_final(searched, final(0), is_stopping=lambda: True)
    lock.release()
    assert told.startswith("no head is in reach: left in ")


def test_next_training_takes_in_what_waits(searched: RunFolder) -> None:
    write_outbox(searched, FinalMessage(final(0)))
    assert final_record.deliver_final(searched, final(1)) == "recorded in the population"
    assert sorted(row.run for row in finals(searched)) == [0, 1]


@pytest.mark.parametrize("look", ["report", "status", "status --watch"])
def test_looking_at_a_run_without_a_head_takes_in_what_waits(searched: RunFolder, look: str) -> None:
    write_outbox(searched, FinalMessage(final(0)))
    assert main([*look.split(), "--run", str(searched.path)]) == 0
    assert [row.run for row in finals(searched)] == [0]
    assert not searched.lock.exists()


def test_report_status_and_page_count_what_they_may_not_take_in(
    searched: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_outbox(searched, FinalMessage(final(0)))
    lock = head_lock(searched.lock)
    lock.acquire()
    run = ["--run", str(searched.path)]
    page = tmp_path / "page.html"
    for arguments in (["report", *run], ["status", *run], ["report", *run, "--format", "html", "--out", str(page)]):
        assert main(arguments) == 0
    said = capsys.readouterr().out
    assert main(["status", *run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outbox"] == 1
    lock.release()
    assert "not counted: 1 in its outbox, waiting for the next head" in " ".join(said.split())
    assert "1 waiting for the next head, not counted yet" in said
    assert "waiting in the outbox" in page.read_text()
    assert finals(searched) == []


def test_run_that_cannot_be_written_is_still_looked_at(searched: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A colleague's folder: counted, not taken in."""
    write_outbox(searched, FinalMessage(final(0)))

    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LockFile, "acquire", refuse)
    assert final_record.take_in(searched) == 1
