"""Checkpoints of a full-size training: written in one piece or not at all, verified before they are used.

A checkpoint's name holds its step and a digest of its content, `checkpoint-00001200-1f0c...pt`. So a half-written, damaged
or renamed file is recognised and passed over for the one before it.
"""

import contextlib
import hashlib
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from hpcnas.errors import HpcnasError, UsageError

FORMAT = "hpcnas-checkpoint"
VERSION = 1
KEPT = 2  # the newest, and the one before it
_NAME = re.compile(r"checkpoint-(\d{8,12})-([0-9a-f]{16})\.pt")


def save_checkpoint(folder: Path, step: int, settings: dict[str, Any], state: dict[str, Any]) -> Path:
    """Write a checkpoint durably, then remove all but the newest two.

    Args:
        settings: plain values that a training must agree with to go on from here.
        state: tensors, and numbers, strings, lists and dicts of them.
    Raises:
        HpcnasError: the disk is full or cannot be written; earlier checkpoints are untouched.
    """
    partial = folder / f".checkpoint-{os.getpid()}.part"
    content = {"format": FORMAT, "version": VERSION, "step": step, "settings": settings, "state": state}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            # On the disk before it gets its name: after a power cut the old or the new one is whole.
            os.fsync(file.fileno())
        path = folder / f"checkpoint-{step:08d}-{_digest(partial)}.pt"
        os.replace(partial, path)
        _sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        partial.unlink(missing_ok=True)
        raise HpcnasError(
            f"cannot write the checkpoint of step {step} into {folder}: {_reason(error)}; earlier ones are untouched"
        ) from error
    for old in checkpoints(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a folder by name, newest step first; their content is not looked at."""
    found = [path for path in folder.glob("checkpoint-*.pt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (step_of(path.name), path.stat().st_mtime_ns), reverse=True)


def step_of(name: str) -> int:
    """The finished steps in the name of a checkpoint's file."""
    return int(name.split("-")[1])


def half_written(folder: Path) -> list[Path]:
    """Unfinished checkpoints of processes that were killed while they wrote."""
    return list(folder.glob(".checkpoint-*.part"))


def sound_checkpoints(folder: Path, log_line: Callable[[str], None]) -> Iterator[Path]:
    """The checkpoints whose content is what their name promises, newest first; `log_line` gets a line for each other one."""
    for path in checkpoints(folder):
        is_sound = False
        with contextlib.suppress(OSError):
            is_sound = _digest(path) == path.stem.rsplit("-", 1)[1]
        if is_sound:
            yield path
        else:
            log_line(f"passed over {path}: it is damaged or half-written")


def newest_sound(folder: Path, log_line: Callable[[str], None]) -> Path | None:
    """The first of `sound_checkpoints`."""
    return next(sound_checkpoints(folder, log_line), None)


def load_checkpoint(path: Path, settings: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Read a checkpoint: nothing but tensors and plain values is unpickled.

    Returns:
        The step that was finished, and the state.
    Raises:
        UsageError: no checkpoint of hpcnas, of a newer version, or of a training with other settings.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise UsageError(f"{path} is no checkpoint of hpcnas: {_reason(error)}; move it away to start anew") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path} is no checkpoint of hpcnas; move it away to start anew")
    if content["version"] != VERSION:
        raise UsageError(
            f"{path} has version {content['version']}, this hpcnas reads version {VERSION}; go on with the hpcnas that wrote it"
        )
    refuse_other_settings(path, content["settings"], settings)
    return content["step"], content["state"]


def refuse_other_settings(path: Path, theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    """Refuse to go on, or to take for done, what was trained in another way.

    Raises:
        UsageError: a setting differs; the first one is named.
    """
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            raise UsageError(
                f"{path} was made with {name} {theirs.get(name)}, not {mine.get(name)}; give the same settings again to "
                "go on, or another --out folder"
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).splitlines() or [
        type(error).__name__
    ]
    return text[0][:200]
