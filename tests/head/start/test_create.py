import contextlib
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError, RunHeldError, UsageError
from hpcnas.head import create
from hpcnas.head.create import check_resumable, create_run, rewrite_config, stored_config
from hpcnas.population import open_store
from hpcnas.run_folder import RunFolder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_run_has_its_files_and_a_secret_for_its_owner_alone(folder: RunFolder, config: RunConfig) -> None:
    assert {"run.toml", "population.db", "secret", "outbox", "slurm", "logs", "backup"} <= set(names(folder.path))
    assert stat.S_IMODE(folder.secret.stat().st_mode) == 0o600
    assert stored_config(folder) == config
    assert names(folder.path.parent) == ["run"]


def test_a_folder_with_other_files_keeps_them(tmp_path: Path, config: RunConfig) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.logs.mkdir(parents=True)
    (folder.logs / "job.out").write_text("hello")
    create_run(folder, config)
    assert (folder.logs / "job.out").read_text() == "hello"
    assert stored_config(folder) == config


def test_two_heads_at_once_make_one_run_of_a_folder_that_is_there(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entry by entry they made one of the population of the one and the id of the other, which was refused as damaged."""
    folder, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "other")
    for one in (folder, other):
        one.path.mkdir()
    (folder.path / "notes.txt").write_text("mine")
    create._fill(other, config)
    rename, moved = os.rename, list[Path]()

    def rename_and_let_the_other_in(source: Path, target: Path) -> None:
        if target in (folder.database, folder.path / "run.id"):
            moved.append(target)
        if moved[1:] == [target]:
            with contextlib.suppress(RunHeldError):
                create._move(other, folder)
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_and_let_the_other_in)
    create_run(folder, config)
    open_store(folder, config).close()
    assert "head.lock" not in names(folder.path)


def test_a_population_without_its_configuration_is_not_overwritten(tmp_path: Path, config: RunConfig) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.database.write_bytes(b"precious")
    with pytest.raises(DamagedRunError, match=r"no run\.toml"):
        create_run(folder, config)
    assert folder.database.read_bytes() == b"precious"


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UsageError, match="No space left on device"):
        create_run(RunFolder(tmp_path / "deep" / "run"), config)
    assert names(tmp_path) == []


def test_fixed_settings_are_named_with_both_values(folder: RunFolder, config: RunConfig) -> None:
    changed = replace(config, recipe=replace(config.recipe, repeats=9), search=replace(config.search, seed=5))
    with pytest.raises(UsageError, match=r"search\.seed is 0, not 5; recipe\.repeats is 2, not 9"):
        check_resumable(folder, changed, config)


def test_settings_that_were_left_out_and_lists_are_named_as_they_are_typed(folder: RunFolder, config: RunConfig) -> None:
    changed = replace(config, space=replace(config.space, nodes=(3, 3), primitives="operations"))
    with pytest.raises(UsageError, match=r"space\.nodes is 4,5, not 3,3; space\.primitives is none, not operations;"):
        check_resumable(folder, changed, config)


def test_workers_and_steps_may_change(folder: RunFolder, config: RunConfig) -> None:
    changed = replace(config, search=replace(config.search, steps=99), cluster=replace(config.cluster, workers=50))
    check_resumable(folder, changed, config)
    rewrite_config(folder, changed)
    assert stored_config(folder) == changed
    assert not list(folder.path.glob("run.toml.*"))


@pytest.mark.parametrize("content", ["store = ", "[search]\nsteps = 'x'", "[nonsense]\na = 1", "\x00"])
def test_a_damaged_configuration_is_said_to_be_damaged(folder: RunFolder, content: str) -> None:
    folder.config.write_text(content)
    with pytest.raises(DamagedRunError, match=r"run\.toml"):
        stored_config(folder)


def test_a_disk_that_refuses_leaves_no_half_written_settings(
    folder: RunFolder, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in folder.path.iterdir())
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        rewrite_config(folder, replace(config, search=replace(config.search, steps=99)))
    assert sorted(path.name for path in folder.path.iterdir()) == before
