"""The head as a real process."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import Individual, State
from hpcnas.run_folder import RunFolder
from tests.processes import evaluated, head_arguments, hpcnas, processes_of, running, wait_until

pytestmark = pytest.mark.timeout(300)  # of a busy machine: alone they take seconds


def individuals(folder: RunFolder) -> list[Individual]:
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        return population.individuals()


def essence(one: Individual) -> tuple[object, ...]:
    return one.genotype, one.parent_id, one.mutation, one.digest, one.parameters, one.accuracies


def search(folder: RunFolder, *more: str) -> subprocess.CompletedProcess[str]:
    return hpcnas(*head_arguments(folder, *more), timeout_s=110)


def test_a_search_evaluates_exactly_its_steps_and_says_where_to_go_next(run_folder: RunFolder) -> None:
    done = search(run_folder, "--workers", "3", "--steps", "20")
    assert done.returncode == 0, done.stderr
    assert "finished: 20 genotypes evaluated" in done.stdout
    assert f"hpcnas report --run {run_folder.path}" in done.stdout
    found = individuals(run_folder)
    assert len(found) == 20
    assert all(one.state is State.EVALUATED and len(one.accuracies) == 2 for one in found)
    assert not run_folder.lock.exists()
    assert not run_folder.head_address.exists()
    assert processes_of(run_folder.path) == []
    assert check_database(run_folder) == []

    again = search(run_folder, "--workers", "3", "--steps", "20")
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)
    more = search(run_folder, "--workers", "2", "--steps", "24")
    assert more.returncode == 0
    assert [essence(one) for one in individuals(run_folder)[:20]] == [essence(one) for one in found]
    assert evaluated(run_folder) == 24


def test_one_worker_and_one_seed_give_the_same_population_twice(tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("a", "b", "c")]
    for folder, seed in zip(runs, ("7", "7", "8"), strict=True):
        assert search(folder, "--workers", "1", "--steps", "16", "--seed", seed).returncode == 0
    first, second, other = ([essence(one) for one in individuals(folder)] for folder in runs)
    assert first == second
    assert first != other


def test_a_killed_head_goes_on_as_if_nothing_had_happened(run_folder: RunFolder, tmp_path: Path) -> None:
    """kill -9 at random moments, the same command again: the population of an undisturbed run."""
    calm = RunFolder(tmp_path / "calm")
    assert search(calm, "--workers", "1", "--steps", "14").returncode == 0
    rng = random.Random(5)
    arguments = head_arguments(run_folder, "--workers", "1", "--steps", "14")
    for _ in range(5):
        before = evaluated(run_folder)
        with running(*arguments, log=tmp_path / "log") as head:
            wait_until(lambda before=before: evaluated(run_folder) > before or head.poll() is not None)
            time.sleep(rng.uniform(0, 0.2))
            head.kill()
    assert hpcnas(*arguments, timeout_s=110).returncode == 0
    assert [essence(one) for one in individuals(run_folder)] == [essence(one) for one in individuals(calm)]


def test_a_killed_head_over_postgresql_goes_on(run_folder: RunFolder, tmp_path: Path, postgres: str) -> None:
    """Workers claim from the database themselves and are bred for while the head is busy."""
    arguments = head_arguments(run_folder, "--workers", "2", "--steps", "24", "--store", postgres)
    for count in (3, 9):
        with running(*arguments, log=tmp_path / "log") as head:
            wait_until(
                lambda count=count: "0/24 evaluated" in (tmp_path / "log").read_text() and evaluated(run_folder) >= count
            )
            head.kill()
    assert hpcnas(*arguments, timeout_s=110).returncode == 0
    assert [one.state for one in individuals(run_folder)] == [State.EVALUATED] * 24
    wait_until(lambda: processes_of(run_folder.path) == [], 30)


def test_killed_workers_are_replaced_and_nothing_counts_twice(run_folder: RunFolder, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[cluster]\nlease_s = 2.0\nheartbeat_s = 0.3\n")
    arguments = head_arguments(run_folder, "--workers", "3", "--steps", "30", "--config", str(settings))
    rng = random.Random(6)
    with running(*arguments, log=tmp_path / "log") as head:
        for count in range(3, 22, 3):
            wait_until(lambda count=count: evaluated(run_folder) >= count)
            workers = [pid for pid in processes_of(run_folder.path) if pid != head.pid]
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
        assert head.wait(60) == 0
    found = individuals(run_folder)
    assert sum(one.state is State.EVALUATED for one in found) == 30


def test_ctrl_c_drains_and_the_same_command_goes_on(run_folder: RunFolder, tmp_path: Path) -> None:
    arguments = head_arguments(run_folder, "--workers", "2", "--steps", "40")
    with running(*arguments, log=tmp_path / "log") as head:
        wait_until(lambda: evaluated(run_folder) >= 3)
        head.send_signal(signal.SIGINT)
        assert head.wait(30) == 130
    found = individuals(run_folder)
    assert not [one for one in found if one.state is State.LEASED]
    assert all(one.state is State.EVALUATED for one in found if one.token)  # what ran was finished
    assert "drained at" in (tmp_path / "log").read_text()
    assert processes_of(run_folder.path) == []
    assert hpcnas(*arguments, timeout_s=110).returncode == 0
    assert evaluated(run_folder) == 40


def test_ctrl_c_twice_leaves_at_once_and_workers_go_on(run_folder: RunFolder, tmp_path: Path) -> None:
    arguments = [*head_arguments(run_folder, "--workers", "2", "--steps", "8"), "--fitness", "synthetic:2"]
    with running(*arguments, log=tmp_path / "log") as head:
        wait_until(
            lambda: ((tmp_path / "log").exists() and "2 training" in (tmp_path / "log").read_text()) or _leased(run_folder) == 2
        )
        head.send_signal(signal.SIGINT)
        wait_until(lambda: "draining" in (tmp_path / "log").read_text())
        head.send_signal(signal.SIGINT)
        assert head.wait(10) == 130
    assert len(processes_of(run_folder.path)) >= 2
    assert not run_folder.lock.exists()


def _leased(folder: RunFolder) -> int:
    if not folder.config.exists():
        return 0
    with Population.open(folder) as population:
        return population.counts().leased


def test_a_dropped_connection_does_not_end_the_search(run_folder: RunFolder, tmp_path: Path) -> None:
    arguments = head_arguments(run_folder, "--workers", "2", "--steps", "16")
    with running(*arguments, log=tmp_path / "log") as head:
        wait_until(lambda: evaluated(run_folder) >= 2)
        head.send_signal(signal.SIGHUP)
        assert head.wait(60) == 0
    assert evaluated(run_folder) == 16


def test_a_closed_standard_output_does_not_end_the_search(run_folder: RunFolder) -> None:
    command = [sys.executable, "-m", "hpcnas.head", *head_arguments(run_folder, "--workers", "2", "--steps", "10")[1:]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1])
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert evaluated(run_folder) == 10


def test_stop_drains_a_running_head(run_folder: RunFolder, tmp_path: Path) -> None:
    with running(*head_arguments(run_folder, "--workers", "2", "--steps", "400"), log=tmp_path / "log") as head:
        wait_until(lambda: evaluated(run_folder) >= 2)
        status = json.loads(hpcnas("status", "--run", run_folder.path, "--json").stdout)
        assert (status["state"], status["workers"]["wanted"]) == ("running", 2)
        asked = hpcnas("stop", "--run", run_folder.path)
        assert "asked the head" in asked.stdout, asked.stderr
        assert head.wait(30) == 0
    status = json.loads(hpcnas("status", "--run", run_folder.path, "--json").stdout)
    assert (status["state"], status["leased"], status["workers"]) == ("stopped", 0, {"live": 0, "wanted": 0})


def test_workers_that_start_when_a_stop_comes_leave_with_the_head(run_folder: RunFolder, tmp_path: Path) -> None:
    with running(*head_arguments(run_folder, "--workers", "6", "--steps", "400"), log=tmp_path / "log") as head:
        wait_until(lambda: len(processes_of(run_folder.path)) > 3)
        asked = hpcnas("stop", "--run", run_folder.path)
        assert "asked the head" in asked.stdout, asked.stderr
        assert head.wait(60) == 0
    wait_until(lambda: processes_of(run_folder.path) == [], 10)


def test_a_fault_in_ones_own_fitness_function_is_told_at_once_and_ends_the_search(
    run_folder: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("def f(genotype, *, repeat, seed, progress):\n    return undefined\n")
    arguments = [*head_arguments(run_folder, "--workers", "2", "--steps", "40"), "--fitness", "broken:f"]
    with running(*arguments, log=tmp_path / "log", environment={"PYTHONPATH": str(tmp_path)}) as head:
        assert head.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert "first failure: genotype 1" in said
    assert "NameError: name 'undefined' is not defined" in said
    assert "Traceback" in said
    assert "without claiming" not in said


def test_stop_cancel_gives_running_genotypes_back(run_folder: RunFolder, tmp_path: Path) -> None:
    arguments = [*head_arguments(run_folder, "--workers", "2", "--steps", "8"), "--fitness", "synthetic:30"]
    with running(*arguments, log=tmp_path / "log") as head:
        wait_until(lambda: _leased(run_folder) == 2)
        assert hpcnas("stop", "--cancel", "--run", run_folder.path).returncode == 0
        assert head.wait(30) == 0
    found = individuals(run_folder)
    assert [one.state for one in found] == [State.QUEUED] * len(found)
    assert all(one.preemptions == 1 and one.errors == 0 for one in found)
    assert processes_of(run_folder.path) == []


def test_a_head_ended_by_the_system_drains(run_folder: RunFolder, tmp_path: Path) -> None:
    with running(*head_arguments(run_folder, "--workers", "2", "--steps", "400"), log=tmp_path / "log") as head:
        wait_until(lambda: evaluated(run_folder) >= 1)
        head.send_signal(signal.SIGTERM)
        assert head.wait(30) == 143


def test_a_failed_genotype_can_be_retried_beside_a_running_head_and_without_one(run_folder: RunFolder, tmp_path: Path) -> None:
    """The function fails until a file appears: what failed before is queued anew and evaluated."""
    (tmp_path / "flaky.py").write_text(
        "import pathlib, time\n"
        "def f(genotype, *, repeat, seed, progress):\n"
        "    if repeat == 0: return 0.5\n"  # or the head would take it for a function that always fails
        f"    if not pathlib.Path({str(tmp_path / 'good')!r}).exists(): raise ValueError('not yet')\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n"
        "        time.sleep(0.02); progress(0.5)\n"
        "    return 0.5\n"
    )
    arguments = [
        *head_arguments(run_folder, "--workers", "1", "--steps", "8"),
        *("--fitness", "flaky:f"),
    ]
    environment = {"PYTHONPATH": str(tmp_path)}
    with running(*arguments, log=tmp_path / "log", environment=environment) as head:
        wait_until(lambda: _failed(run_folder) >= 2)
        (tmp_path / "good").touch()
        asked = hpcnas("retry", "1", "--run", run_folder.path)
        assert "asked the head" in asked.stdout, asked.stderr
        wait_until(lambda: individuals(run_folder)[0].state is not State.FAILED)
        (tmp_path / "go").touch()
        assert head.wait(60) == 0
    by_id = {one.id: one for one in individuals(run_folder)}
    assert by_id[1].state is State.EVALUATED
    assert by_id[2].state is State.FAILED
    shown = hpcnas("failures", "--run", run_folder.path).stdout
    assert "ValueError: not yet" in shown
    assert "Traceback" in shown
    said = hpcnas("retry", "2", "--run", run_folder.path).stdout
    assert "is queued anew; the head trains it when it is started with higher --steps" in said
    assert individuals(run_folder)[1].state is State.QUEUED


def _failed(folder: RunFolder) -> int:
    if not folder.config.exists():
        return 0
    with Population.open(folder) as population:
        return population.counts().failed
