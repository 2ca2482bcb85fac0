"""A run folder comes into being in one step, or not at all; an existing one is checked before it is touched."""

import contextlib
import os
import secrets
import shutil
import uuid
from pathlib import Path

from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml, read_config
from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population import create_store
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import head_lock


def create_run(folder: RunFolder, config: RunConfig) -> None:
    """Make the folder with run.toml, secret and an empty population, under another name first.

    A folder that exists already without a run in it (notes, a batch job's log) keeps what it has.

    Raises:
        DamagedRunError: there is a population without run.toml.
        UsageError: the folder cannot be written.
        RunHeldError: another head makes the run at this moment.
    """
    if folder.database.exists():
        raise DamagedRunError(
            f"{folder.path} has a population.db but no run.toml; put run.toml back from a copy, or choose another --run"
        )
    staging = RunFolder(folder.path.with_name(f".{folder.path.name}.{uuid.uuid4().hex[:8]}"))
    missing = [parent for parent in folder.path.parents if not parent.exists()]
    try:
        staging.path.mkdir(parents=True)
        _fill(staging, config)
        _move(staging, folder)
    except OSError as error:
        raise UsageError(f"cannot make the run folder {folder.path}: {error.strerror}; choose another with --run") from error
    finally:
        shutil.rmtree(staging.path, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: the run is in it
                parent.rmdir()


def check_resumable(folder: RunFolder, config: RunConfig, stored: RunConfig) -> None:
    """Check that `config` may go on with the run.

    Raises:
        UsageError: a fixed setting differs; names each with both values.
    """
    changed = config.changed_from(stored)
    if changed:
        differences = "; ".join(f"{name} is {_value(stored, name)}, not {_value(config, name)}" for name in changed)
        raise UsageError(
            f"{folder.path} holds a run with other settings: {differences}; resume it with its own, or choose another --run"
        )
    if config.store != stored.store:
        raise UsageError(f"{folder.path} keeps its population in {stored.store}, not {config.store}; choose another --run")


def rewrite_config(folder: RunFolder, config: RunConfig) -> None:
    """Put changed settings (--steps, --workers, ...) into run.toml, in one step."""
    text = config_toml(config)
    if folder.config.read_text(encoding="utf-8") != text:
        beside = folder.config.with_name(f"run.toml.{uuid.uuid4().hex[:8]}")
        try:
            _write(beside, text, 0o644)
            os.replace(beside, folder.config)
        finally:
            beside.unlink(missing_ok=True)  # of a disk that refused


def stored_config(folder: RunFolder) -> RunConfig | None:
    """The configuration of the run in `folder`; None when there is no run yet.

    Raises:
        DamagedRunError: run.toml cannot be read.
    """
    if not folder.config.exists():
        return None
    try:
        return RunConfig.from_dict(read_config(folder.config))
    except UsageError as error:
        raise DamagedRunError(f"{error}; put run.toml back from a copy, the population beside it is untouched") from error


def require_config(folder: RunFolder) -> RunConfig:
    """The configuration of the run that has to be in `folder`. Raises UsageError when there is none."""
    config = stored_config(folder.require())
    if config is None:
        raise UsageError(f"{folder.config} was removed just now")
    return config


def _fill(staging: RunFolder, config: RunConfig) -> None:
    for path in (staging.outbox, staging.slurm, staging.logs, staging.backup):
        path.mkdir()
    _write(staging.secret, secrets.token_hex(32) + "\n", 0o600)
    create_store(staging, config)
    _write(staging.config, config_toml(config), 0o644)


def _move(staging: RunFolder, folder: RunFolder) -> None:
    with contextlib.suppress(OSError):
        os.rename(staging.path, folder.path)  # also onto an empty folder
    if folder.config.exists():
        return  # this run, or one that another head made at the same moment: its lock decides
    folder.path.mkdir(exist_ok=True)
    with head_lock(folder.lock):  # entry by entry, two at once would make one run of the halves of two
        if not folder.config.exists():
            _move_entries(staging, folder)


def _move_entries(staging: RunFolder, folder: RunFolder) -> None:
    entries = sorted(staging.path.iterdir(), key=lambda path: path.name == "run.toml")  # last: it makes the folder a run
    for entry in entries:
        target = folder.path / entry.name
        if not (entry.is_dir() and target.is_dir()):
            os.rename(entry, target)


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _value(config: RunConfig, name: str) -> object:
    """A setting as it is typed: numbers of a list with commas between them; "none" for what was left out."""
    section, key = name.split(".")
    value = config.to_dict()[section][key]
    typed = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return "none" if typed in ("", None) else typed
