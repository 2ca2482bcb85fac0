"""Wishes lie in the run folder until the head takes them."""

import os
from pathlib import Path

import pytest

from hpcnas.errors import HpcnasError, UsageError
from hpcnas.run_folder import RunFolder
from hpcnas.search.wishes import Wishes, ask_to_stop, drop_stops, retry_failed
from hpcnas.system.lock_file import LockFile, head_lock


@pytest.fixture
def held(folder: RunFolder) -> LockFile:
    """This process plays the head."""
    lock = head_lock(folder.lock)
    lock.acquire()
    return lock


def test_a_wish_lies_there_until_it_is_done(folder: RunFolder, held: LockFile) -> None:
    assert "asked the head" in ask_to_stop(folder, cancel=False)
    assert "asked the head" in ask_to_stop(folder, cancel=True)
    wishes = Wishes(folder)
    assert wishes.open() == wishes.open() == ["cancel", "drain"]
    wishes.close("cancel")
    assert wishes.open() == Wishes(folder).open() == ["drain"]


def test_a_wish_that_is_done_and_cannot_be_removed_is_not_done_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.wishes.mkdir()
    (folder.wishes / "retry-3").touch()
    wishes = Wishes(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: (_ for _ in ()).throw(OSError(30, "Read-only")))
        wishes.close("retry-3")
        assert wishes.open() == []
    assert wishes.open() == []
    assert list(folder.wishes.iterdir()) == []
    (folder.wishes / "retry-3").touch()
    assert wishes.open() == ["retry-3"]


def test_without_a_head_there_is_nothing_to_drain(folder: RunFolder) -> None:
    with pytest.raises(HpcnasError, match="no head runs"):
        ask_to_stop(folder, cancel=False)
    assert "0 workers" in ask_to_stop(folder, cancel=True)


def test_a_wish_to_stop_is_for_the_head_that_ran_and_a_retry_for_any(folder: RunFolder, held: LockFile) -> None:
    folder.wishes.mkdir()
    for wish in ("drain", "cancel", "retry-3"):
        (folder.wishes / wish).touch()
        os.utime(folder.wishes / wish, (1, 1))
    drop_stops(folder)
    assert Wishes(folder).open() == ["retry-3"]


def test_a_wish_to_stop_left_while_the_head_opens_the_run_is_its_own(folder: RunFolder, held: LockFile) -> None:
    ask_to_stop(folder, cancel=False)
    drop_stops(folder)
    assert Wishes(folder).open() == ["drain"]


def test_a_head_that_cannot_be_asked_is_named_with_the_way_to_end_it(
    folder: RunFolder, held: LockFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "touch", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(HpcnasError, match=r"No space left on device.*Ctrl-C"):
        ask_to_stop(folder, cancel=False)


@pytest.mark.parametrize("name", ["nonsense", "retry-", "retry-x", "retry-99999999999999999999999999", "retry-1;rm"])
def test_what_is_no_wish_is_removed_and_ignored(folder: RunFolder, name: str) -> None:
    folder.wishes.mkdir()
    (folder.wishes / name).touch()
    assert Wishes(folder).open() == []
    assert list(folder.wishes.iterdir()) == []


def test_a_folder_among_the_wishes_ends_nothing(folder: RunFolder) -> None:
    (folder.wishes / "nonsense").mkdir(parents=True)
    assert Wishes(folder).open() == []


def test_only_a_failed_genotype_can_be_retried(folder: RunFolder) -> None:
    with pytest.raises(UsageError, match="is not failed"):
        retry_failed(folder, 1)
