"""The last lines of a search: what was found, a picture that is there, and a command that works."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.population.queries import Population
from hpcnas.report.search_end import show_end
from hpcnas.run_folder import RunFolder

SEARCH = "head --preset smoke --cluster debug --workers 1 --fitness synthetic --seed 1 --steps"


def search(monkeypatch: pytest.MonkeyPatch, run: Path, steps: int, *more: str) -> int:
    monkeypatch.setattr("sys.argv", ["hpcnas", *SEARCH.split(), str(steps), "--run", str(run), *more])
    return main()


def test_a_search_ends_with_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(monkeypatch, tmp_path / "run", 30) == 0
    found, picture, following = capsys.readouterr().out.splitlines()[-3:]
    with Population.open(tmp_path / "run") as population:
        best = population.best()
        assert best is not None
        assert best.fitness is not None
        first = max(one.fitness or 0 for one in population.individuals() if one.parent_id is None)
    assert best.parent_id is not None, "else the line below says nothing of the others"
    assert found.startswith(f"found:   genotype {best.id} with fitness {100 * best.fitness:.2f} %; ")
    assert f"{100 * first:.2f} %" in found
    assert picture == "picture: run/best.png"
    assert (tmp_path / "run" / "best.png").read_bytes().startswith(b"\x89PNG")
    assert following == "next:    hpcnas report --run run"
    monkeypatch.setattr("sys.argv", following.split()[1:])
    assert main() == 0


def test_a_dry_run_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, tmp_path / "run", 30, "--dry-run") == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_next_command_names_the_program_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(sys.executable).parent / "hpcnas"
    command = [program, *SEARCH.split(), "6", "--run", "run"]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"next:    {program} report --run run"


def test_a_picture_that_cannot_be_written_is_a_line_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert search(monkeypatch, tmp_path / "run", 3) == 0
    folder = RunFolder(tmp_path / "run")
    folder.picture.unlink()
    folder.picture.mkdir()
    show_end(folder)
    assert "could not be shown" in caplog.text


def test_the_next_command_is_typed_as_it_stands_where_the_path_has_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(monkeypatch, tmp_path / "mit Blumen ü", 3) == 0
    *_, following = capsys.readouterr().out.splitlines()
    assert shlex.split(following)[1:] == ["hpcnas", "report", "--run", "mit Blumen ü"]
