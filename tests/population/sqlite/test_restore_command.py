"""`hpcnas restore`, and which populations it leaves alone because they are sound."""

import random
import sqlite3
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from hpcnas.cli import build_app
from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml
from hpcnas.errors import RunHeldError, UsageError
from hpcnas.population.restore import is_sound, restore
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import head_lock
from tests.population.conftest import offspring_record
from tests.population.sqlite.conftest import destroy


def test_the_command_leaves_a_sound_population_alone_unless_it_is_told_to(folder: RunFolder, store: SQLiteStore) -> None:
    store.add([offspring_record()])
    store.close()
    before = folder.database.read_bytes()
    result = CliRunner().invoke(build_app(), ["restore", "--run", str(folder.path)])
    assert isinstance(result.exception, UsageError)
    assert "is sound" in str(result.exception)
    assert "--force" in str(result.exception)
    assert folder.database.read_bytes() == before
    result = CliRunner().invoke(build_app(), ["restore", "--run", str(folder.path), "--force"])
    assert result.exit_code == 0, result.output
    assert "kept" in result.output


def test_what_a_head_refuses_is_not_called_sound(folder: RunFolder, store: SQLiteStore, config: RunConfig) -> None:
    store.close()
    assert is_sound(folder)
    connection = sqlite3.connect(folder.database)
    connection.execute("UPDATE run SET run_id = 'another'")
    connection.commit()
    connection.close()
    assert not is_sound(folder)
    folder.database.unlink()
    assert not is_sound(folder)
    folder.config.write_text(config_toml(RunConfig(store="postgresql://host/db")), encoding="utf-8")
    assert not is_sound(folder)  # so that `restore` says who can put it back


def test_a_run_in_postgresql_is_restored_by_its_server(folder: RunFolder, config: RunConfig) -> None:
    folder.config.write_text(config_toml(RunConfig(store="postgresql://host/db")), encoding="utf-8")
    with pytest.raises(UsageError, match="administrators"):
        restore(folder)


def test_the_command_restores_and_refuses_while_a_head_runs(
    folder: RunFolder, store: SQLiteStore, make_rig: Callable[..., object]
) -> None:
    store.add([offspring_record()])
    store.close()
    destroy(folder)
    result = CliRunner().invoke(build_app(), ["restore", "--run", str(folder.path)])
    assert result.exit_code == 0, result.output
    assert "1 genotypes, 0 of them evaluated" in result.output
    assert "kept" in result.output
    lock = head_lock(folder.lock)
    lock.acquire()
    result = CliRunner().invoke(build_app(), ["restore", "--run", str(folder.path)])
    assert isinstance(result.exception, RunHeldError)
    lock.release()


@pytest.mark.parametrize("damage", ["empty", "noise", "head", "half"])
def test_a_damaged_database_is_not_called_sound(folder: RunFolder, store: SQLiteStore, damage: str) -> None:
    store.add([offspring_record(number) for number in range(50)])
    store.close()
    whole = folder.database.read_bytes()
    noise = random.Random(3).randbytes(2000)
    damaged = {"empty": b"", "noise": noise * 9, "head": noise + whole[2000:], "half": whole[: len(whole) // 2]}
    folder.database.write_bytes(damaged[damage])
    assert not is_sound(folder)
