"""The worker as a real process, and its decisions beside a fake queue."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpcnas.cluster.signals import StopFlag
from hpcnas.cluster.task import Deadline
from hpcnas.config import RunConfig
from hpcnas.errors import DataError, UnfitHostError
from hpcnas.head.breeder import Breeder
from hpcnas.head.create import create_run
from hpcnas.population import open_store
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.queries import Population
from hpcnas.population.store import Store
from hpcnas.records import Claim, State, Verdict, WorkerInfo
from hpcnas.run_folder import RunFolder
from hpcnas.system.processes import start_ticks
from hpcnas.worker.loop import FAILURES_IN_A_ROW, Worker
from tests.head.fakes import FakeQueue, lease
from tests.processes import running, wait_until

pytestmark = pytest.mark.timeout(300)


def config_of(fitness: str, steps: int = 6) -> RunConfig:
    return RunConfig.from_dict(
        {
            "search": {"steps": steps, "population": 3},
            "recipe": {"fitness": fitness, "repeats": 2, "channels": 4},
            "cluster": {"workers": 1, "cluster": "local", "lease_s": 20.0, "heartbeat_s": 0.2},
        }
    )


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
        "import sys, hpcnas.worker.loop\n"
        f"code = hpcnas.worker.loop.run_worker({str(run_folder.path)!r})\n"
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


class Scripted(FakeQueue):
    """Grants the leases it is given, then says FINISHED."""

    def __init__(self, config: RunConfig, claims: list[Claim]) -> None:
        super().__init__()
        self.config, self.claims, self.claim_ids = config, claims, []  # type: ignore[var-annotated]

    def join(self, worker: WorkerInfo) -> str:
        self._note("join", worker)
        return json.dumps(self.config.to_dict())

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        self.claim_ids.append(claim_id)
        self._note("claim", claim_id)
        return self.claims.pop(0) if self.claims else Claim(Verdict.FINISHED)


def scripted_worker(folder: RunFolder, claims: list[Claim], left_s: float | None = None) -> tuple[Worker, Scripted]:
    config = config_of("synthetic")
    queue = Scripted(config, claims)
    return Worker(folder, config, queue, StopFlag(), Deadline(left_s)), queue


def granted(expected_s: float | None = None) -> Claim:
    return Claim(Verdict.OK, lease(expected_s=expected_s))


def test_each_question_has_a_claim_id_of_its_own(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted(), granted()])
    assert worker.run() == 0
    assert len(set(queue.claim_ids)) == len(queue.claim_ids) == 3


def test_a_question_without_an_answer_is_asked_again_under_the_same_claim_id(run_folder: RunFolder) -> None:
    """The grant may have been made and its answer lost: another claim_id would be a second lease."""
    worker, queue = scripted_worker(run_folder, [granted()])
    note, failures = queue._note, iter([True, True])

    def lossy(what: str, detail: object) -> Verdict:
        from hpcnas.errors import StoreUnavailable

        answer = note(what, detail)
        if what == "claim" and next(failures, False):
            raise StoreUnavailable("the answer was lost")
        return answer

    queue._note = lossy  # type: ignore[method-assign]
    assert worker.run() == 0
    assert queue.claim_ids[0] == queue.claim_ids[1] == queue.claim_ids[2] != queue.claim_ids[3]


def test_a_genotype_that_cannot_be_finished_in_time_is_given_back_and_no_more_is_claimed(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted(expected_s=100.0), granted()], left_s=110.0)
    assert worker.run() == 0
    assert queue.heard("release") == ["too little time left"]
    assert len(queue.claim_ids) == 1
    assert not queue.heard("record")


def test_repeats_that_end_together_must_all_fit_into_the_time_that_is_left(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """130 s are enough for one repeat of 100 s after the other, not for two that end after 200 s."""
    monkeypatch.setattr("hpcnas.training.fitness.synthetic.SyntheticEvaluator.at_once", 2)
    worker, queue = scripted_worker(run_folder, [granted(expected_s=100.0)], left_s=130.0)
    assert worker.config.recipe.repeats >= 2
    assert worker.run() == 0
    assert queue.heard("release") == ["too little time left"]
    assert not queue.heard("record")


def test_a_genotype_that_can_be_finished_in_time_is_begun(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted(expected_s=100.0)], left_s=130.0)
    assert worker.run() == 0
    assert len(queue.heard("record")) == 2


def test_a_worker_without_a_head_waits_for_a_lease_and_ends(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [])
    queue.is_away = True
    worker._patience_s = lambda: 0.3  # type: ignore[method-assign]
    assert worker.run() == 1


def test_a_worker_that_loses_its_head_while_it_waits_leaves_with_the_reason(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted()])
    worker._patience_s = lambda: 0.3  # type: ignore[method-assign]
    claim = queue.claim

    def claim_and_go(worker_id: str, claim_id: str) -> Claim:
        queue.is_away = len(queue.claim_ids) >= 1
        return claim(worker_id, claim_id)

    queue.claim = claim_and_go  # type: ignore[method-assign]
    reasons: list[str] = []
    queue.leave = lambda worker_id, reason: reasons.append(reason)  # type: ignore[method-assign]
    assert worker.run() == 1
    assert len(queue.heard("record")) == 2
    (reason,) = reasons
    assert reason.startswith("no head for ")


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


def test_a_goodbye_does_not_wait_for_a_silent_head(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcnas.worker.loop.GOODBYE_S", 0.2)
    worker, queue = scripted_worker(run_folder, [])
    is_over = threading.Event()
    queue.leave = lambda worker_id, reason: is_over.wait(60) and None  # type: ignore[method-assign]
    began = time.monotonic()
    assert worker.run() == 0
    took_s = time.monotonic() - began
    is_over.set()
    assert took_s < 20


def test_a_worker_that_hangs_before_its_first_claim_ends_soon_after_it_is_told_to(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_loading, has_ended = threading.Event(), threading.Event()

    def load(*_: object, **__: object) -> None:
        is_loading.set()
        assert has_ended.wait(20)

    monkeypatch.setattr("hpcnas.worker.loop.load_evaluator", load)
    monkeypatch.setattr("hpcnas.worker.loop.STOP_S", 0.3)
    worker, queue = scripted_worker(run_folder, [granted()])
    monkeypatch.setattr(worker, "_end", has_ended.set)
    working = threading.Thread(target=worker.run)
    working.start()
    assert is_loading.wait(10)
    worker.flag.request("terminated")
    working.join(30)
    assert has_ended.is_set()
    assert queue.claim_ids == []


def leavers(queue: Scripted) -> list[str]:
    """Reasons from now on."""
    reasons: list[str] = []
    queue.leave = lambda worker_id, reason: reasons.append(reason)  # type: ignore[method-assign]
    return reasons


def training_worker(folder: RunFolder, data: Path, gpus: int = 1) -> tuple[Worker, Scripted]:
    worker, queue = scripted_worker(folder, [granted()])
    recipe = replace(queue.config.recipe, fitness="train", dataset="cifar10", data=str(data))
    queue.config = replace(queue.config, recipe=recipe, cluster=replace(queue.config.cluster, gpus_per_worker=gpus))
    return worker, queue


def test_a_worker_that_cannot_work_claims_no_genotype(run_folder: RunFolder, tmp_path: Path) -> None:
    """Released again and again by such workers, a genotype would count as preempted and fail in the end."""
    worker, queue = training_worker(run_folder, tmp_path / "nothing", gpus=0)
    reasons = leavers(queue)
    with pytest.raises(DataError):
        worker.run()
    assert queue.claim_ids == []
    assert len(reasons) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU is seen")
def test_a_worker_that_was_given_a_gpu_and_sees_none_refuses(
    run_folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    worker, queue = training_worker(run_folder, tmp_path)
    reasons = leavers(queue)
    with pytest.raises(UnfitHostError, match=r"gave this process a GPU .* or give --gpus-per-worker 0 to the head"):
        worker.run()
    assert queue.claim_ids == []
    assert reasons[0].startswith("unfit host: ")


def test_a_worker_of_a_head_that_asks_for_no_gpu_trains_without_one(
    run_folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets as far as the data, which are not there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    worker, _ = training_worker(run_folder, tmp_path / "nothing", gpus=0)
    with pytest.raises(DataError):
        worker.run()


def test_one_sentence_and_exit_code_two_for_a_folder_without_a_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hpcnas.worker", "--run", str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds no run" in done.stderr
