"""The worker as a real process: its start, its end by signals and poison, its exit codes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.head.breeder import Breeder
from hpcnas.head.create import create_run
from hpcnas.population import open_store
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.queries import Population
from hpcnas.population.store import Store
from hpcnas.records import State
from hpcnas.run_folder import RunFolder
from hpcnas.system.processes import start_ticks
from hpcnas.worker.loop import FAILURES_IN_A_ROW
from tests.processes import running, wait_until
from tests.worker.material import config_of

pytestmark = pytest.mark.timeout(300)


class Headless:
    """A run with its service in this process, and no head: the test watches."""

    def __init__(self, folder: RunFolder, fitness: str, steps: int = 6) -> None:
        self.folder = folder
        config = config_of(fitness, steps)
        create_run(folder, config)
        self.store: Store = open_store(folder, config)
        epoch = self.store.begin_epoch()
        self.service = Service(self.store, read_secret(folder), Breeder(self.store, config).breed)
        self.service.start()
        self.service.publish(folder, epoch)

    def close(self) -> None:
        self.service.stop()
        self.store.close()


@pytest.fixture
def opened(run_folder: RunFolder) -> Iterator[list[Headless]]:
    runs: list[Headless] = []
    yield runs
    for run in runs:
        run.close()


def worker_of(folder: RunFolder, log: Path, environment: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    return running("--run", folder.path, log=log, module="hpcnas.worker", environment=environment)


def test_a_worker_by_hand_does_the_work_and_leaves_when_it_is_done(
    run_folder: RunFolder, tmp_path: Path, opened: list[Headless]
) -> None:
    run = Headless(run_folder, "synthetic")
    opened.append(run)
    with worker_of(run_folder, tmp_path / "log") as worker:
        wait_until(lambda: run.store.counts().evaluated == 6)
        run.store.set_finished(True)
        assert worker.wait(30) == 0
    with Population.open(run_folder) as population:
        (row,) = population.workers()
    assert row.end_reason == "no more work"
    assert row.pid == worker.pid


def test_neither_torch_nor_what_the_head_needs_is_imported(run_folder: RunFolder, opened: list[Headless]) -> None:
    run = Headless(run_folder, "synthetic", steps=3)
    opened.append(run)
    code = (
        "import sys, hpcnas.worker.process\n"
        f"code = hpcnas.worker.process.run_worker({str(run_folder.path)!r})\n"
        "heavy = {'torch', 'torchvision', 'submitit', 'typer', 'rich', 'numpy', 'matplotlib', 'psycopg'}\n"
        "print(code, sorted(heavy & set(sys.modules)))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: run.store.counts().evaluated == 3)
    run.store.set_finished(True)
    output, _ = process.communicate(timeout=30)
    assert output == "0 []\n"


@pytest.mark.serial
def test_a_worker_claims_within_half_a_second_of_its_start(
    run_folder: RunFolder, tmp_path: Path, opened: list[Headless]
) -> None:
    """The best of five starts: the machine may be busy, the worker may not."""
    run = Headless(run_folder, "synthetic:5", steps=50)
    opened.append(run)
    took = []
    for count in range(1, 6):
        started = time.monotonic()
        with worker_of(run_folder, tmp_path / "log") as worker:
            while run.store.counts().leased < count and worker.poll() is None:
                time.sleep(0.002)
            took.append(time.monotonic() - started)
    assert min(took) < 0.5, took


def test_a_worker_told_to_end_gives_its_genotype_back(run_folder: RunFolder, tmp_path: Path, opened: list[Headless]) -> None:
    run = Headless(run_folder, "synthetic:60")
    opened.append(run)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGUSR2, 140), (signal.SIGINT, 130)):
        with worker_of(run_folder, tmp_path / "log") as worker:
            wait_until(lambda: run.store.counts().leased == 1)
            worker.send_signal(number)
            assert worker.wait(20) == code
        assert run.store.counts().leased == 0
    with Population.open(run_folder) as population:
        first = population.individual(1)
    assert (first.state, first.preemptions, first.errors, first.losses) == (State.QUEUED, 3, 0, 0)


LEAVES_MORE = """
import multiprocessing, os, threading, time
def evaluate(genotype, *, repeat, seed, progress):
    if os.environ["LEAVES"] == "thread":
        threading.Thread(target=time.sleep, args=(1000,)).start()
    else:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        child.start()
        with open(os.environ["PIDS"], "a") as file:
            print(child.pid, file=file)
    return 0.5
"""

AS_A_TASK = "import sys; from hpcnas.cluster.launcher import run_task; run_task(sys.argv[1])"


@pytest.mark.parametrize("leaves", ["thread", "process"])
@pytest.mark.parametrize("how", ["by hand", "as a task", "by the command"])
def test_a_worker_ends_whatever_threads_and_processes_a_fitness_function_leaves(
    run_folder: RunFolder, tmp_path: Path, opened: list[Headless], monkeypatch: pytest.MonkeyPatch, leaves: str, how: str
) -> None:
    (tmp_path / "leaves_more.py").write_text(LEAVES_MORE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LEAVES", leaves)
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    (tmp_path / "pids").touch()
    run = Headless(run_folder, "leaves_more:evaluate", steps=2)
    opened.append(run)
    words = {
        "by hand": ["-m", "hpcnas.worker", "--run", str(run_folder.path)],
        "as a task": ["-c", AS_A_TASK, str(run_folder.path)],
        "by the command": ["-m", "hpcnas", "worker", "--run", str(run_folder.path)],
    }[how]
    worker = subprocess.Popen([sys.executable, *words], cwd=tmp_path)
    try:
        wait_until(lambda: run.store.counts().evaluated == 2)
        run.store.set_finished(True)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    children = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(children) == (4 if leaves == "process" else 0)
    wait_until(lambda: all(start_ticks(child) is None for child in children), 20)


def test_evaluate_ends_whatever_threads_a_fitness_function_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_more.py").write_text(LEAVES_MORE)
    monkeypatch.setenv("LEAVES", "thread")
    command = [sys.executable, "-m", "hpcnas", "evaluate", "published", "--fitness", "leaves_more:evaluate"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "fitness 50.00" in done.stdout


POISON = """
import os, signal, sys, time
def evaluate(genotype, *, repeat, seed, progress):
    kind = os.environ["POISON"]
    if kind == "segv": os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "_exit": os._exit(0)
    if kind == "exit": sys.exit(0)
    if kind == "nan": return float("nan")
    if kind == "memory": raise MemoryError("no more")
    if kind == "recursion": evaluate(genotype, repeat=repeat, seed=seed, progress=progress)
    if kind == "raise": raise ValueError("odd")
    while kind == "loop": time.sleep(0.1)
    return 0.5
"""


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("exit", "crash"), ("nan", "nan"), ("memory", "oom"), ("recursion", "crash"), ("raise", "crash")],
)
def test_poison_that_raises_becomes_a_failure_with_its_reason_and_ends_the_worker_after_three(
    run_folder: RunFolder, tmp_path: Path, opened: list[Headless], kind: str, reason: str
) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    os.environ.setdefault("POISON", kind)
    sys.path.insert(0, str(tmp_path))
    try:
        run = Headless(run_folder, "poison:evaluate")
    finally:
        sys.path.remove(str(tmp_path))
    opened.append(run)
    with worker_of(run_folder, tmp_path / "log", {"PYTHONPATH": str(tmp_path), "POISON": kind}) as worker:
        assert worker.wait(60) == 1
    with Population.open(run_folder) as population:
        attempts = [attempt for attempt in population.attempts() if attempt.outcome]
        failed = population.individuals(State.FAILED)
    assert len(attempts) == FAILURES_IN_A_ROW
    assert {attempt.outcome for attempt in attempts} == {reason}
    assert [one.reason for one in failed] == [reason]  # two attempts each: one genotype failed, the next has an attempt left


@pytest.mark.parametrize("kind", ["segv", "_exit"])
def test_poison_that_kills_its_worker_is_lost_three_times_and_fails(
    run_folder: RunFolder, tmp_path: Path, opened: list[Headless], kind: str
) -> None:
    run = Headless(run_folder, "synthetic")
    opened.append(run)
    config_text = run_folder.config.read_text().replace('"synthetic"', '"poison:evaluate"')
    run_folder.config.write_text(config_text)
    run.store.set_config(RunConfig.from_dict({**config_of("poison:evaluate").to_dict()}))
    (tmp_path / "poison.py").write_text(POISON)
    for _ in range(3):
        with worker_of(run_folder, tmp_path / "log", {"PYTHONPATH": str(tmp_path), "POISON": kind}) as worker:
            assert worker.wait(60) == (0 if kind == "_exit" else -signal.SIGSEGV)
        (view,) = run.store.leases()
        assert run.store.expire(view, "no heartbeat")
    with Population.open(run_folder) as population:
        first = population.individual(1)
    assert (first.state, first.losses, first.errors, first.reason) == (State.FAILED, 3, 0, "lost")


def test_a_worker_of_a_finished_run_says_so_and_leaves(run_folder: RunFolder, tmp_path: Path) -> None:
    """Long before the lease of 20 s for which it would wait for a head."""
    run = Headless(run_folder, "synthetic")
    run.store.set_finished(True)
    run.service.stop()
    run.store.close()
    run_folder.head_address.unlink()
    with worker_of(run_folder, tmp_path / "log") as worker:
        assert worker.wait(15) == 0
    assert "has all its genotypes; there is nothing to do" in (tmp_path / "log").read_text()


def test_a_worker_tells_at_once_that_it_waits_for_a_head(run_folder: RunFolder, tmp_path: Path) -> None:
    run = Headless(run_folder, "synthetic")
    run.service.stop()
    run.store.close()
    run_folder.head_address.unlink()
    with worker_of(run_folder, tmp_path / "log") as worker:
        wait_until(lambda: "waiting up to 20 s for a head" in (tmp_path / "log").read_text(), 15)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 143


def test_one_sentence_and_exit_code_two_for_a_folder_without_a_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hpcnas.worker", "--run", str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds no run" in done.stderr
