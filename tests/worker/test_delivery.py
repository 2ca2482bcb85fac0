"""Delivery when neither the head nor the run's disk takes anything."""

import logging
import tempfile
from pathlib import Path

import pytest

from hpcnas.cluster.signals import StopFlag
from hpcnas.errors import DamagedRunError
from hpcnas.population.protocol.messages import RecordMessage
from hpcnas.population.protocol.outbox import write_outbox
from hpcnas.records import Fitness, Verdict
from hpcnas.run_folder import RunFolder
from hpcnas.worker.delivery import HOLD_S, ResultSender, Undeliverable
from tests.head.conftest import FakeClock
from tests.head.fakes import FakeQueue, lease

PATIENCE_S = 300.0
DONE = Fitness(0, 0.5, 1, 0, 0.0)


class Waiting(StopFlag):
    """Nobody waits: the clock moves."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock, self.waits = clock, 0

    def wait(self, timeout_s: float) -> bool:
        self.clock.advance(timeout_s)
        self.waits += 1
        return bool(self)


@pytest.fixture
def flag(clock: FakeClock) -> Waiting:
    return Waiting(clock)


@pytest.fixture
def spare_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def sender(folder: RunFolder, flag: Waiting, clock: FakeClock, spare_disk: Path) -> ResultSender:
    """Its head is away, its run's disk full: a file is where the outbox should be."""
    folder.outbox.rmdir()
    folder.outbox.write_text("full")
    queue = FakeQueue()
    queue.is_away = True
    return ResultSender(queue, folder, lease(), flag, PATIENCE_S, clock)


def kept(spare_disk: Path) -> list[Path]:
    return sorted(spare_disk.glob("hpcnas-*/outbox/*.json"))


def test_what_nobody_takes_is_held_for_a_time_that_the_log_names_and_then_kept_on_this_machine(
    sender: ResultSender, clock: FakeClock, spare_disk: Path, folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    began_s = clock.now
    sender.record(DONE)
    with caplog.at_level(logging.INFO, "hpcnas"):
        sender.settle()
    assert PATIENCE_S + HOLD_S <= clock.now - began_s < PATIENCE_S + HOLD_S + 60
    assert len(kept(spare_disk)) == 1
    assert caplog.text.count("held for 60 min more") == 1
    assert f"move the files of {kept(spare_disk)[0].parent} into {folder.outbox}" in caplog.text


def test_a_disk_that_has_room_again_takes_what_was_held(sender: ResultSender, flag: Waiting, spare_disk: Path) -> None:
    sender.record(DONE)
    wait = flag.wait

    def wait_and_make_room(timeout_s: float) -> bool:
        if flag.waits == 400:
            sender.folder.outbox.unlink()
        return wait(timeout_s)

    flag.wait = wait_and_make_room  # type: ignore[method-assign]
    sender.settle()
    assert len(list(sender.folder.outbox.glob("*.json"))) == 1
    assert kept(spare_disk) == []


def test_a_full_disk_is_not_asked_every_second(sender: ResultSender, flag: Waiting) -> None:
    sender.record(DONE)
    sender.settle()
    assert flag.waits < PATIENCE_S + 300


def test_a_worker_that_is_told_to_end_keeps_what_it_holds_on_its_machine(
    sender: ResultSender, flag: Waiting, spare_disk: Path
) -> None:
    sender.record(DONE)
    flag.request("terminated")
    sender.settle()
    sender.abandon("terminated")
    assert len(kept(spare_disk)) == 2


def test_a_refused_result_is_kept_although_the_runs_disk_is_full(sender: ResultSender, spare_disk: Path) -> None:
    def refuse(individual_id: int, token: int, fitness: Fitness) -> Verdict:
        raise DamagedRunError("never granted")

    sender.queue.record = refuse  # type: ignore[method-assign]
    with pytest.raises(Undeliverable):
        sender.record(DONE)
    assert len(kept(spare_disk)) == 1


def test_what_no_disk_takes_is_in_the_log(
    sender: ResultSender, flag: Waiting, spare_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(spare_disk / "not-there"))
    flag.request("terminated")
    sender.record(DONE)
    with caplog.at_level(logging.INFO, "hpcnas"):
        sender.settle()
    assert '"accuracy":0.5' in caplog.text


def test_what_was_kept_is_an_outbox_that_a_head_merges(sender: ResultSender, flag: Waiting, spare_disk: Path) -> None:
    flag.request("terminated")
    sender.record(DONE)
    sender.settle()
    (spare_disk / "other").mkdir()
    sent = write_outbox(RunFolder(spare_disk / "other"), RecordMessage(7, 3, DONE))
    assert kept(spare_disk)[0].read_bytes() == sent.read_bytes()
