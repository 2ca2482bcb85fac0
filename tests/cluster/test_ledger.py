"""The ledger of submissions: written before asking, read by whichever head comes next."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.cluster.ledger import Ledger
from hpcnas.run_folder import RunFolder


@pytest.mark.parametrize("name", ["link/run", "link/run/../run", "linked", "run/../run"])
def test_one_folder_under_another_name_has_the_same_tasks(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "run")
    ledger = Ledger(RunFolder(tmp_path / "run"))
    entry = ledger.new("slurm", 3)
    later = Ledger(RunFolder(tmp_path / name))
    assert later.open("slurm") == [entry]
    assert later.run_mark == ledger.run_mark


def test_a_moved_run_keeps_its_tasks_and_a_copy_of_it_has_none(tmp_path: Path) -> None:
    entry = Ledger(RunFolder(tmp_path / "run")).new("local", 1)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert Ledger(RunFolder(tmp_path / "moved")).open("local") == [entry]
    assert Ledger(RunFolder(tmp_path / "copy")).open("local") == []


def test_what_was_written_is_read_by_the_next_head(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path))
    entry = ledger.new("slurm", 3)
    assert Ledger(RunFolder(tmp_path)).open("slurm") == [entry], "the intent is on the disk before any answer"
    answered = ledger.write(replace(entry, job="12"))
    later = Ledger(RunFolder(tmp_path))
    assert later.open("slurm") == [answered]
    assert later.run_mark == ledger.run_mark != ""
    assert answered.tasks() == ["12_0", "12_1", "12_2"]
    assert later.open("local") == []
    later.write(replace(answered, ended=True))
    assert Ledger(RunFolder(tmp_path)).open("slurm") == []
    assert len(Ledger(RunFolder(tmp_path)).all("slurm")) == 1


def test_a_start_that_is_written_meanwhile_is_not_marked_as_ended(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path))
    seen = ledger.new("local", 1)
    started = ledger.write(replace(seen, job="12"))
    ledger.end(seen)
    assert ledger.open("local") == Ledger(RunFolder(tmp_path)).open("local") == [started]
    ledger.end(started)
    assert ledger.open("local") == Ledger(RunFolder(tmp_path)).open("local") == []


def test_a_torn_last_line_spoils_no_other(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path))
    first = ledger.new("slurm", 1)
    with ledger.path.open("ab") as file:
        file.write(b'{"intent": "torn')
    later = Ledger(RunFolder(tmp_path))
    assert later.open("slurm") == [first]
    second = later.new("slurm", 2)
    assert Ledger(RunFolder(tmp_path)).open("slurm") == [first, second]


def test_a_copied_run_does_not_own_the_tasks_of_the_original(tmp_path: Path) -> None:
    original = RunFolder(tmp_path / "run")
    mark = Ledger(original).new("slurm", 1) and Ledger(original).run_mark
    shutil.copytree(original.path, tmp_path / "copy")
    copy = Ledger(RunFolder(tmp_path / "copy"))
    assert copy.open("slurm") == []
    copy.new("slurm", 1)
    assert copy.run_mark != mark
    assert len(Ledger(RunFolder(tmp_path / "copy")).open("slurm")) == 1
