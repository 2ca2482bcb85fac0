"""`hpcnas final` before its first step: what it says, and that it leaves within moments of a signal."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcnas.system.lock_file import TRAINING_LOCK
from hpcnas.training.full_size import train as final_training
from tests.commands.conftest import command, tiny

pytestmark = pytest.mark.usefixtures("outside_of_slurm")

SOON_S = 10.0  # 2 s, and patience with a busy machine; without the signal it would be a minute


def sleep_in_python() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)


def hang_in_c() -> None:
    """A call that no signal interrupts: a mutex is locked twice."""
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)


def swallow() -> None:
    """A library that goes on whatever is raised."""
    with contextlib.suppress(Exception):
        sleep_in_python()


def signalled(arguments: list[str], number: signal.Signals, prepare: Callable[[], None]) -> tuple[int | None, float]:
    """Send a signal while the data set is opened by `prepare`; exit code and seconds from then on."""
    opening, really_open = multiprocessing.Event(), final_training.open_data

    def open_data(*given: Any) -> object:
        opening.set()
        prepare()
        return really_open(*given)

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(final_training, "open_data", open_data)
            os._exit(command(*arguments))

    process = multiprocessing.get_context("fork").Process(target=run)  # torch is imported already
    process.start()
    assert opening.wait(60)
    began = time.monotonic()
    os.kill(process.pid or 0, number)
    process.join(60)
    process.kill()
    return process.exitcode, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("prepare", [sleep_in_python, hang_in_c, swallow])
def test_signal_while_it_prepares_ends_it_within_moments(
    tmp_path: Path, genotype_file: str, number: signal.Signals, prepare: Callable[[], None]
) -> None:
    arguments = tiny(genotype_file, tmp_path / "run", "--runs", "1")
    code, seconds = signalled(arguments, number, prepare)
    assert code == 128 + number
    assert seconds < SOON_S
    assert command(*arguments) == 0


def test_lock_is_given_back(tmp_path: Path, genotype_file: str) -> None:
    """The next job may start on another node, from where nobody can see that this process is gone."""
    assert signalled(tiny(genotype_file, tmp_path / "run"), signal.SIGTERM, sleep_in_python)[0] == 143
    assert list(tmp_path.glob(f"run/**/{TRAINING_LOCK}")) == []


@pytest.mark.parametrize("is_first_gone", [False, True], ids=["together", "the waiting one first"])
def test_ranks_that_wait_for_one_that_prepares_leave_with_it(
    tmp_path: Path, genotype_file: str, capfd: pytest.CaptureFixture[str], is_first_gone: bool
) -> None:
    """Rank 0 reads the data, rank 1 waits in a call of gloo's: both have the signal's exit code, and one line is said."""
    context, port = multiprocessing.get_context("fork"), free_port()
    opening = context.Event()

    def load(*_: object, **__: object) -> None:
        opening.set()
        sleep_in_python()

    def run(rank: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(final_training, "load_final_data", load)
            for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}.items():
                patch.setenv(name, str(value))
            patch.setenv("MASTER_ADDR", "127.0.0.1")
            os._exit(command(*tiny(genotype_file, tmp_path / "run", "--device", "cpu")))

    ranks = [context.Process(target=run, args=(rank,)) for rank in range(2)]
    for process in ranks:
        process.start()
    assert opening.wait(60)
    for process in reversed(ranks):
        os.kill(process.pid or 0, signal.SIGTERM)
        if is_first_gone:  # then rank 0 finds, on its way out, that the other one is lost
            process.join(SOON_S)
    for process in ranks:
        process.join(SOON_S)
        process.kill()
    assert [process.exitcode for process in ranks] == [143, 143]
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("hpcnas: ")]
    assert said == ["hpcnas: SIGTERM stopped the preparation; the same command goes on there"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("prepare", [sleep_in_python, hang_in_c])
def test_time_limit_while_it_prepares_requeues_the_job(
    tmp_path: Path, genotype_file: str, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[], None]
) -> None:
    """Once, of an array the task alone."""
    (tmp_path / "scontrol").write_text(
        f'#!/bin/sh\n[ "$1" = requeue ] && echo "$2" >> {tmp_path}/requeued\n'
        "echo 'JobId=12 ArrayJobId=12 ArrayTaskId=1 JobName=x'\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert signalled(tiny(genotype_file, tmp_path / "run"), signal.SIGUSR2, prepare)[0] == 140
    assert (tmp_path / "requeued").read_text() == "12_1\n"


def test_first_line_says_what_is_trained_where_and_from_which_step(
    tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*tiny(genotype_file, tmp_path / "run", "--runs", "1", "--device", "cpu")) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        "cifar-c2-n1-digits run 0: 960 parameters, digits of 1,500 images, 1 x cpu, fp32, 2 steps of 16 images, from step 0"
    )


@pytest.mark.parametrize("asked", [[], ["--device", "cuda"]])
def test_gpu_that_was_given_and_is_not_seen_is_refused(
    tmp_path: Path,
    genotype_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
) -> None:
    """With --device cpu the person asked for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    arguments = tiny(genotype_file, tmp_path / "run", "--runs", "1")
    assert command(*arguments, *asked) == 4
    said = capsys.readouterr().err
    assert "gave this process a GPU (SLURM_JOB_GPUS=0) but torch sees none: " in said
    assert said.count("\n") == 1
    assert command(*arguments, "--device", "cpu") == 0
