"""jobs/results.sh: searches, full size and report in stretches on several machines, by one command."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder
from tests.processes import ENVIRONMENT, ROOT, ImportBarrier, end_processes, evaluated, wait_until

SCRIPT = ROOT / "jobs/results.sh"
TINY = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "HPCNAS_DATASET": "digits",
    "HPCNAS_SEARCH_ARGS": "--fitness synthetic:0.1 --repeats 1 --channels 4 --cpus-per-worker 1",
    "HPCNAS_FINAL_ARGS": "--channels 2 --cells 1 --batch 8 --crop 8 --device cpu",
}
SIZES = ("--genotypes", "8", "--population", "3", "--runs", "1", "--full-steps", "2")


def results(folder: Path, *more: str, environment: Mapping[str, str] | None = None, before: str = "") -> subprocess.Popen[str]:
    """The script in a process group of its own, as a terminal starts it; `before` is done first by the same bash."""
    return subprocess.Popen(
        ["bash", "-c", f'{before} source "$0" "$@"', str(SCRIPT), "--folder", str(folder), *SIZES, *more],
        env={**ENVIRONMENT, **TINY, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def clock_until(is_over: Path) -> str:
    """Bash that puts its clock far forward as soon as the file is there, when the script looks at the time."""
    return f'sleep() {{ [ ! -e "{is_over}" ] || SECONDS=100000; command sleep 0.05; }};'


def trainings(run: Path) -> list[tuple[str, int]]:
    """Genotype and number of every full-size training that the population holds."""
    with Population.open(run) as population:
        return sorted((final.digest, final.run) for final in population.finals())


@pytest.mark.timeout(300)
def test_results_come_out_whole_of_two_stretches_on_two_machines(tmp_path: Path) -> None:
    """Ctrl-C ends the first; a copy of its folder goes on under another name."""
    first, elsewhere = tmp_path / "first", tmp_path / "elsewhere"
    process = results(first)
    try:
        wait_until(lambda: evaluated(RunFolder(first / "evolution")) >= 1)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=90)[0]
    finally:
        end_processes(first)
    assert process.returncode == 0, said
    assert "interrupted; the same command goes on" in said
    assert "drained at" in said, "the head had Ctrl-C once, so that it finished what was being trained"
    assert evaluated(RunFolder(first / "evolution")) < 8
    assert not (first / "random").exists()
    assert (first / "results.md").exists()

    shutil.copytree(first, elsewhere)
    process = results(elsewhere)
    try:
        said = process.communicate(timeout=200)[0]
    finally:
        end_processes(elsewhere)
    assert process.returncode == 0, said
    assert "everything is there" in said
    assert [evaluated(RunFolder(elsewhere / name)) for name in ("evolution", "random")] == [8, 8]
    of_evolution, of_random = trainings(elsewhere / "evolution"), trainings(elsewhere / "random")
    assert len(of_evolution) == len({*of_evolution}) in (2, 3), (
        "first random, best (perhaps the same), the paper's cell: each once"
    )
    assert len(of_random) == 1, "the best"
    assert "digits test error" in (elsewhere / "results.md").read_text()
    assert (elsewhere / "figures/figure3.svg").exists()


def test_ctrl_c_in_the_first_moments_of_a_command_ends_it(tmp_path: Path) -> None:
    """While Python imports, hpcnas handles no signal yet, and bash starts a background command with SIGINT ignored."""
    barrier = ImportBarrier(tmp_path, "hpcnas.cli")
    process = results(tmp_path / "early", environment=barrier.environment)
    try:
        wait_until(barrier.reached.exists)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[0]  # the barrier stays closed
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
    assert process.returncode == 0, said
    assert "interrupted; the same command goes on" in said
    assert list((tmp_path / "early").iterdir()) == []


COMMAND = """#!/bin/sh
trap 'exit 0' INT TERM
while :; do sleep 0.05; done
"""
# Before each line of the script. The copy of bash that will be the command ignores Ctrl-C until the script sleeps.
AT_LINES = """at() {
  case $BASH_COMMAND in
    "trap - INT") >copy; until [ -e slept ]; do :; done ;;
    LINE) until [ -e copy ]; do :; done; [ -e sent ] || { >sent; kill -INT 0; } ;;
    sleep*) >slept ;;
  esac
}
set -T
trap at DEBUG
"""


@pytest.mark.parametrize("line", ["*=\\$!", "command=*"])
def test_ctrl_c_while_a_command_is_still_a_copy_of_bash_reaches_it(tmp_path: Path, line: str) -> None:
    """It comes before the script keeps the process id, or when the copy has just become the command."""
    (tmp_path / "hpcnas").write_text(COMMAND)
    (tmp_path / "hpcnas").chmod(0o755)
    before = f"cd {tmp_path}\n{AT_LINES.replace('LINE', line)}"
    process = results(tmp_path / "early", environment={"PATH": f"{tmp_path}:{TINY['PATH']}"}, before=before)
    try:
        said = process.communicate(timeout=30)[0]
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
    assert process.returncode == 0, said
    assert "interrupted; the same command goes on" in said


@pytest.mark.timeout(300)
def test_the_deadline_drains_the_search_that_runs(tmp_path: Path) -> None:
    """The clock of bash is put forward when a genotype is evaluated."""
    folder, is_over = tmp_path / "stretch", tmp_path / "over"
    process = results(folder, "--minutes", "600", before=clock_until(is_over))
    try:
        wait_until(lambda: evaluated(RunFolder(folder / "evolution")) >= 1)
        is_over.touch()
        said = process.communicate(timeout=90)[0]
    finally:
        end_processes(folder)
    assert process.returncode == 0, said
    assert "600 minutes are over; the same command goes on" in said
    assert "drained at" in said
    assert 1 <= evaluated(RunFolder(folder / "evolution")) < 8
    assert not (folder / "random").exists()


@pytest.mark.timeout(300)
def test_the_deadline_makes_a_full_size_training_save_a_checkpoint(tmp_path: Path) -> None:
    folder, is_over = tmp_path / "stretch", tmp_path / "over"
    often = {"HPCNAS_FINAL_ARGS": f"{TINY['HPCNAS_FINAL_ARGS']} --checkpoint-minutes 0.001"}
    words = ("--minutes", "600", "--searches", "random", "--full-steps", "1000000")
    process = results(folder, *words, environment=often, before=clock_until(is_over))
    try:
        wait_until(lambda: any(folder.rglob("checkpoint-*.pt")))
        is_over.touch()
        said = process.communicate(timeout=90)[0]
    finally:
        end_processes(folder)
    assert process.returncode == 0, said
    assert "600 minutes are over; the same command goes on" in said
    stopped = re.search(r"SIGTERM stopped the training at step (\d+) of 1000000; the same command goes on there", said)
    assert stopped, said
    assert f"checkpoint of step {stopped[1]} written" in said


def test_a_stretch_without_time_left_begins_nothing(tmp_path: Path) -> None:
    """The clock of bash starts below 60 seconds, so that the deadline is behind it at once."""
    command = f"SECONDS=100000; set -- --folder {tmp_path / 'late'} --minutes 1; source {SCRIPT}"
    answer = subprocess.run(["bash", "-c", command], env={**ENVIRONMENT, **TINY}, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "1 minutes are over; the same command goes on" in answer.stdout
    assert list((tmp_path / "late").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--minutes", "0"), "--minutes 0 must be a whole number of at least 1"),
        (("--searches", "evolution,hill"), "--searches evolution,hill must be evolution, random or flat, or several"),
        (("--searches", ",evolution"), "--searches ,evolution must be evolution, random or flat, or several"),
        (("--genotypes",), "--genotypes needs a value"),
        (("--gpu", "1"), "unknown option --gpu"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    answer = subprocess.run(
        ["bash", str(SCRIPT), *words], cwd=tmp_path, env={**ENVIRONMENT, **TINY}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert reason in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
