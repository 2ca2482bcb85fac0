"""Requests lie in the run folder until the head takes them."""

import os
from pathlib import Path

import pytest

from hpcnas.errors import HpcnasError, UsageError
from hpcnas.head.requests import Requests, ask_to_stop, drop_stops, retry_failed
from hpcnas.run_folder import RunFolder
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
    requests = Requests(folder)
    assert requests.open() == requests.open() == ["cancel", "drain"]
    requests.close("cancel")
    assert requests.open() == Requests(folder).open() == ["drain"]


def test_a_wish_that_is_done_and_cannot_be_removed_is_not_done_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.requests.mkdir()
    (folder.requests / "retry-3").touch()
    requests = Requests(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: (_ for _ in ()).throw(OSError(30, "Read-only")))
        requests.close("retry-3")
        assert requests.open() == []
    assert requests.open() == []
    assert list(folder.requests.iterdir()) == []
    (folder.requests / "retry-3").touch()
    assert requests.open() == ["retry-3"]


def test_without_a_head_there_is_nothing_to_drain(folder: RunFolder) -> None:
    with pytest.raises(HpcnasError, match="no head runs"):
        ask_to_stop(folder, cancel=False)
    assert "0 workers" in ask_to_stop(folder, cancel=True)


def test_a_wish_to_stop_is_for_the_head_that_ran_and_a_retry_for_any(folder: RunFolder, held: LockFile) -> None:
    folder.requests.mkdir()
    for request in ("drain", "cancel", "retry-3"):
        (folder.requests / request).touch()
        os.utime(folder.requests / request, (1, 1))
    drop_stops(folder)
    assert Requests(folder).open() == ["retry-3"]


def test_a_wish_to_stop_left_while_the_head_opens_the_run_is_its_own(folder: RunFolder, held: LockFile) -> None:
    ask_to_stop(folder, cancel=False)
    drop_stops(folder)
    assert Requests(folder).open() == ["drain"]


def test_a_head_that_cannot_be_asked_is_named_with_the_way_to_end_it(
    folder: RunFolder, held: LockFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "touch", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(HpcnasError, match=r"No space left on device.*Ctrl-C"):
        ask_to_stop(folder, cancel=False)


@pytest.mark.parametrize("name", ["nonsense", "retry-", "retry-x", "retry-99999999999999999999999999", "retry-1;rm"])
def test_what_is_no_wish_is_removed_and_ignored(folder: RunFolder, name: str) -> None:
    folder.requests.mkdir()
    (folder.requests / name).touch()
    assert Requests(folder).open() == []
    assert list(folder.requests.iterdir()) == []


def test_a_folder_among_the_requests_ends_nothing(folder: RunFolder) -> None:
    (folder.requests / "nonsense").mkdir(parents=True)
    assert Requests(folder).open() == []


def test_only_a_failed_genotype_can_be_retried(folder: RunFolder) -> None:
    with pytest.raises(UsageError, match="is not failed"):
        retry_failed(folder, [1])
