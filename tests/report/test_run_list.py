"""All runs below a folder, read as they are: finished, half done, damaged, and what is no run."""

import json
import os
import time
from pathlib import Path

import pytest

from hpcnas.benchmarks.store_rows import fill
from hpcnas.cli import main
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.report.run_list import WIDTH, list_runs
from hpcnas.run_folder import RunFolder

HEAD = ["head", "--preset", "smoke", "--cluster", "debug", "--workers", "1", "--fitness", "synthetic", "--steps", "6"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("runs")
    for name in ("short", "group/with-a-name-that-goes-on-and-on-and-is-longer-than-any-table-can-bear-it-to-be"):
        assert main([*HEAD, "--run", str(top / name)]) == 0
    (top / "damaged").mkdir()
    (top / "damaged/run.toml").write_text("x = ")
    (top / ".hidden/run").mkdir(parents=True)
    (top / ".hidden/run/run.toml").write_text("x = ")
    (top / "notes").mkdir()
    os.symlink(top / "short", top / "link")
    return top


def test_each_run_is_listed_once_and_a_damaged_one_with_its_reason(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs), "--json"]) == 0
    listed = {Path(one["run"]).relative_to(runs).parts[0]: one for one in json.loads(capsys.readouterr().out)}
    assert set(listed) == {"short", "group", "damaged"}
    assert (listed["short"]["state"], listed["short"]["evaluated"]) == ("finished", 6)
    assert listed["damaged"]["state"] == "unreadable"
    assert "not valid TOML" in listed["damaged"]["trouble"]


def test_the_table_fits_a_terminal_and_keeps_the_end_of_long_names(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if not line.startswith(str(runs))]
    assert max(map(len, table)) <= WIDTH
    assert any(line.startswith("...") and "it-to-be " in line for line in table)
    assert sum("6/6" in line for line in table) == 2


def test_looking_changes_nothing(runs: Path) -> None:
    def kept() -> dict[Path, bytes]:
        """All files but the ones that SQLite keeps beside an open database."""
        return {
            path: path.read_bytes() for path in runs.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = kept()
    assert main(["runs", str(runs)]) == 0
    assert kept() == before


def test_a_run_changed_when_its_log_did(tmp_path: Path) -> None:
    """A head writes into SQLite's log for hours before the database itself changes; a reader's empty log is no change."""
    folder = RunFolder(tmp_path / "run")
    fill(folder, 1, 1)
    an_hour_ago = time.time() - 3600
    store = SQLiteStore.open(folder, network=False, backup_s=None)
    for path in (folder.config, folder.database):
        os.utime(path, (an_hour_ago, an_hour_ago))
    store.note("written")
    assert ages(tmp_path) == pytest.approx([0], abs=60)
    store.close()
    os.utime(folder.database, (an_hour_ago, an_hour_ago))
    folder.database.with_name("population.db-wal").touch()
    assert ages(tmp_path) == pytest.approx([3600], abs=60)


def ages(top: Path) -> list[float]:
    return [run.age_s for run in list_runs(top, lambda folder: False)]


def test_a_folder_without_runs_and_one_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no run below" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_note_is_shown_wherever_a_run_is_and_may_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the list, shortened to its width, the status, the report's table and its page."""
    run, long = tmp_path / "run", "wider motifs, as asked in March; " * 4
    for steps, note in (("6", "a first try"), ("7", long)):
        assert main([*HEAD, "--steps", steps, "--note", note, "--run", str(run)]) == 0
    assert main([*HEAD, "--steps", "8", "--run", str(run)]) == 0, "it stays where none is given"
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("  wider motifs, as asked in March; wider")
    assert len(lines[-1]) <= WIDTH
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["note"] == long
    assert main(["status", "--run", str(run)]) == 0
    assert f"note:      {long}" in capsys.readouterr().out
    assert main(["report", "--run", str(run), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["note"] == long
    assert main(["report", "--run", str(run), "--format", "html"]) == 0
    assert f'<p class="said">{long}</p>' in (run / "report.html").read_text()
