"""Bad input is answered by one sentence and an exit code, and leaves nothing behind."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from hpcnas.cli import FAMILIES, build_app, main
from hpcnas.run_folder import RunFolder
from tests.processes import evaluated, head_arguments, hpcnas, running, wait_until

pytestmark = pytest.mark.timeout(300)


def names(folder: Path) -> list[str]:
    return sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*"))


BAD_HEADS = {
    "--dataset nonsense": "--dataset nonsense",
    "--dataset cifar10 --data empty": "CIFAR10 is not in",
    "--dataset folder:nowhere": "nowhere",
    "--workers 0 --fitness synthetic": "--workers 0",
    "--steps -4 --fitness synthetic": "--steps -4",
    "--tournament 2 --fitness synthetic": "--tournament 2",
    "--population 0 --fitness synthetic": "--population 0",
    "--motifs 6,1 --nodes 4 --fitness synthetic": "--motifs 6,1 and --nodes 4",
    "--motifs six --fitness synthetic": "--motifs six",
    "--space flat --motifs 6,1 --nodes 4,5 --fitness synthetic": "--space flat",
    "--space round --fitness synthetic": "'--space': 'round' is not one of",
    "--search guessing --fitness synthetic": "'--search': 'guessing' is not one of",
    "--duplicates twice --fitness synthetic": "'--duplicates': 'twice' is not one of",
    "--fitness no.such.module:f": "--fitness no.such.module:f",
    "--fitness json:nothing": "no function nothing",
    "--fitness synthetic:soon": "--fitness synthetic:soon",
    "--fitness guess": "--fitness guess",
    "--precision fp8 --fitness synthetic": "'--precision': 'fp8' is not one of",
    "--preset huge": "'--preset': 'huge' is not one of",
    "--config nowhere.toml": "nowhere.toml",
    "--config broken.toml": "broken.toml",
    "--config unknown.toml": "search.stepps",
    "--store mysql://x --fitness synthetic": "--store",
    "--slurm constraint --fitness synthetic": "--slurm constraint",
    "--cluster moon --fitness synthetic": "'--cluster': 'moon' is not one of",
    "--steps many": "--steps",
    "--no-such-option": "--no-such-option",
    "--seed -1 --fitness synthetic": "--seed -1",
}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A working folder with a few files to get wrong."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.toml").write_text("[search\nsteps=1")
    (tmp_path / "unknown.toml").write_text("[search]\nstepps = 1\n")
    return tmp_path


Refused = Callable[..., str]


@pytest.fixture
def refused(desk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run a command in the desk, in this process: it must be wrong usage, said in one sentence. Gives the sentence."""
    monkeypatch.chdir(desk)

    def run(*arguments: str) -> str:
        before = names(desk)
        code = main(arguments)
        said = capfd.readouterr().err
        assert code == 2, said
        assert said.count("\n") == 1, said
        assert names(desk) == before
        return said

    return run


@pytest.mark.parametrize("options", BAD_HEADS)
def test_a_refused_head_says_why_in_one_sentence_and_leaves_nothing_behind(refused: Refused, options: str) -> None:
    given = options.split() if "--cluster" in options else [*options.split(), "--cluster", "local"]
    said = refused("head", "--run", "run", *given)
    assert BAD_HEADS[options] in said
    assert "Traceback" not in said


def test_the_exit_code_of_a_process_is_that_of_its_command(desk: Path) -> None:
    done = hpcnas("head", "--run", "run", "--workers", "0", "--fitness", "synthetic", cwd=desk)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"{command} --run nowhere" for command in ("status", "population", "failures", "worker", "stop", "retry 1")),
        *("status --no-such-option", "population --top 0", "population --top x", "population --format xml", "no-such-command"),
        *("retry", "retry x", "retry 1 --all"),
    ],
)
def test_wrong_usage_of_other_commands_is_one_sentence_and_exit_code_two(refused: Refused, arguments: str) -> None:
    assert refused(*arguments.split()).startswith("hpcnas: ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A small finished run."""
    folder = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    done = hpcnas(*head_arguments(folder, "--workers", "2", "--steps", "8", "--seed", "3"), timeout_s=200)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_of_another_space_or_recipe_is_refused_and_untouched(finished: RunFolder) -> None:
    before = finished.config.read_text()
    for option, value, named in (
        ("--space", "flat", "space.kind is hierarchical, not flat"),
        ("--repeats", "3", "recipe.repeats is 2, not 3"),
        ("--seed", "4", "search.seed is 3, not 4"),
        ("--fitness", "synthetic:9", "recipe.fitness"),
    ):
        done = hpcnas(*head_arguments(finished, "--steps", "8", option, value))
        assert done.returncode == 2, done.stderr
        assert named in done.stderr
    assert finished.config.read_text() == before


def test_a_run_resumes_without_repeating_its_options(finished: RunFolder) -> None:
    done = hpcnas("head", "--run", finished.path)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)


def copy_of(finished: RunFolder, tmp_path: Path) -> RunFolder:
    import shutil

    shutil.copytree(finished.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("content", [b"this is a text file, no database\n" * 100, b"", None])
def test_a_population_that_is_no_database_is_exit_code_five_and_left_as_it_is(
    finished: RunFolder, tmp_path: Path, content: bytes | None
) -> None:
    """None: cut off in the middle."""
    folder = copy_of(finished, tmp_path)
    damaged = folder.database.read_bytes()[: folder.database.stat().st_size // 2] if content is None else content
    folder.database.write_bytes(damaged)
    done = hpcnas("head", "--run", folder.path, "--steps", "9")
    assert done.returncode == 5, done.stderr
    assert "restore" in done.stderr
    assert done.stderr.count("\n") == 1
    assert folder.database.read_bytes() == damaged
    assert not folder.lock.exists()


def test_a_second_head_on_the_run_is_exit_code_three(run_folder: RunFolder, tmp_path: Path) -> None:
    arguments = [*head_arguments(run_folder, "--workers", "1", "--steps", "50"), "--fitness", "synthetic:0.3"]
    with running(*arguments, log=tmp_path / "log") as head:
        wait_until(lambda: evaluated(run_folder) >= 1)
        done = hpcnas(*arguments)
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert f"process {head.pid}" in done.stderr
        assert head.poll() is None
        before = evaluated(run_folder)
        wait_until(lambda: evaluated(run_folder) > before)  # the first one is not disturbed


def test_population_tells_the_whole_shape(finished: RunFolder) -> None:
    rows = json.loads(hpcnas("population", "--run", finished.path, "--format", "json").stdout)
    assert len(rows) == 8
    expected = [
        "id",
        "digest",
        "parent",
        "step",
        "state",
        "fitness",
        "accuracies",
        "parameters",
        "attempts",
        "reason",
        "genotype",
    ]
    assert all(list(row) == expected for row in rows)
    assert [row["fitness"] for row in rows] == sorted((row["fitness"] for row in rows), reverse=True)
    assert rows[0]["genotype"]["format"] == "hpcnas-genotype"
    assert rows[0]["fitness"] == pytest.approx(sum(rows[0]["accuracies"]) / 2)
    csv = hpcnas("population", "--run", finished.path, "--format", "csv", "--top", "3").stdout.splitlines()
    assert csv[0] == "id,digest,parent,step,state,fitness,accuracies,parameters,attempts,reason"
    assert [line.split(",")[0] for line in csv[1:]] == [str(row["id"]) for row in rows[:3]]
    assert str(rows[0]["id"]) in hpcnas("population", "--run", finished.path, "--top", "1").stdout


def test_status_tells_the_whole_shape(finished: RunFolder) -> None:
    status = json.loads(hpcnas("status", "--run", finished.path, "--json").stdout)
    assert list(status) == [
        *("run", "state", "search", "space", "steps", "evaluated", "queued", "leased", "failed"),
        *("workers", "best", "seconds", "gpu_seconds", "outbox", "reused", "saved_gpu_seconds", "note"),
    ]
    assert (status["state"], status["evaluated"], status["steps"]) == ("finished", 8, 8)
    assert set(status["best"]) == {"id", "fitness"}
    text = hpcnas("status", "--run", finished.path).stdout
    assert "synthetic" in text
    assert "8 of 8" in text


def test_watching_ends_with_the_run(finished: RunFolder) -> None:
    done = hpcnas("status", "--watch", "--run", finished.path)
    assert done.returncode == 0
    assert "finished" in done.stdout


@pytest.mark.parametrize(("reader", "read"), [("head -1", "[\n"), ("true", "")])
def test_a_reader_that_goes_away_is_no_error(finished: RunFolder, reader: str, read: str) -> None:
    """In the middle of what is printed; and before anything is, so that the first write inside the command fails."""
    import subprocess

    command = f"PYTHONUNBUFFERED=1 {sys.executable} -m hpcnas population --format json --run {finished.path} | {reader}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, read, "")


def test_dry_run_shows_everything_and_makes_nothing(desk: Path) -> None:
    before = names(desk)
    done = hpcnas("head", "--run", "run", "--preset", "smoke", "--fitness", "synthetic", "--steps", "9", "--dry-run", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "steps = 9" in done.stdout
    assert "submitit" in done.stdout
    assert names(desk) == before


def test_options_beat_the_file_and_the_file_beats_the_preset(desk: Path) -> None:
    (desk / "mine.toml").write_text("[search]\nsteps = 5\npopulation = 6\n[space]\nkind = 'flat'\n")
    given = ("--preset", "smoke", "--config", "mine.toml", "--steps", "7", "--fitness", "synthetic", "--dry-run")
    shown = hpcnas("head", "--run", "run", *given, cwd=desk).stdout
    for line in ("steps = 7", "population = 6", 'kind = "flat"', "motifs = [1]", "nodes = [11]", "workers = 2"):
        assert line in " ".join(shown.split()).replace("[ ", "[").replace(", ]", "]")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_registers_the_commands_that_the_command_line_knows(family: str) -> None:
    app = typer.Typer()
    importlib.import_module(f"hpcnas.commands.{family}").register(app)
    assert tuple(typer.main.get_group(app).commands) == FAMILIES[family]


def test_every_command_has_help(desk: Path) -> None:
    shown = hpcnas("--help", cwd=desk).stdout
    commands = typer.main.get_command(build_app()).commands
    assert list(commands) == [name for names in FAMILIES.values() for name in names]
    for name, command in commands.items():
        assert name in shown
        assert " ".join((command.help or "").split()[:3]) in shown
    assert "--tournament" in hpcnas("head", "--help", cwd=desk).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["head", "--steps", "viele"], "Invalid value for '--steps': 'viele' is not a whole number; see `hpcnas head --help`"),
        (["head", "--hours", "x"], "Invalid value for '--hours': 'x' is not a number; see `hpcnas head --help`"),
        (["retry", "1.5"], "'1.5' is not a whole number; see `hpcnas retry --help`"),
    ],
)
def test_a_word_for_a_number_is_named_with_what_is_allowed(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_traceback_comes_only_with_debug(desk: Path) -> None:
    arguments = ("head", "--run", "run", "--workers", "0")
    assert "Traceback" not in hpcnas(*arguments, cwd=desk).stderr
    assert "Traceback" in hpcnas(*arguments, "--debug", cwd=desk).stderr


def test_the_version_is_printed(desk: Path) -> None:
    import hpcnas as package

    assert hpcnas("--version", cwd=desk).stdout == f"hpcnas {package.__version__}\n"


ASCII = {"PYTHONIOENCODING": "ascii"}


def test_a_stdout_that_takes_ascii_only_gets_question_marks(desk: Path) -> None:
    done = hpcnas("show", "published", cwd=desk, environment=ASCII)
    assert done.returncode == 0, done.stderr
    done = hpcnas("status", "--run", "löcher/🚀", cwd=desk, environment=ASCII)
    assert (done.returncode, "holds no run" in done.stderr) == (2, True)


def test_a_path_that_is_no_utf8_is_named_as_far_as_it_can_be(desk: Path) -> None:
    done = hpcnas("status", "--run", os.fsdecode(b"caf\xe9"), cwd=desk)
    assert (done.returncode, "caf? holds no run" in done.stderr) == (2, True)
