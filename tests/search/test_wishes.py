"""Wishes lie in the run folder until the head takes them."""

import pytest

from hpcnas.errors import HpcnasError, UsageError
from hpcnas.run_folder import RunFolder
from hpcnas.search.wishes import ask_to_stop, drop_stops, retry_failed, take_wishes
from hpcnas.system.lock_file import LockFile, head_lock


@pytest.fixture
def held(folder: RunFolder) -> LockFile:
    """This process plays the head."""
    lock = head_lock(folder.lock)
    lock.acquire()
    return lock


def test_a_wish_is_taken_once(folder: RunFolder, held: LockFile) -> None:
    assert "asked the head" in ask_to_stop(folder, cancel=False)
    assert "asked the head" in ask_to_stop(folder, cancel=True)
    assert take_wishes(folder) == ["cancel", "drain"]
    assert take_wishes(folder) == []


def test_without_a_head_there_is_nothing_to_drain(folder: RunFolder) -> None:
    with pytest.raises(HpcnasError, match="no head runs"):
        ask_to_stop(folder, cancel=False)
    assert "0 workers" in ask_to_stop(folder, cancel=True)


def test_a_wish_to_stop_is_for_the_head_that_ran_and_a_retry_for_any(folder: RunFolder, held: LockFile) -> None:
    ask_to_stop(folder, cancel=False)
    (folder.wishes / "retry-3").touch()
    drop_stops(folder)
    assert take_wishes(folder) == ["retry-3"]


@pytest.mark.parametrize("name", ["nonsense", "retry-", "retry-x", "retry-99999999999999999999999999", "retry-1;rm"])
def test_what_is_no_wish_is_removed_and_ignored(folder: RunFolder, name: str) -> None:
    folder.wishes.mkdir()
    (folder.wishes / name).touch()
    assert take_wishes(folder) == []
    assert list(folder.wishes.iterdir()) == []


def test_only_a_failed_genotype_can_be_retried(folder: RunFolder) -> None:
    with pytest.raises(UsageError, match="is not failed"):
        retry_failed(folder, 1)
