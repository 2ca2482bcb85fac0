"""Checkpoints: whole or not there, verified, never executed."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from hpcnas.errors import HpcnasError, UsageError
from hpcnas.training.full_size import checkpoint
from hpcnas.training.full_size.checkpoint import checkpoints, load_checkpoint, newest_sound, save_checkpoint

SETTINGS = {"channels": 64, "genotype": "abc"}


def save(folder: Path, step: int, value: float = 1.0) -> Path:
    return save_checkpoint(folder, step, SETTINGS, {"network": {"w": torch.full((3,), value)}, "seconds": 1.5})


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    step, state = load_checkpoint(save(tmp_path, 7), SETTINGS)
    assert step == 7
    assert torch.equal(state["network"]["w"], torch.ones(3))
    assert state["seconds"] == 1.5


def test_newest_and_the_one_before_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 9):
        save(tmp_path, step)
    assert [path.name.split("-")[1] for path in checkpoints(tmp_path)] == ["00000010", "00000009"]
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("checkpoint-")] == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_checkpoint_is_passed_over_for_the_previous_with_a_line(tmp_path: Path, damage: str) -> None:
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    content = second.read_bytes()
    half = len(content) // 2
    second.write_bytes(
        {"truncated": content[:half], "flipped": content[:half] + b"x" + content[half + 1 :], "empty": b""}[damage]
    )
    said: list[str] = []
    assert newest_sound(tmp_path, said.append) == first
    assert len(said) == 1
    assert second.name in said[0]


def test_no_sound_checkpoint_is_none(tmp_path: Path) -> None:
    save(tmp_path, 1).write_bytes(b"")
    (tmp_path / "checkpoint-what.pt").write_bytes(b"not ours")
    assert newest_sound(tmp_path, lambda line: None) is None
    assert newest_sound(tmp_path / "nowhere", lambda line: None) is None


def test_writing_in_pieces_never_shows_a_half_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies at any call on the way leaves the old checkpoint the newest sound one."""
    old = save(tmp_path, 1)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    for module, name in ((torch, "save"), (os, "fsync"), (os, "replace")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, die)
            with pytest.raises(Killed):
                save(tmp_path, 2)
        assert newest_sound(tmp_path, lambda line: None) == old


def test_full_disk_is_one_sentence_and_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = save(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HpcnasError, match="No space left on device; earlier ones are untouched"):
        save(tmp_path, 2)
    assert checkpoints(tmp_path) == [old]
    assert list(tmp_path.iterdir()) == [old]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    with pytest.raises(UsageError, match="was made with channels 64, not 128"):
        load_checkpoint(path, {**SETTINGS, "channels": 128})


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A pickle that would create a file when loaded is refused and creates none."""
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {mark}",)

    path = tmp_path / "checkpoint-00000001-0000000000000000.pt"
    torch.save({"format": checkpoint.FORMAT, "version": 1, "step": 1, "settings": SETTINGS, "state": Evil()}, path)
    with pytest.raises(UsageError, match="is no checkpoint of hpcnas"):
        load_checkpoint(path, SETTINGS)
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UsageError, match="is no checkpoint of hpcnas"):
        load_checkpoint(path, SETTINGS)
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {"format": "other"}, {"network": torch.ones(2)}])
def test_foreign_files_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint-00000001-0000000000000000.pt"
    torch.save(content, path)
    with pytest.raises(UsageError, match="is no checkpoint of hpcnas; move it away"):
        load_checkpoint(path, SETTINGS)


def test_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    path = save(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="has version 2, this hpcnas reads version 1"):
        load_checkpoint(path, SETTINGS)
